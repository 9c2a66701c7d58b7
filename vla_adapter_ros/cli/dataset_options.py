"""Options and answers that several sub-commands of `vla-adapter dataset` share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.cli.arguments import any_path
from vla_adapter_ros.errors import DatasetError


def add_names(parser: argparse.ArgumentParser) -> None:
    """Add what a data set by others needs: `--mapping` and `--contract`."""
    parser.add_argument("--mapping", type=any_path, help="YAML file: its names in a contract")
    parser.add_argument("--contract", help="shipped name or path; default: the mapping's or the data set's")


def add_file_per_episode(parser: argparse.ArgumentParser) -> None:
    """Add `--file-per-episode`."""
    parser.add_argument(
        "--file-per-episode", action="store_true", help="do not join the files of several episodes"
    )


def open_with_names(options: argparse.Namespace) -> Any:
    """The data set of the options `path`, `--mapping` and `--contract`.

    Raises:
        DatasetError: it cannot be opened.
    """
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.dataset.opening import open_dataset

    contract = read_contract(options.contract) if options.contract else None
    return open_dataset(options.path, options.mapping, contract)


def print_episode(episode: Any) -> None:
    """Say what became of an episode."""
    print("\n".join(episode.lines), flush=True)


def join_and_report(
    options: argparse.Namespace, kept: int, total: int, output: Path, remarks: Sequence[str] = ()
) -> int:
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
