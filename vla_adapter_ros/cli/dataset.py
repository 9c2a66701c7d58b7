"""`vla-adapter dataset`: look into a data set, check it, repair it, draw it.

dataset_import.py takes in data by others, dataset_edit.py makes data sets of data sets.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vla_adapter_ros.cli.arguments import COUNT, EPISODE_HELP, any_path, output_folder, whole
from vla_adapter_ros.cli.dataset_edit import add_dataset_edit_commands
from vla_adapter_ros.cli.dataset_import import add_dataset_import_commands
from vla_adapter_ros.paths import locate


def add_dataset_command(commands: Any) -> None:
    """Add the sub-commands to the parser of `vla-adapter`."""
    parser = commands.add_parser("dataset", help="look into, check, repair, import or edit data sets")
    kinds = parser.add_subparsers(dest="kind", required=True)

    info = kinds.add_parser("info", help="what a data set holds")
    _source(info)
    info.add_argument("--json", action="store_true", help="print plain JSON")
    info.set_defaults(run=_info)

    check = kinds.add_parser("check", help="check files, tables and every episode; status 1 on failure")
    _source(check)
    check.add_argument("--json", action="store_true", help="print plain JSON, episode by episode")
    check.add_argument("--decode", action="store_true", help="every image; else windows of long episodes")
    check.add_argument("--settings", type=any_path, help="YAML file with thresholds of the checks")
    check.add_argument("--ranking", action="store_true", help="also list the episodes, the best first")
    check.add_argument("--strict", action="store_true", help="a warning is a failure too")
    check.set_defaults(run=_check)

    repair = kinds.add_parser("repair", help="save what a crash left into a new folder")
    repair.add_argument("path", type=any_path, help="folder of the data set; nothing in it is changed")
    repair.add_argument("--output", type=output_folder, help="new folder; default: PATH_repaired")
    repair.add_argument("--json", action="store_true", help="print plain JSON")
    repair.set_defaults(run=_repair)

    view = kinds.add_parser("view", help="contact sheets and plots as a page for the browser")
    _source(view)
    view.add_argument("--episode", type=whole(), action="append", help=f"{EPISODE_HELP}; repeatable")
    view.add_argument("--most", type=COUNT, default=20, help="without --episode: this many, evenly spread")
    view.add_argument("--output", type=output_folder, help="new folder; default: out/view/NAME")
    view.set_defaults(run=_view)

    add_dataset_import_commands(kinds)
    add_dataset_edit_commands(kinds)
    for kind in kinds.choices.values():
        kind.set_defaults(run=_after_clearing(kind.get_default("run")))


def _after_clearing(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """A command that first removes what an earlier one left that was killed, and says so."""

    def run_cleared(options: argparse.Namespace) -> int:
        from vla_adapter_ros.dataset.tools.new_folder import clear_unfinished

        paths = options.path if isinstance(options.path, list) else [options.path]
        for path in (*paths, getattr(options, "output", None)):
            for remark in clear_unfinished(Path(os.path.realpath(locate(path)))) if path is not None else ():
                print(f"vla-adapter: {remark}", file=sys.stderr)
        return run(options)

    return run_cleared


def _source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=any_path, help="folder of the data set: LeRobot v3.0, v2.1 or v2.0")
    parser.add_argument("--mapping", type=any_path, help="YAML file: its names in a contract")
    parser.add_argument("--contract", help="for a data set that carries none: shipped name or path")


def _contract(options: argparse.Namespace) -> Any:
    from vla_adapter_ros.contract import read_contract

    return read_contract(options.contract) if options.contract else None


def _info(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.tools.info import describe_dataset, overview

    found = describe_dataset(options.path, mapping=options.mapping, contract=_contract(options))
    print(json.dumps(found, indent=2, ensure_ascii=False) if options.json else "\n".join(overview(found)))
    return 0


def _check(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
    from vla_adapter_ros.dataset.quality.findings import Level
    from vla_adapter_ros.dataset.quality.settings import read_settings

    report = check_dataset(
        options.path,
        settings=read_settings(options.settings) if options.settings else None,
        mapping=options.mapping,
        contract=_contract(options),
        decode=options.decode,
        progress=_show_progress if sys.stderr.isatty() else None,
    )
    if options.json:
        print(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(report.lines + (report.ranking_lines if options.ranking else [])))
        print(f"{options.path}: {report.level}")
    return 1 if report.level.rank >= (Level.WARN if options.strict else Level.FAIL).rank else 0


def _repair(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.tools.repair import repair_dataset

    outcome = repair_dataset(
        options.path, options.output, progress=_show_progress if sys.stderr.isatty() else None
    )
    if options.json:
        print(json.dumps(outcome.as_json(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(outcome.lines))
    return 0


def _view(options: argparse.Namespace) -> int:
    from vla_adapter_ros.cli.dataset_view import draw_dataset

    output = options.output or Path("out/view") / options.path.name
    page = draw_dataset(
        options.path,
        output,
        episodes=options.episode,
        most=options.most,
        mapping=options.mapping,
        contract=_contract(options),
    )
    print(f"open {page}")
    return 0


def _show_progress(done: int, total: int) -> None:
    print(f"\repisode {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
