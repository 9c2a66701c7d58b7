"""`vla-adapter evaluate ...`: how good is a checkpoint, on recorded data and in the simulator."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from vla_adapter_ros.choices import FASTEST, SLOWEST, NamedCubes, RendererName
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
from vla_adapter_ros.contract.shipped import SHIPPED_CHECKPOINT
from vla_adapter_ros.errors import TrainingError


def add_evaluate(commands: Any) -> None:
    """Add `evaluate` and its kinds to the parser's commands."""
    evaluate = commands.add_parser("evaluate", help="how good a checkpoint is")
    kinds = evaluate.add_subparsers(dest="kind", required=True)
    _add_open_loop(kinds)
    _add_closed_loop(kinds)


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
    parser = kinds.add_parser("closed-loop", help="unseen scenes in the simulator, without ROS")
    _checkpoint_options(parser)
    parser.add_argument("--scenes", type=COUNT, default=30)
    parser.add_argument("--seed", type=SEED, default=900_000, help="first scene")
    parser.add_argument(
        "--sentences", default="each", choices=NamedCubes.words(), help="name each cube of a scene, or one"
    )
    parser.add_argument("--renderer", default="raycast", choices=RendererName.words())
    parser.add_argument("--longest", type=SECONDS, default=10.0, help="simulated time per instruction [s]")
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
    parser.add_argument("--jobs", type=COUNT, default=1, help="processes, one thread each")
    parser.add_argument("--require", type=whole(), default=0, help="fail with fewer successes than this")
    parser.add_argument("--json", type=output_file, help="write every episode here")
    parser.set_defaults(run=_closed_loop)


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
    if options.json:
        _write(options.json, found.as_json())
    if options.html or options.pictures:
        pictures = draw_pictures(found.report, found.policy, found.samples, found.rate_hz)
        write_page(found.report, pictures, options.html, folder=options.pictures, facts=found.facts)
    return found.report.exit_status


def _closed_loop(options: argparse.Namespace) -> int:
    from vla_adapter_ros.evaluation.closed_loop import evaluate_closed_loop, format_result

    device = announce_device(options.device)
    result = evaluate_closed_loop(
        locate_checkpoint(options.checkpoint),
        contract=options.contract,
        scenes=options.scenes,
        seed=options.seed,
        named=options.sentences,
        renderer=options.renderer,
        longest_s=options.longest,
        speed=options.speed,
        latency_s=options.latency,
        jobs=options.jobs,
        device=device,
        report=lambda line: print(line, flush=True),
    )
    print(format_result(result))
    if options.json:
        _write(options.json, result)
    return 0 if result["successes"] >= options.require else 1


def _write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
