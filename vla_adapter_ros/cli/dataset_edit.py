"""Sub-commands of `vla-adapter dataset` that make data sets of others, or put one back into the graph."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vla_adapter_ros.cli.arguments import EPISODE_HELP, any_path, number, output_file, output_folder, whole
from vla_adapter_ros.errors import DatasetError


def add_dataset_edit_commands(kinds: Any) -> None:
    """Add the sub-commands; none of them changes what it reads."""
    bag = kinds.add_parser("import-bag", help="a rosbag2 recording, as the recorder would have recorded it")
    bag.add_argument("path", type=any_path, nargs="+", help="folder of a bag (mcap or sqlite3); repeatable")
    bag.add_argument("--contract", required=True, help="shipped name or path")
    _imported(bag)
    bag.add_argument("--instruction", default="", help="what was to be done; default: the bag's own topic")
    bag.add_argument("--instruction-topic", default="", help="std_msgs/String that says what was to be done")
    bag.add_argument(
        "--next-state-as-action", action="store_true",
        help="for bags without commands: the action of a row is the state of the next one",
    )  # fmt: skip
    bag.add_argument("--codec", default="h264", choices=("h264", "hevc", "av1"))
    bag.add_argument("--crf", type=whole(0, 63), default=23, help="quality of the videos, smaller is better")
    bag.set_defaults(run=_import_bag)

    lerobot = kinds.add_parser("import-lerobot", help="a LeRobot data set by others: v3.0, v2.1 or v2.0")
    lerobot.add_argument("path", type=any_path, help="folder of the data set")
    _imported(lerobot)
    _names(lerobot)
    lerobot.add_argument(
        "--control-source", default="human", choices=("human", "policy", "none"),
        help="who was in control, where the data does not say",
    )  # fmt: skip
    lerobot.set_defaults(run=_import_lerobot)

    merge = kinds.add_parser("merge", help="several data sets of one contract as one")
    merge.add_argument("path", type=any_path, nargs="+", help="folders of the data sets, in their order")
    merge.add_argument("--output", type=output_folder, required=True, help="new folder")
    merge.set_defaults(run=_merge)

    split = kinds.add_parser("split", help="chosen episodes as data sets of their own")
    split.add_argument("path", type=any_path, help="folder of the data set")
    split.add_argument("parts", nargs="+", metavar="NAME=EPISODES", help="such as train=0-79 test=80-99")
    split.add_argument(
        "--output", type=output_folder, required=True, help="folder that gets one folder per part"
    )
    split.set_defaults(run=_split)

    trim = kinds.add_parser("trim-idle", help="cut the still rows before the first and after the last motion")
    trim.add_argument("path", type=any_path, help="folder of the data set")
    trim.add_argument("--output", type=output_folder, required=True, help="new folder")
    trim.add_argument("--margin", type=number(), default=0.3, help="time that is kept on either side [s]")
    trim.add_argument("--idle-range", type=number(), default=0.005, help="less is no motion [rad or m]")
    trim.add_argument("--exact", action="store_true", help="cut between key images too: encodes videos again")
    trim.set_defaults(run=_trim)

    joined = kinds.add_parser("consolidate", help="several episodes in each file, as LeRobot's tools expect")
    joined.add_argument("path", type=any_path, help="folder of a v3.0 data set; nothing in it is changed")
    joined.add_argument("output", type=output_folder, help="new folder")
    joined.set_defaults(run=_consolidate)

    for parser in (bag, lerobot, merge, split, trim):
        _keep_files(parser)

    draft = kinds.add_parser("draft-contract", help="begin a contract from a data set or a bag by others")
    draft.add_argument("path", type=any_path, help="folder of the data set or of the bag")
    draft.add_argument("--output", type=output_file, help="YAML file to write; default: print it")
    draft.add_argument(
        "--mapping-output", type=output_file,
        help="where the mapping goes if one is needed; default: beside the contract",
    )  # fmt: skip
    draft.add_argument("--name", help="of the contract; default: of the folder")
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

    replay = kinds.add_parser("replay", help="publish an episode into the running graph")
    replay.add_argument("path", type=any_path, help="folder of the data set")
    replay.add_argument("--episode", type=whole(), required=True, help=EPISODE_HELP)
    replay.add_argument("--speed", type=number(0.05, 20), default=1.0, help="2 is twice as fast")
    what = replay.add_mutually_exclusive_group()
    what.add_argument(
        "--frames", action="store_true", help="images, state and action on their topics (default)"
    )
    what.add_argument(
        "--commands", action="store_true", help="actions as teleoperation, through the controller's limits"
    )
    _names(replay)
    replay.set_defaults(run=_replay)

    export = kinds.add_parser("export", help="upload to the Hugging Face Hub, tagged v3.0")
    export.add_argument("path", type=any_path, help="folder of the data set")
    export.add_argument("--repo-id", required=True, help="USER/NAME on the Hub")
    export.add_argument("--public", action="store_true", help="visible to everybody; default: private")
    _keep_files(export)
    export.set_defaults(run=_export)


def _imported(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=output_folder, required=True, help="new folder; see --append")
    parser.add_argument(
        "--append", action="store_true", help="add to the data set in OUTPUT, of the same contract"
    )


def _names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mapping", type=any_path, help="YAML file: its names in a contract")
    parser.add_argument("--contract", help="shipped name or path; default: the mapping's or the data set's")


def _keep_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file-per-episode", action="store_true", help="do not join the files of several episodes"
    )


def _print_episode(episode: Any) -> None:
    print("\n".join(episode.lines), flush=True)


def _finish(options: argparse.Namespace, kept: int, total: int, output: Path, remarks: list[str] = ()) -> int:
    """Join the files of the episodes and say what was done; status 1 if an episode is missing."""
    from vla_adapter_ros.dataset.tools.consolidate import consolidate_in_place

    for remark in remarks:
        print(remark)
    if kept and not options.file_per_episode:
        try:
            consolidate_in_place(output)
        except DatasetError as error:
            print(f"each episode keeps files of its own: {error}")
    print(f"{kept} of {total} episodes in {output}")
    return 0 if kept == total and kept else 1


def _import_bag(options: argparse.Namespace) -> int:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.dataset.tools.importing import import_bag

    contract, kept, total, remarks = read_contract(options.contract), 0, 0, []
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
            report=_print_episode,
        )
        kept, total = kept + report.kept, total + len(report.episodes)
        remarks += report.remarks
    return _finish(options, kept, total, options.output, remarks)


def _import_lerobot(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.layout import SOURCE_NUMBERS
    from vla_adapter_ros.dataset.tools.importing import import_lerobot

    dataset = _open(options)
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
        report=_print_episode,
    )
    return _finish(options, report.kept, len(report.episodes), options.output, report.remarks)


def _merge(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.opening import open_dataset
    from vla_adapter_ros.dataset.tools.editing import merge

    episodes = merge([open_dataset(path) for path in options.path], options.output, _print_episode)
    return _finish(options, sum(e.index >= 0 for e in episodes), len(episodes), options.output)


def _split(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.opening import open_dataset
    from vla_adapter_ros.dataset.tools.editing import parse_episodes, split

    parts = {}
    for part in options.parts:
        name, equals, episodes = part.partition("=")
        if not equals or not name or name != Path(name).name or name in parts:
            raise DatasetError(f"part {part!r}: allowed is NAME=EPISODES, each name once, such as train=0-79")
        parts[name] = parse_episodes(episodes)
    result = split(open_dataset(options.path), parts, options.output, lambda _, e: _print_episode(e))
    statuses = [
        _finish(options, sum(e.index >= 0 for e in episodes), len(episodes), options.output / name)
        for name, episodes in result.items()
    ]
    return max(statuses)


def _trim(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.opening import open_dataset
    from vla_adapter_ros.dataset.tools.editing import TrimSettings, trim_idle

    settings = TrimSettings(options.margin, options.idle_range, options.exact)
    episodes = trim_idle(open_dataset(options.path), options.output, settings, _print_episode)
    return _finish(options, sum(e.index >= 0 for e in episodes), len(episodes), options.output)


def _consolidate(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.tools.consolidate import consolidate

    print(consolidate(options.path, options.output).line)
    return 0


def _draft(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.opening import is_bag, open_dataset
    from vla_adapter_ros.dataset.tools.drafting.bag_draft import draft_from_bag
    from vla_adapter_ros.dataset.tools.drafting.draft import Draft, draft_contract
    from vla_adapter_ros.dataset.tools.drafting.text import PLACEHOLDER

    name, output = options.name or options.path.name, options.output
    beside = output.with_name(f"{output.stem}_mapping.yaml") if output else None
    mapping_file = options.mapping_output or beside
    hints = {"grippers": options.gripper, "state": options.state, "action": options.action}
    if is_bag(options.path):
        draft = Draft(draft_from_bag(options.path, name, options.space, **hints), "")
    else:
        seen = _seen_from(mapping_file, output)
        draft = draft_contract(open_dataset(options.path), name, options.space, contract_file=seen, **hints)
    if output is None:
        print(draft.contract + (f"---\n{draft.mapping}" if draft.mapping else ""), end="")
        return 0
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


def _seen_from(mapping: Path | None, contract: Path | None) -> str:
    """A contract's file as a mapping names it; empty if it has none yet."""
    if contract is None:
        return ""
    same = mapping is None or mapping.resolve().parent == contract.resolve().parent
    return contract.name if same else str(contract.resolve())


def _replay(options: argparse.Namespace) -> int:
    from vla_adapter_ros.cli.replay import replay_commands, replay_frames
    from vla_adapter_ros.dataset.opening import find_episodes

    dataset = _open(options)
    if dataset.contract is None:
        raise DatasetError(f"{options.path} carries no contract: give --contract or --mapping")
    replay = replay_commands if options.commands else replay_frames
    (place,) = find_episodes(dataset, [options.episode])
    rows = replay(dataset, dataset.contract, place, options.speed)
    print(f"{rows} rows of episode {options.episode} published")
    return 0


def _export(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.hub_datasets import push_to_hub

    url = push_to_hub(
        options.path, options.repo_id, private=not options.public, file_per_episode=options.file_per_episode
    )
    print(url)
    return 0


def _open(options: argparse.Namespace) -> Any:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.dataset.opening import open_dataset

    contract = read_contract(options.contract) if options.contract else None
    return open_dataset(options.path, options.mapping, contract)
