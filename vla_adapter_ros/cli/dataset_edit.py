"""Sub-commands of `vla-adapter dataset` that make data sets of others, label one, or give one away."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.cli.arguments import EPISODE_HELP, any_path, number, output_folder, whole
from vla_adapter_ros.cli.dataset_options import (
    add_file_per_episode,
    add_names,
    join_and_report,
    open_with_names,
    print_episode,
)
from vla_adapter_ros.errors import DatasetError


def add_dataset_edit_commands(kinds: Any) -> None:
    """Add the sub-commands; none but `label` changes what it reads."""
    merge = kinds.add_parser("merge", help="several data sets of one contract as one")
    merge.add_argument("path", type=any_path, nargs="+", help="folders of the data sets, in their order")
    merge.add_argument("--output", type=output_folder, required=True, help="new folder")
    add_file_per_episode(merge)
    merge.set_defaults(run=_merge)

    split = kinds.add_parser("split", help="chosen episodes as data sets of their own")
    split.add_argument("path", type=any_path, help="folder of the data set")
    split.add_argument("parts", nargs="+", metavar="NAME=EPISODES", help="such as train=0-79 test=80-99")
    split.add_argument(
        "--output", type=output_folder, required=True, help="folder that gets one folder per part"
    )
    add_file_per_episode(split)
    split.set_defaults(run=_split)

    trim = kinds.add_parser("trim-idle", help="cut the still rows before the first and after the last motion")
    trim.add_argument("path", type=any_path, help="folder of the data set")
    trim.add_argument("--output", type=output_folder, required=True, help="new folder")
    trim.add_argument("--margin", type=number(), default=0.3, help="time that is kept on either side [s]")
    trim.add_argument("--idle-range", type=number(), default=0.005, help="less is no motion [rad or m]")
    trim.add_argument("--exact", action="store_true", help="cut between key images too: encodes videos again")
    add_file_per_episode(trim)
    trim.set_defaults(run=_trim)

    joined = kinds.add_parser("consolidate", help="several episodes in each file, as LeRobot's tools expect")
    joined.add_argument("path", type=any_path, help="folder of a v3.0 data set; nothing in it is changed")
    joined.add_argument("output", type=output_folder, help="new folder")
    joined.set_defaults(run=_consolidate)

    label = kinds.add_parser("label", help="say how episodes ended: stored in the data set itself")
    label.add_argument("path", type=any_path, help="folder of a v3.0 data set; its labels are changed")
    label.add_argument("--episodes", required=True, help=f"such as 0-9,12; {EPISODE_HELP}")
    label.add_argument(
        "--outcome", choices=[*Outcome.words(), "none"], required=True, help="none takes back what was said"
    )
    label.add_argument("--reason", default="", help="why, in a few words; default: none")
    label.set_defaults(run=_label)

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
    add_names(replay)
    replay.set_defaults(run=_replay)

    export = kinds.add_parser("export", help="upload to the Hugging Face Hub, tagged v3.0")
    export.add_argument("path", type=any_path, help="folder of the data set")
    export.add_argument("--repo-id", required=True, help="USER/NAME on the Hub")
    export.add_argument("--public", action="store_true", help="visible to everybody; default: private")
    add_file_per_episode(export)
    export.set_defaults(run=_export)


def _merge(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.opening import open_dataset
    from vla_adapter_ros.dataset.tools.editing import merge

    episodes = merge([open_dataset(path) for path in options.path], options.output, print_episode)
    return join_and_report(options, sum(e.index >= 0 for e in episodes), len(episodes), options.output)


def _split(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.opening import open_dataset
    from vla_adapter_ros.dataset.tools.editing import parse_episodes, split

    parts = {}
    for part in options.parts:
        name, equals, episodes = part.partition("=")
        if not equals or not name or name != Path(name).name or name in parts:
            raise DatasetError(f"part {part!r}: allowed is NAME=EPISODES, each name once, such as train=0-79")
        parts[name] = parse_episodes(episodes)
    result = split(open_dataset(options.path), parts, options.output, lambda _, e: print_episode(e))
    statuses = [
        join_and_report(options, sum(e.index >= 0 for e in episodes), len(episodes), options.output / name)
        for name, episodes in result.items()
    ]
    return max(statuses)


def _trim(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.opening import open_dataset
    from vla_adapter_ros.dataset.tools.editing import TrimSettings, trim_idle

    settings = TrimSettings(options.margin, options.idle_range, options.exact)
    episodes = trim_idle(open_dataset(options.path), options.output, settings, print_episode)
    return join_and_report(options, sum(e.index >= 0 for e in episodes), len(episodes), options.output)


def _consolidate(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.tools.consolidate import consolidate

    print(consolidate(options.path, options.output).line)
    return 0


def _label(options: argparse.Namespace) -> int:
    from vla_adapter_ros.dataset.labels import label_episodes
    from vla_adapter_ros.dataset.outcome import read_label
    from vla_adapter_ros.dataset.tools.editing import parse_episodes

    numbers = parse_episodes(options.episodes)
    label = read_label("" if options.outcome == "none" else options.outcome, options.reason)
    label_episodes(options.path, numbers, label)
    print(f"{options.path}: {len(numbers)} episodes: {label}")
    return 0


def _replay(options: argparse.Namespace) -> int:
    from vla_adapter_ros.cli.replay import replay_commands, replay_frames
    from vla_adapter_ros.dataset.opening import find_episodes

    dataset = open_with_names(options)
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
