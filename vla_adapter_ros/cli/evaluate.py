"""`vla-adapter evaluate ...`: how good is a checkpoint, on recorded data and in the simulator."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.choices import FASTEST, SLOWEST, Control, RendererName, SuiteName
from vla_adapter_ros.cli.arguments import (
    COUNT,
    DEVICE_HELP,
    SECONDS,
    SEED,
    UsageError,
    announce_device,
    any_path,
    number,
    output_file,
    output_folder,
    whole,
    wrong_arguments,
)
from vla_adapter_ros.cli.checkpoint_command import locate_checkpoint
from vla_adapter_ros.cli.evaluate_calvin import add_calvin
from vla_adapter_ros.cli.progress_bar import progress_bar
from vla_adapter_ros.cli.results import write_result
from vla_adapter_ros.contract.shipped import SHIPPED_CHECKPOINT
from vla_adapter_ros.errors import ParameterError, TrainingError

if TYPE_CHECKING:
    from vla_adapter_ros.evaluation.suite import Result

LOGS = Path("out/evaluation/logs")
"""Of the nodes that do a suite's episodes."""


def add_evaluate(commands: Any) -> None:
    """Add `evaluate` and its kinds to the parser's commands."""
    evaluate = commands.add_parser("evaluate", help="how good a checkpoint is")
    kinds = evaluate.add_subparsers(dest="kind", required=True)
    _add_open_loop(kinds)
    _add_closed_loop(kinds)
    _add_results(kinds)
    _add_uncertainty(kinds)
    add_calvin(kinds)


def _add_open_loop(kinds: Any) -> None:
    parser = kinds.add_parser("open-loop", help="predicted against recorded actions of a LeRobot data set")
    _checkpoint_options(parser)
    parser.add_argument(
        "--dataset", required=True, metavar="PATH[,mapping=FILE]",
        help="LeRobot data set, a folder or a hub id, as finetune takes it; its weight does not count",
    )  # fmt: skip
    parser.add_argument("--mapping", type=any_path, help="YAML file: its names in a contract")
    parser.add_argument("--platform", help="needed for an official checkpoint that was not adopted")
    parser.add_argument("--statistics", help="name of the entry to use, if there are several")
    parser.add_argument(
        "--episodes", default="", help="such as 0:5 or 3,8; default: the validation ones if known, else all"
    )
    parser.add_argument("--threads", type=whole(), default=1, help="CPU threads; 0: torch's choice")
    parser.add_argument("--seed", type=SEED, default=0, help="draws the other instructions")
    parser.add_argument("--json", type=output_file, help="write all figures here")
    parser.add_argument("--html", type=output_file, help="write one page with figures and pictures here")
    parser.add_argument(
        "--pictures", type=output_folder, metavar="FOLDER", help="write the pictures here (.png)"
    )
    parser.set_defaults(run=_open_loop)


def _add_closed_loop(kinds: Any) -> None:
    parser = kinds.add_parser("closed-loop", help="a suite of episodes in the simulator")
    _checkpoint_options(parser)
    parser.add_argument(
        "--suite", default=SuiteName.PICK, choices=SuiteName.words(), metavar="NAME",
        help=f"which episodes: {', '.join(SuiteName.plain())}; of LIBERO-Pro the names of LIBERO's but "
        "libero_90 with _lan, _object, _swap or _task; default: %(default)s",
    )  # fmt: skip
    count = parser.add_mutually_exclusive_group()
    count.add_argument("--episodes", type=COUNT, help="how many, dealt evenly; default: the suite's")
    count.add_argument("--scenes", type=COUNT, help="as many episodes as these scenes have (three each)")
    parser.add_argument("--seed", type=SEED, help="first scene; default: the suite's, which no training saw")
    parser.add_argument(
        "--renderer",
        choices=RendererName.words(),
        help="default: raycast; of metaworld and libero egl: they need OpenGL",
    )
    parser.add_argument(
        "--longest", type=SECONDS, help="simulated time per instruction [s]; default: the suite's"
    )
    parser.add_argument(
        "--speed", type=number(SLOWEST, FASTEST), default=FASTEST,
        help="fraction of the policy's own speed at which the arm follows; --longest is as much longer",
    )  # fmt: skip
    parser.add_argument(
        "--latency",
        type=number(0.0, 2.0),
        default=0.0,
        help="from each image to the arrival of its chunk [s]",
    )
    parser.add_argument(
        "--control", default=Control.NONE, choices=Control.words(),
        help="take something from the policy, to see that it fails without",
    )  # fmt: skip
    parser.add_argument("--jobs", type=COUNT, default=1, help="processes, one thread each")
    parser.add_argument(
        "--through-nodes", action="store_true",
        help="the real nodes, over DDS and in lock step, do the episodes, one after the other",
    )  # fmt: skip
    parser.add_argument(
        "--shard", type=_shard, default="1/1", metavar="I/N",
        help="do every N-th episode alone, from the I-th on; `evaluate merge` puts the results together",
    )  # fmt: skip
    parser.add_argument("--require", type=whole(), default=0, help="fail with fewer successes than this")
    parser.add_argument(
        "--json", type=output_file, help="write every episode here; a run that was interrupted goes on"
    )
    parser.add_argument("--html", type=output_file, help="write a page here")
    parser.add_argument(
        "--videos", type=output_folder, metavar="FOLDER", help="write a video of each failure here"
    )
    parser.set_defaults(run=_closed_loop)


def _add_results(kinds: Any) -> None:
    merge = kinds.add_parser("merge", help="put the shards of a closed-loop run together")
    merge.add_argument("results", nargs="+", type=any_path, metavar="FILE", help="what the shards wrote")
    merge.add_argument("--json", type=output_file, help="write the whole result here")
    merge.add_argument("--html", type=output_file, help="write a page here")
    merge.set_defaults(run=_merge)
    compare = kinds.add_parser("compare", help="two closed-loop results over the same episodes")
    compare.add_argument("first", type=any_path, metavar="FIRST")
    compare.add_argument("second", type=any_path, metavar="SECOND")
    compare.add_argument("--json", type=output_file, help="write the differences here")
    compare.set_defaults(run=_compare)


def _add_uncertainty(kinds: Any) -> None:
    parser = kinds.add_parser("uncertainty", help="which failures a policy announces, and how early")
    _checkpoint_options(parser)
    parser.add_argument(
        "--suite", default=SuiteName.PICK_PERTURBED, choices=SuiteName.at_table(), help="which episodes"
    )
    parser.add_argument("--episodes", type=COUNT, help="how many, dealt evenly; default: the suite's")
    parser.add_argument("--seed", type=SEED, help="first scene; default: the suite's")
    parser.add_argument("--latency", type=number(0.0, 2.0), default=0.0, help="from image to chunk [s]")
    parser.add_argument("--jobs", type=COUNT, default=1, help="processes, one thread each")
    parser.add_argument("--json", type=output_file, help="write all figures here")
    parser.set_defaults(run=_uncertainty)


def _shard(text: str) -> str:
    from vla_adapter_ros.evaluation.suite_result import Shard

    try:
        return str(Shard.parse(text))
    except ParameterError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _checkpoint_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        default=SHIPPED_CHECKPOINT,
        help="directory, hub id or shipped name; default: %(default)s",
    )
    parser.add_argument("--contract", default="", help="robot contract, where none is stored")
    parser.add_argument("--device", default="auto", help=DEVICE_HELP)


def _open_loop(options: argparse.Namespace) -> int:
    from vla_adapter_ros.evaluation.open_loop import evaluate_open_loop
    from vla_adapter_ros.evaluation.report import format_report
    from vla_adapter_ros.evaluation.report_page import draw_pictures, write_page
    from vla_adapter_ros.training.data.data_sources import parse_source

    with wrong_arguments(TrainingError):
        source = parse_source(options.dataset)
    if options.mapping and source.mapping:
        raise UsageError(
            f"--mapping {options.mapping} and --dataset {options.dataset}: allowed is one mapping"
        )
    device = announce_device(options.device)
    found = evaluate_open_loop(
        locate_checkpoint(options.checkpoint),
        source.path,
        mapping=options.mapping or source.mapping or None,
        contract=options.contract or None,
        episodes=options.episodes,
        platform=options.platform,
        statistics_name=options.statistics,
        device=device,
        threads=options.threads,
        seed=options.seed,
    )
    print(format_report(found.report))
    write_result(options.json, found.as_json())
    if options.html or options.pictures:
        pictures = draw_pictures(found.report, found.policy, found.samples, found.rate_hz)
        write_page(found.report, pictures, options.html, folder=options.pictures, facts=found.facts)
    return found.report.exit_status


def _closed_loop(options: argparse.Namespace) -> int:
    from vla_adapter_ros.evaluation.conditions import conditions
    from vla_adapter_ros.evaluation.harness import evaluate_suite
    from vla_adapter_ros.evaluation.pick import CUBES
    from vla_adapter_ros.evaluation.suite_result import Shard

    if options.through_nodes and (options.videos or options.jobs > 1):
        raise UsageError("--through-nodes with --videos or --jobs: allowed is either")
    with wrong_arguments(ParameterError):
        wanted = conditions(
            options.suite,
            locate_checkpoint(options.checkpoint),
            contract=options.contract,
            seed=options.seed,
            episodes=CUBES * options.scenes if options.scenes else options.episodes,
            longest_s=options.longest,
            renderer=options.renderer,
            speed=options.speed,
            latency_s=options.latency,
            control=options.control,
        )
    shard = Shard.parse(options.shard)
    with progress_bar("episodes", len(shard.numbers(wanted.episodes))) as advance:

        def report(result: Result) -> None:
            if not result.success:
                print(f"episode {result.number}, {result.instruction!r}: {result.ending}, {result.note}")
            advance()

        kept = options.json and options.json.with_name(options.json.name + ".part")
        device = announce_device(options.device)
        if options.through_nodes:
            from vla_adapter_ros.cli.suite_through_nodes import evaluate_through_nodes

            result = evaluate_through_nodes(
                wanted, shard=shard, device=device, journal=kept, logs=LOGS, report=report
            )
        else:
            result = evaluate_suite(
                wanted, shard=shard, jobs=options.jobs, device=device, journal=kept, videos=options.videos,
                report=report,
            )  # fmt: skip
    _tell(result, options)
    return 0 if result["successes"] >= options.require else 1


def _merge(options: argparse.Namespace) -> int:
    from vla_adapter_ros.evaluation.suite_result import merge_results, read_result

    with wrong_arguments(ParameterError):
        merged = merge_results([read_result(path) for path in options.results])
    _tell(merged, options)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from vla_adapter_ros.evaluation.suite_result import compare_results, format_comparison, read_result

    with wrong_arguments(ParameterError):
        compared = compare_results(read_result(options.first), read_result(options.second))
    print(format_comparison(compared))
    write_result(options.json, compared)
    return 0


def _uncertainty(options: argparse.Namespace) -> int:
    from vla_adapter_ros.evaluation.conditions import conditions
    from vla_adapter_ros.evaluation.doubts import format_alarms, report_of, watch_episodes
    from vla_adapter_ros.model.familiarity import read_familiarity

    device = announce_device(options.device)
    checkpoint = locate_checkpoint(options.checkpoint)
    known = read_familiarity(checkpoint)
    if known is None:
        raise UsageError(
            f"{checkpoint} was never calibrated: `vla-adapter checkpoint calibrate {checkpoint}`"
        )
    with wrong_arguments(ParameterError):
        wanted = conditions(
            options.suite, checkpoint, contract=options.contract, seed=options.seed,
            episodes=options.episodes, latency_s=options.latency,
        )  # fmt: skip
    with progress_bar("episodes", wanted.episodes) as advance:
        episodes = watch_episodes(wanted, jobs=options.jobs, device=device, report=lambda result: advance())
    report = report_of(known, episodes, wanted)
    print(format_alarms(report))
    write_result(options.json, report)
    return 0


def _tell(result: dict[str, Any], options: argparse.Namespace) -> None:
    """Print a suite's result, and write its files."""
    from vla_adapter_ros.evaluation.suite_page import write_suite_page
    from vla_adapter_ros.evaluation.suite_result import format_result

    print(format_result(result))
    write_result(options.json, result)
    if options.html:
        write_suite_page(result, options.html)
