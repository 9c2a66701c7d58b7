"""Sub-commands of `vla-adapter dataset` that take in data sets and bags by others."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vla_adapter_ros.cli.arguments import (
    UsageError,
    add_namespace,
    add_parameter,
    any_path,
    number,
    output_file,
    output_folder,
)
from vla_adapter_ros.cli.dataset_options import (
    add_file_per_episode,
    add_names,
    join_and_report,
    open_with_names,
    print_episode,
)
from vla_adapter_ros.dataset.rlds.forms import Form
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.nodes.parameters import RecorderParameters


def add_dataset_import_commands(kinds: Any) -> None:
    """Add the sub-commands; none of them changes what it reads."""
    bag = kinds.add_parser("import-bag", help="a rosbag2 recording, as the recorder would have recorded it")
    bag.add_argument("path", type=any_path, nargs="+", help="folder of a bag (mcap or sqlite3); repeatable")
    bag.add_argument("--contract", required=True, help="shipped name or path")
    _add_output(bag)
    bag.add_argument("--instruction", default="", help="what was to be done; default: the bag's own topic")
    bag.add_argument("--instruction-topic", default="", help="std_msgs/String that says what was to be done")
    bag.add_argument(
        "--next-state-as-action", action="store_true",
        help="for bags without commands: the action of a row is the state of the next one",
    )  # fmt: skip
    add_namespace(bag)
    add_parameter(bag, RecorderParameters, "codec")
    add_parameter(bag, RecorderParameters, "crf")
    add_file_per_episode(bag)
    bag.set_defaults(run=_import_bag)

    lerobot = kinds.add_parser("import-lerobot", help="a LeRobot data set by others: v3.0, v2.1 or v2.0")
    lerobot.add_argument("path", type=any_path, help="folder of the data set")
    _add_output(lerobot)
    add_names(lerobot)
    lerobot.add_argument(
        "--control-source", default="human", choices=("human", "policy", "none"),
        help="who was in control, where the data does not say",
    )  # fmt: skip
    add_file_per_episode(lerobot)
    lerobot.set_defaults(run=_import_lerobot)

    rlds = kinds.add_parser(
        "import-rlds",
        help="an RLDS data set, as TensorFlow Datasets writes it: LIBERO's, Bridge's, or your own",
    )
    rlds.add_argument("path", type=any_path, help="folder of the data set, with dataset_info.json")
    _add_output(rlds)
    rlds.add_argument(
        "--form", choices=Form.words(), default=Form.NONE.value,
        help="what the published trainings do with such data first, and its names by position: libero leaves "
        "out steps that move nothing, bridge takes the ways between reached states for actions",
    )  # fmt: skip
    add_names(rlds)
    rlds.add_argument("--split", default="train", help="which part of it")
    rlds.add_argument(
        "--rate", type=number(above=True),
        help="steps per second [Hz], which RLDS does not store; default: the form's, or the contract's",
    )  # fmt: skip
    add_file_per_episode(rlds)
    rlds.set_defaults(run=_import_rlds)

    draft = kinds.add_parser("draft-contract", help="begin a contract from a data set or a bag by others")
    draft.add_argument("path", type=any_path, help="folder of the data set or of the bag")
    draft.add_argument("--output", type=output_file, help="YAML file to write; default: print it")
    draft.add_argument(
        "--mapping-output", type=output_file,
        help="where the mapping goes if one is needed; default: beside the contract",
    )  # fmt: skip
    draft.add_argument("--name", help="of the contract; default: of the folder")
    draft.add_argument(
        "--rate", type=number(above=True), help="steps per second [Hz], which RLDS data does not store"
    )
    draft.add_argument("--space", default="", help="action space, if the guess is wrong")
    draft.add_argument(
        "--gripper", action="append", default=[], metavar="NAME",
        help="action value that moves a gripper or a finger, if the guess is wrong; repeatable; or none",
    )  # fmt: skip
    draft.add_argument(
        "--state",
        action="append",
        default=[],
        metavar="COLUMN",
        help="column of the state, or topic of a bag; repeatable",
    )
    draft.add_argument(
        "--action",
        action="append",
        default=[],
        metavar="COLUMN",
        help="column of the action, or topic of a bag; repeatable",
    )
    draft.set_defaults(run=_draft)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=output_folder, required=True, help="new folder; see --append")
    parser.add_argument(
        "--append", action="store_true", help="add to the data set in OUTPUT, of the same contract"
    )


def _import_bag(options: argparse.Namespace) -> int:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.dataset.tools.importing import import_bag

    contract, kept, total = read_contract(options.contract), 0, 0
    remarks: list[str] = []
    for done, path in enumerate(options.path):
        report = import_bag(
            path,
            contract,
            options.output,
            instruction=options.instruction,
            instruction_topic=options.instruction_topic,
            codec=options.codec,
            crf=options.crf,
            append=options.append or done > 0,
            next_state=options.next_state_as_action,
            report=print_episode,
            namespace=options.namespace or "",
        )
        kept, total = kept + report.kept, total + len(report.episodes)
        remarks += report.remarks
    return join_and_report(options, kept, total, options.output, remarks)


def _import_lerobot(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.layout import SOURCE_NUMBERS
    from vla_adapter_ros.dataset.tools.importing import import_lerobot

    dataset = open_with_names(options)
    if dataset.contract is None:
        raise DatasetError(
            f"{options.path} carries no contract: give --contract or --mapping; "
            "`vla-adapter dataset draft-contract` begins one"
        )
    report = import_lerobot(
        dataset,
        dataset.contract,
        options.output,
        control_source=SOURCE_NUMBERS[options.control_source],
        append=options.append,
        report=print_episode,
    )
    return join_and_report(options, report.kept, len(report.episodes), options.output, report.remarks)


def _import_rlds(options: argparse.Namespace) -> int:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.dataset.tools.importing_rlds import import_rlds

    report = import_rlds(
        options.path,
        read_contract(options.contract) if options.contract else None,
        options.output,
        form=Form(options.form),
        mapping=options.mapping,
        split=options.split,
        rate_hz=options.rate,
        append=options.append,
        report=print_episode,
    )
    return join_and_report(options, report.kept, len(report.episodes), options.output, report.remarks)


def _draft(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.opening import is_bag
    from vla_adapter_ros.dataset.tools.drafting.bag_draft import draft_from_bag
    from vla_adapter_ros.dataset.tools.drafting.draft import Draft, draft_contract
    from vla_adapter_ros.dataset.tools.drafting.text import PLACEHOLDER

    output: Path | None = options.output
    name = options.name or options.path.name
    hints = {"grippers": options.gripper, "state": options.state, "action": options.action}
    if is_bag(options.path):
        draft = Draft(draft_from_bag(options.path, name, options.space, **hints), "")
    else:
        seen = _seen_from(options.mapping_output, output)
        data = _open_to_draft(options.path, options.rate)
        draft = draft_contract(data, name, options.space, contract_file=seen, **hints)
    if output is None:
        print(draft.contract + (f"---\n{draft.mapping}" if draft.mapping else ""), end="")
        return 0
    mapping_file = options.mapping_output or output.with_name(f"{output.stem}_mapping.yaml")
    for path in (output, mapping_file) if draft.mapping else (output,):
        if path.exists():
            raise DatasetError(f"{path} is there already: allowed is a new file")
    output.write_text(draft.contract, encoding="utf-8")
    print(f"{output}: look at what says {PLACEHOLDER} and CHECK", file=sys.stderr)
    if draft.mapping:
        mapping_file.write_text(draft.mapping, encoding="utf-8")
        print(
            f"{mapping_file}: the data set needs this mapping: import-lerobot --mapping {mapping_file}, "
            f"finetune --dataset {options.path},mapping={mapping_file}",
            file=sys.stderr,
        )
    return 0


def _open_to_draft(path: Path, rate_hz: float | None) -> Any:
    from vla_adapter_ros.dataset.opening import open_dataset
    from vla_adapter_ros.dataset.rlds.description import is_rlds
    from vla_adapter_ros.dataset.rlds.reader import RldsReader

    rlds = is_rlds(path)
    if rlds != (rate_hz is not None):
        raise UsageError(f"--rate: {'needed' if rlds else 'allowed is'} for RLDS data, which stores no rate")
    return RldsReader(path, rate_hz) if rlds and rate_hz else open_dataset(path)


def _seen_from(mapping: Path | None, contract: Path | None) -> str:
    """A contract's file as a mapping names it; empty if it has none yet."""
    if contract is None:
        return ""
    same = mapping is None or mapping.resolve().parent == contract.resolve().parent
    return contract.name if same else str(contract.resolve())
