"""`vla-adapter checkpoint`: look into a checkpoint, check it, adopt an official one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from vla_adapter_ros.choices import PlatformName, SuiteName
from vla_adapter_ros.cli.arguments import (
    CONTRACT_HELP,
    COUNT,
    DEVICE_HELP,
    SEED,
    UsageError,
    add_parameter,
    announce_device,
    number,
    output_folder,
    whole,
)
from vla_adapter_ros.cli.progress_bar import progress_bar
from vla_adapter_ros.nodes.parameters import PolicyParameters

STATISTICS_HELP = "entry of dataset_statistics.json to use; default: the only one"


def add_checkpoint(commands: Any) -> None:
    """Add the sub-commands to the parser of `vla-adapter`."""
    parser = commands.add_parser(
        "checkpoint", help="look into a checkpoint, verify it, or convert an official one"
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    path_help = "directory, hub id, or the name of a shipped checkpoint"

    info = tasks.add_parser("info", help="what a checkpoint holds")
    info.add_argument("path", help=path_help)
    info.add_argument(
        "--platform", choices=PlatformName.words(),
        help="show what this platform means for an official checkpoint; default: none",
    )  # fmt: skip
    add_changes(info)
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)

    verify = tasks.add_parser("verify", help="check files, weights, statistics, and predict once")
    verify.add_argument("path", help=path_help)
    verify.add_argument(
        "--platform", choices=PlatformName.words(),
        help="of an official checkpoint, which needs one; default: none",
    )  # fmt: skip
    verify.add_argument("--statistics", help=STATISTICS_HELP)
    add_changes(verify)
    verify.set_defaults(run=_verify)

    calibrate = tasks.add_parser(
        "calibrate", help="find out what is usual, so that the policy tells how unsure it is"
    )
    calibrate.add_argument(
        "path", help="directory or the name of a shipped checkpoint; a file is added to it"
    )
    calibrate.add_argument(
        "--suite", default=SuiteName.PICK, choices=SuiteName.at_table(), help="which episodes"
    )
    calibrate.add_argument("--episodes", type=whole(60), default=300, help="how many, dealt evenly")
    calibrate.add_argument("--seed", type=SEED, default=700_000, help="first scene")
    calibrate.add_argument("--latency", type=number(0.0, 2.0), default=0.0, help="from image to chunk [s]")
    calibrate.add_argument("--jobs", type=COUNT, default=1, help="processes, one thread each")
    calibrate.add_argument("--device", default="auto", help=DEVICE_HELP)
    calibrate.set_defaults(run=_calibrate)

    certify = tasks.add_parser(
        "certify", help="find out how far its actions are from exact ones, on this machine, on your data"
    )
    certify.add_argument("path", help="directory or the name of a shipped checkpoint; a file is added to it")
    certify.add_argument(
        "--dataset", required=True, metavar="PATH[,mapping=FILE]",
        help="LeRobot data set, a folder or a hub id, as finetune takes it; its weight does not count",
    )  # fmt: skip
    certify.add_argument("--contract", help="for a data set that carries none: name or path; default: none")
    certify.add_argument("--rows", type=whole(1), default=32, help="how many rows of the data, evenly")
    certify.add_argument(
        "--tolerance", type=number(above=True), default=0.05,
        help="largest difference that is certified, as a fraction of each action value's range",
    )  # fmt: skip
    certify.add_argument("--device", default="auto", help=DEVICE_HELP)
    add_parameter(certify, PolicyParameters, "dtype")
    certify.add_argument("--threads", type=whole(), default=1, help="CPU threads; 0: torch's choice")
    certify.add_argument("--compile", action="store_true", help="as the node's parameter `compile`")
    certify.set_defaults(run=_certify)

    convert = tasks.add_parser("convert", help="adopt an official checkpoint for a robot")
    convert.add_argument("source", help="official checkpoint: directory or hub id; it is only read")
    convert.add_argument("destination", type=output_folder, help="new directory")
    convert.add_argument(
        "--platform", required=True, choices=PlatformName.words(), help="what it was trained for"
    )
    convert.add_argument("--contract", required=True, help=CONTRACT_HELP)
    convert.add_argument("--statistics", help=STATISTICS_HELP)
    convert.add_argument(
        "--rate", type=number(above=True), help="rows per second [Hz]; default: the platform's rate"
    )
    add_changes(convert)
    convert.add_argument("--gripper-binarize", action="store_true", help="round gripper values to -1 or +1")
    convert.add_argument("--gripper-invert", action="store_true", help="swap open and closed of each gripper")
    convert.set_defaults(run=_convert)


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Add `--set`, see `read_settings`."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="change a setting of a checkpoint, such as center_crop=false, or chunk=10 for an official one "
        "that was trained with edited constants; repeatable",
    )  # fmt: skip


def read_settings(pairs: list[str]) -> dict[str, Any]:
    """`key=value` texts to a mapping; a value is JSON if it can be, else a text.

    Raises:
        UsageError: no `=`, or a key twice.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in settings:
            raise UsageError(f"--set {pair}: KEY=VALUE is needed, each key once")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def locate_checkpoint(text: str) -> Path:
    """Directory of a checkpoint: the name of a shipped one, a directory, or a hub id.

    Raises:
        CheckpointError: see `find_checkpoint`.
    """
    from vla_adapter_ros.model.checkpoint_location import find_checkpoint

    return find_checkpoint(text)


def _calibrate(options: argparse.Namespace) -> int:
    from vla_adapter_ros.evaluation.conditions import conditions
    from vla_adapter_ros.evaluation.doubts import calibrate, watch_episodes
    from vla_adapter_ros.model.familiarity import FILE

    device = announce_device(options.device)
    folder = locate_checkpoint(options.path)
    wanted = conditions(
        options.suite, folder, seed=options.seed, episodes=options.episodes, latency_s=options.latency
    )
    with progress_bar("episodes", wanted.episodes) as advance:
        episodes = watch_episodes(wanted, jobs=options.jobs, device=device, report=lambda result: advance())
    found, facts = calibrate(episodes)
    found.save(folder)
    print(
        f"{folder / FILE}: learned from {facts['successes']} of {facts['episodes']} episodes; "
        f"{facts['alarms_in_other_successes']:.1%} of the successful ones not learned from would alarm"
    )
    return 0


def _certify(options: argparse.Namespace) -> int:
    from vla_adapter_ros.choices import WeightType
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.evaluation.certify import certify, too_far
    from vla_adapter_ros.model.device import resolve_device, torch_type
    from vla_adapter_ros.training.data.data_sources import open_sources

    announce_device(options.device)
    folder = locate_checkpoint(options.path)
    contract = read_contract(options.contract) if options.contract else None
    (source,), _ = open_sources(options.dataset, contract)
    with progress_bar("rows", options.rows) as advance:
        certificate = certify(
            folder, source, device=resolve_device(options.device),
            dtype=torch_type(WeightType(options.dtype)), compiled=options.compile, rows=options.rows,
            threads=options.threads, progress=lambda done, total: advance(),
        )  # fmt: skip
    facts = ", ".join(f"{name} {value}" for name, value in certificate.setup.items())
    print(f"{certificate.rows} rows of {certificate.dataset}; {facts}")
    print("\n".join(found.line for found in certificate.deviations))
    if far := too_far(certificate, options.tolerance):
        names = ", ".join(found.name for found in far)
        print(f"not certified: {names} differ by more than {options.tolerance:g} of their range")
        return 1
    print(f"{certificate.save(folder)} is written")
    return 0


def _info(options: argparse.Namespace) -> int:
    from vla_adapter_ros.model.checkpoint_info import describe

    changes = read_settings(options.set)
    if changes and not options.platform:
        raise UsageError("--set: allowed is with --platform")
    found = describe(locate_checkpoint(options.path), options.platform, changes)
    print(json.dumps(found, indent=2) if options.json else "\n".join(summary(found)))
    return 0


def summary(found: dict[str, Any]) -> list[str]:
    """The lines of `info` for people."""
    lines = [f"{found['path']}: {found['kind']} checkpoint, head {found['head'] or 'none (a backbone)'}"]
    lines.append(f"stored as {', '.join(found['stored_as'])}; {sum(found['bytes'].values()) / 1e6:,.1f} MB")
    lines += [f"  {name:<32}{count:>15,} parameters" for name, count in found["parameters"].items()]
    for part in ("sizes", "preprocessing", "normalization", "output"):
        if found[part] is not None:
            lines.append(f"{part}: " + ", ".join(f"{key} {value}" for key, value in found[part].items()))
    if found["sizes"] is None:
        fitting = ", ".join(found["platforms_that_fit"]) or "none"
        lines.append(f"platform: not stored; the widths fit {fitting}. See it with --platform")
    for name, entry in found["statistics"].items():
        widths = f"action {len(entry['action']['mean'])}, proprioception {len(entry['proprio']['mean'])} wide"
        lines.append(f"statistics '{name}': {widths}, {entry['num_transitions']:,} transitions")
    contract = found["contract"]
    if contract is None:
        lines.append("contract: none")
    else:
        lines.append(
            f"contract '{contract['name']}' for {contract['robot_type']}, {contract['rate_hz']:g} Hz"
        )
        for part in ("cameras", "state", "action"):
            lines.append(f"  {part}: {', '.join(contract[part])}")
    for name, record in found["records"].items():
        settings = record.get("settings", {}) if isinstance(record, dict) else {}
        settings = settings if isinstance(settings, dict) else {}
        lines.append(f"{name}: " + ", ".join(f"{key} {value}" for key, value in settings.items()))
    if found["official_code_differs"]:
        lines.append("the published code cannot run it: " + "; ".join(found["official_code_differs"]))
    return lines


def _verify(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.quality.findings import Level
    from vla_adapter_ros.model.checkpoint_verification import verify

    failed = False
    for check in verify(
        locate_checkpoint(options.path), platform=options.platform, statistics_name=options.statistics,
        changes=read_settings(options.set),
    ):  # fmt: skip
        print(check.line, flush=True)
        failed |= check.level is Level.FAIL
    return 1 if failed else 0


def _convert(options: argparse.Namespace) -> int:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.model.official_conversion import convert

    settings = read_settings(options.set)
    for name in ("gripper_binarize", "gripper_invert"):
        if getattr(options, name):
            settings[name] = True
    convert(
        locate_checkpoint(options.source),
        options.destination,
        platform=options.platform,
        contract=read_contract(options.contract),
        preprocessing=settings,
        statistics_name=options.statistics,
        rate_hz=options.rate,
    )
    print(f"{options.destination} is written; check it with `vla-adapter checkpoint verify`")
    return 0
