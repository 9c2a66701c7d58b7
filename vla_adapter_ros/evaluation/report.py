"""What a policy has learned: errors on validation and training episodes, and conclusions in plain words.

The training loss does not tell whether a policy listens to its instruction: a policy that
ignores it can have the lower loss. So the same scenes are also shown with other instructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.evaluation.metrics import (
    ActionStatistics,
    Errors,
    InstructionTest,
    measure_errors,
    predict_chunks,
    swap_instructions,
)
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.samples import Samples

LANGUAGE_BLIND_STATUS = 3  # exit status of commands that found a policy language-blind
_TRAINING_ROWS = 600


@dataclass(frozen=True)
class OpenLoopReport:
    """Errors, and what they say of the policy.

    Attributes:
        names: Action dimensions (A,).
        units: Theirs; empty where they are not known.
        is_validation: Whether the evaluated episodes were kept out of training (a data set of few episodes
            has none to spare, and of a checkpoint by others it is not known).
        evaluated: Errors on the evaluated episodes.
        trained: Errors on training episodes; None if all of them were evaluated.
        std: Standard deviation of the actions in training, (A,).
        constant: Dimensions that never move there, (A,).
        instructions: What other instructions do.
        beats_baselines: Whether the policy beats both baselines over all dimensions that move, each in
            units of its standard deviation.
        language_blind: Whether it does not listen to its instruction; None if that cannot be measured.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    is_validation: bool
    evaluated: Errors
    trained: Errors | None
    std: tuple[float, ...]
    constant: tuple[bool, ...]
    instructions: InstructionTest
    beats_baselines: bool
    language_blind: bool | None

    def __post_init__(self) -> None:
        """Accept the parts as JSON gives them, too: mappings and lists."""
        for name, kind in (("evaluated", Errors), ("trained", Errors), ("instructions", InstructionTest)):
            value = getattr(self, name)
            if isinstance(value, Mapping):
                object.__setattr__(self, name, kind(**{k: _tuples(v) for k, v in value.items()}))
        for name in ("names", "units", "std", "constant"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def rows(self) -> int:
        """Evaluated rows."""
        return self.evaluated.rows

    @property
    def error(self) -> tuple[float, ...]:
        """Error of the policy on the evaluated rows, (A,)."""
        return self.evaluated.policy

    @property
    def exit_status(self) -> int:
        """For a command that made this report: 0, or 3 for a policy that is language-blind."""
        return LANGUAGE_BLIND_STATUS if self.language_blind else 0

    def comparisons(self, errors: Errors | None = None) -> tuple[str, ...]:
        """Per dimension (A,): `better than both`, `worse than repeat|mean|both`, or `constant`."""
        errors = errors or self.evaluated
        return tuple(
            "constant" if constant else _compare(policy, repeat, mean)
            for policy, repeat, mean, constant in zip(
                errors.policy, errors.repeat, errors.mean, self.constant, strict=True
            )
        )

    def overall(self, errors: Errors | None = None) -> tuple[float, float, float]:
        """Errors of policy, repeat and mean over the dimensions that move, in standard deviations."""
        errors = errors or self.evaluated
        return overall_errors(errors, np.array(self.std), np.array(self.constant))


def make_report(
    policy: VlaAdapterPolicy,
    samples: Samples,
    rows: np.ndarray,
    names: tuple[str, ...],
    *,
    is_validation: bool,
    seed: int,
    train_rows: np.ndarray | None = None,
    reference: ActionStatistics | None = None,
) -> OpenLoopReport:
    """Compare the policy's chunks with what was recorded.

    Args:
        policy: In the type and on the device in which it runs.
        samples: The data set.
        rows: Rows to evaluate, int64 (R,), R >= 1.
        names: Action dimensions.
        is_validation: Whether the rows were kept out of training.
        seed: Draws the other instructions, and the training rows that are compared.
        train_rows: Rows of the training, int64 (T,); default: the usable rows of the episodes that are not
            evaluated, or all usable ones if every episode is.
        reference: Mean and standard deviation to compare with; default: those of `train_rows`.

    Raises:
        TrainingError: no rows to evaluate.
    """
    if len(rows) == 0:
        raise TrainingError("0 rows to evaluate: at least 1 is needed")
    if train_rows is None:
        usable = np.flatnonzero(samples.usable)
        apart = ~np.isin(samples.episode[usable], np.unique(samples.episode[rows]))
        train_rows = usable[apart] if apart.any() else usable
    reference = reference or ActionStatistics.of(samples.action[train_rows])
    predicted = predict_chunks(policy, samples, rows)
    evaluated = measure_errors(predicted, samples, rows, reference)
    overall = overall_errors(evaluated, reference.std, reference.constant)
    instructions = swap_instructions(policy, samples, rows, predicted, reference, seed)
    return OpenLoopReport(
        names=names,
        units=_units(policy.contract) if policy.contract else (),
        is_validation=is_validation,
        evaluated=evaluated,
        trained=_training_errors(policy, samples, rows, train_rows, reference, seed),
        std=tuple(reference.std.tolist()),
        constant=tuple(reference.constant.tolist()),
        instructions=instructions,
        beats_baselines=overall[0] < min(overall[1:]),
        language_blind=instructions.blind,
    )


def overall_errors(errors: Errors, std: np.ndarray, constant: np.ndarray) -> tuple[float, float, float]:
    """Policy, repeat and mean over the dimensions (A,) that move, each in units of its standard deviation."""
    moving = ~constant
    if not moving.any():
        return (0.0, 0.0, 0.0)
    policy, repeat, mean = (
        float((np.array(part)[moving] / std[moving]).mean())
        for part in (errors.policy, errors.repeat, errors.mean)
    )
    return policy, repeat, mean


def format_report(report: OpenLoopReport) -> str:
    """The report as tables and text for people."""
    what = "Validation episodes" if report.is_validation else "Episodes that training may have seen"
    lines = _table(report, report.evaluated, what)
    if report.trained is not None:
        lines += ["", *_table(report, report.trained, "Training episodes")]
    lines += ["", "repeat: the action before, kept; mean: always the mean action of the training.", ""]
    return "\n".join([*lines, *conclusions(report)])


def conclusions(report: OpenLoopReport) -> list[str]:
    """The main results, a line each."""
    policy, repeat, mean = report.overall()
    figures = (
        f"error {policy:.3g}, repeat {repeat:.3g}, mean {mean:.3g} in standard deviations of the actions"
    )
    compared = dict(zip(report.names, report.comparisons(), strict=True))
    worse = [f"{name} ({words})" for name, words in compared.items() if words.startswith("worse")]
    if all(words == "constant" for words in compared.values()):
        lines = ["No action ever moves in this data set: there is nothing to learn or to evaluate."]
    elif report.beats_baselines:
        lines = [f"The policy beats both baselines overall: {figures}."]
        if worse:
            lines.append(f"But not in every dimension: {', '.join(worse)}.")
    else:
        lines = [
            f"THIS POLICY DOES NOT BEAT BOTH BASELINES: {figures}. "
            "Do not expect it to work: repeating the last action, or the mean action, is as good."
        ]
        lines += [f"Not better in: {', '.join(worse)}."] if worse else []
    if not report.is_validation:
        lines.append("Training has or may have seen these episodes: on new ones it can be worse.")
    return lines + _instruction_conclusion(report.instructions)


def _instruction_conclusion(test: InstructionTest) -> list[str]:
    if test.obstacle:
        return [f"Whether it listens to its instruction is not measurable: {test.obstacle}."]
    figures = (
        f"wrong instructions change its error by {test.gain:+.0%} and make it worse in {test.fraction:.0%} "
        f"of {test.episodes} episodes"
    )
    if test.blind:
        return [
            f"THIS POLICY IS LANGUAGE-BLIND: {figures}. It does the same whatever it is told. "
            "(That is right only if all instructions mean the same, or each scene allows one alone.)"
        ]
    return [f"The policy listens to its instruction: {figures}."]


def _table(report: OpenLoopReport, errors: Errors, what: str) -> list[str]:
    units = report.units or ("",) * len(report.names)
    labels = [f"{n} [{u}]" if u and u != "1" else n for n, u in zip(report.names, units, strict=True)]
    width = max(map(len, [*labels, "last step of chunk"]))
    head = f"{'':>{width}}  {'policy':>9}  {'repeat':>9}  {'mean':>9}"
    changes = report.instructions.change if errors is report.evaluated else None
    lines = [
        f"{what}: {errors.rows} rows of {len(errors.episodes)} episodes; mean absolute errors",
        head + (f"  {'other instruction':>17}" if changes else "") + "  against the baselines",
    ]
    columns = (errors.policy, errors.repeat, errors.mean)
    for i, (label, comparison) in enumerate(zip(labels, report.comparisons(errors), strict=True)):
        numbers = "  ".join(f"{column[i]:9.4g}" for column in columns)
        change = f"  {changes[i]:17.4g}" if changes else ""
        lines.append(f"{label:>{width}}  {numbers}{change}  {comparison}")
    std, moving = np.array(report.std), ~np.array(report.constant)
    for name, at in (("first step of chunk", 0), ("last step of chunk", -1)):
        steps = (errors.policy_steps[at], errors.repeat_steps[at], errors.mean_steps[at])
        if moving.any():
            scaled = [float((np.array(step)[moving] / std[moving]).mean()) for step in steps]
            lines.append(
                f"{name:>{width}}  " + "  ".join(f"{v:9.4g}" for v in scaled) + "  (in standard deviations)"
            )
    if changes:
        lines.append("other instruction: how much the actions change when another instruction is given")
    return lines


def _training_errors(
    policy: VlaAdapterPolicy,
    samples: Samples,
    rows: np.ndarray,
    train_rows: np.ndarray,
    reference: ActionStatistics,
    seed: int,
) -> Errors | None:
    """Of some rows of the training episodes that are not evaluated; None if there are none."""
    apart = train_rows[~np.isin(samples.episode[train_rows], np.unique(samples.episode[rows]))]
    if len(apart) == 0:
        return None
    if len(apart) > _TRAINING_ROWS:
        apart = np.sort(np.random.default_rng([seed, 1]).choice(apart, _TRAINING_ROWS, replace=False))
    return measure_errors(predict_chunks(policy, samples, apart), samples, apart, reference)


def _units(contract: Contract) -> tuple[str, ...]:
    """Units of the recorded actions: where the contract scales them, such as `0.1 rad`."""
    dimensions = contract.action.dimensions
    return tuple(d.unit.si if d.scale == 1 else f"{d.scale:g} {d.unit.si}" for d in dimensions)


def _compare(policy: float, repeat: float, mean: float) -> str:
    if policy < min(repeat, mean):
        return "better than both"
    if policy >= max(repeat, mean):
        return "worse than both"
    return "worse than repeat" if policy >= repeat else "worse than mean"


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
