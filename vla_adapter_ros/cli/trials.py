"""`vla-adapter trials`: what policies did in recorded runs, and which of two checkpoints is better."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.cli.arguments import any_path, output_file
from vla_adapter_ros.errors import ParameterError

if TYPE_CHECKING:
    from vla_adapter_ros.trials.trial import Trial

_ORDER = "the n-th trial of A with an instruction began in the same scene as the n-th of B"


def add_trials_command(commands: Any) -> None:
    """Add `trials` to the parser's commands."""
    trials = commands.add_parser(
        "trials", help="recorded runs of policies: success rates, comparison of two checkpoints, CSV"
    )
    trials.add_argument("path", type=any_path, nargs="+", help="folders of data sets with recorded runs")
    trials.add_argument(
        "--compare", nargs=2, metavar=("A", "B"),
        help="names of two checkpoints, or how they begin: is one better?",
    )  # fmt: skip
    trials.add_argument("--paired", action="store_true", help=f"with --compare: {_ORDER}")
    trials.add_argument("--csv", type=output_file, metavar="FILE", help="write a table with a line per trial")
    trials.add_argument("--json", action="store_true", help="print plain JSON")
    trials.set_defaults(run=_trials)


def _trials(options: argparse.Namespace) -> int:
    from vla_adapter_ros.files import write_text
    from vla_adapter_ros.trials.compare import compare
    from vla_adapter_ros.trials.rates import success_rates
    from vla_adapter_ros.trials.table import as_row, rate_as_row, rate_lines, to_csv, trial_lines
    from vla_adapter_ros.trials.trial import read_trials

    if options.paired and not options.compare:
        raise ParameterError("--paired: allowed with --compare alone")
    trials = read_trials(options.path)
    rates = success_rates(trials)
    found = None
    if options.compare:
        found = compare(*(choose(trials, name) for name in options.compare), paired=options.paired)
    if options.csv is not None:
        write_text(options.csv, to_csv(trials))
    if options.json:
        result: dict[str, Any] = {
            "trials": [as_row(trial) for trial in trials],
            "rates": [rate_as_row(rate) for rate in rates],
        }
        if found is not None:
            result["comparison"] = {
                "a": rate_as_row(found.a), "b": rate_as_row(found.b), "pairs": found.pairs,
                "left_out": found.left_out, "e_a": found.e_a, "e_b": found.e_b, "p_value": found.p_value,
                "alpha": found.alpha, "more": found.more, "better": found.better, "sentence": found.sentence,
            }  # fmt: skip
        print(json.dumps(result, indent=2, ensure_ascii=False))
        return 0
    print("\n".join(trial_lines(trials)) or "no episode in which a policy led")
    print("\n".join(rate_lines(rates)))
    if found is not None:
        print("\n".join(rate_lines([found.a, found.b])))
        print(found.sentence)
        if found.p_value is not None:
            print(f"McNemar, exact: p = {found.p_value:.3g}, if the number of trials was fixed before")
    return 0


def choose(trials: list[Trial], name: str) -> list[Trial]:
    """The trials of one checkpoint.

    Args:
        trials: In their order.
        name: Of the checkpoint, or how its name begins.

    Raises:
        ParameterError: no name, or several, begin so.
    """
    names = list(dict.fromkeys(trial.facts.checkpoint for trial in trials))
    fitting = [name] if name in names else [known for known in names if name and known.startswith(name)]
    if len(fitting) != 1:
        why = f"{len(fitting)} checkpoints begin so" if fitting else "no trial of it"
        listed = ", ".join(filter(None, names)) or "none"
        raise ParameterError(f"checkpoint {name!r}: {why}: allowed are {listed}")
    return [trial for trial in trials if trial.facts.checkpoint == fitting[0]]
