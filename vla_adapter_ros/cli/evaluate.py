"""`vla-adapter evaluate ...`: how good is a checkpoint, on recorded data and in the simulator."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from vla_adapter_ros.cli.checkpoint import locate_checkpoint

SHIPPED = "franka_sim_tiny"


def add_evaluate(commands: Any) -> None:
    """Add `evaluate` and its kinds to the parser's commands."""
    evaluate = commands.add_parser("evaluate", help="how good a checkpoint is")
    kinds = evaluate.add_subparsers(dest="kind", required=True)
    _add_closed_loop(kinds)


def _add_closed_loop(kinds: Any) -> None:
    parser = kinds.add_parser("closed-loop", help="unseen scenes in the simulator, without ROS")
    _checkpoint_options(parser)
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--seed", type=int, default=900_000, help="first scene")
    parser.add_argument(
        "--sentences", default="each", choices=("each", "one"), help="name each cube of a scene, or one"
    )
    parser.add_argument("--renderer", default="raycast", choices=("auto", "egl", "osmesa", "raycast"))
    parser.add_argument("--longest", type=float, default=10.0, help="simulated time per sentence [s]")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--require", type=int, default=0, help="fail with fewer successes than this")
    parser.add_argument("--json", type=Path, help="write every episode here")
    parser.set_defaults(run=_closed_loop)


def _checkpoint_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", default=SHIPPED, help="directory, hub id or shipped name; default: %(default)s"
    )
    parser.add_argument("--contract", default="", help="robot contract, where none is stored")


def _closed_loop(options: argparse.Namespace) -> int:
    from vla_adapter_ros.benchmarks.closed_loop import evaluate_closed_loop, format_result

    result = evaluate_closed_loop(
        locate_checkpoint(options.checkpoint),
        contract=options.contract,
        scenes=options.scenes,
        seed=options.seed,
        sentences=options.sentences,
        renderer=options.renderer,
        longest_s=options.longest,
        jobs=options.jobs,
        report=lambda line: print(line, flush=True),
    )
    print(format_result(result))
    if options.json:
        _write(options.json, result)
    return 0 if result["successes"] >= options.require else 1


def _write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
