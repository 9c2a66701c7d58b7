"""Saves what can be saved of a damaged data set into a new one. The damaged one is only read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.folder import keep_recorders_out
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.damaged import DamagedDataset
from vla_adapter_ros.dataset.tools.rebuild import rebuild_dataset
from vla_adapter_ros.errors import DatasetError, VlaAdapterError
from vla_adapter_ros.paths import locate


@dataclass(frozen=True)
class RepairResult:
    """What a repair did.

    Attributes:
        root: The data set that was read.
        output: The new one; None if the old one is whole.
        kept: Number of episodes that count now.
        recovered: Episodes that the old tables did not count, and tables that were made anew, in words.
        dropped: What was left out and why, in words.
        leftovers: Files of the old data set that nothing uses, relative to it.
    """

    root: Path
    output: Path | None
    kept: int
    recovered: tuple[str, ...]
    dropped: tuple[str, ...]
    leftovers: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """Lines for people."""
        lines = [f"recovered: {text}" for text in self.recovered]
        lines += [f"dropped: {text}" for text in self.dropped]
        lines += [f"not used: {name}" for name in self.leftovers]
        if self.output is None:
            return [*lines, f"{self.root}: all {self.kept} episodes are whole, nothing to repair"]
        return [*lines, f"{self.output}: {self.kept} episodes; {self.root} is as it was"]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        output = None if self.output is None else str(self.output)
        return {
            "dataset": str(self.root),
            "output": output,
            "episodes": self.kept,
            "recovered": list(self.recovered),
            "dropped": list(self.dropped),
            "leftovers": list(self.leftovers),
        }


def repair_dataset(
    root: str | Path,
    output: str | Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> RepairResult:
    """Write a data set with every episode that is whole: rows, an instruction, one image per row and camera.

    Episodes that were complete on disk but not committed yet are taken in too. All images are decoded once.
    Videos are linked into the new folder where the file system can, else copied. A data set that is whole
    is left alone.

    Args:
        root: Folder of a LeRobot v3.0 data set; nothing in it is changed.
        output: New folder; root with `_repaired` at its end if None.
        progress: Called with the number of episodes that were looked at, and of all.

    Raises:
        DatasetError: it is being recorded, of another format, the output exists, or no episode is whole.
    """
    root = locate(root)
    output = locate(output) if output else root.with_name(f"{root.name}_repaired")
    with keep_recorders_out(root):
        return _repair(root, output, progress)


def _repair(root: Path, output: Path, progress: Callable[[int, int], None] | None) -> RepairResult:
    damaged = DamagedDataset(root)
    found, total = [], len(damaged.facts)
    for number, facts in enumerate(damaged.facts):
        try:
            found.append(damaged.read_episode(facts))
        except VlaAdapterError as error:
            damaged.dropped.append(f"episode {facts['episode_index']}: {error}")
        if progress:
            progress(number + 1, total)
    if not found:
        more = f"; and {len(damaged.dropped) - 3} more" if len(damaged.dropped) > 3 else ""
        raise DatasetError("; ".join([f"{root}: no episode is whole", *damaged.dropped[:3]]) + more)
    counted = damaged.info.get("total_episodes")
    for episode in found:
        if counted is not None and episode.number >= counted:
            damaged.recovered.append(f"episode {episode.number} was complete but not committed")
    leftovers = damaged.leftovers(found)
    trouble = "" if damaged.dropped or damaged.recovered else _trouble(root)
    if trouble:
        damaged.recovered.append(trouble)
    if not damaged.dropped and not damaged.recovered:
        return RepairResult(root, None, len(found), (), (), leftovers)
    if output.exists():
        raise DatasetError(f"{output} exists: allowed is a new folder")
    rebuild_dataset(root, output, damaged.info, found, damaged.contract)
    return RepairResult(root, output, len(found), tuple(damaged.recovered), tuple(damaged.dropped), leftovers)


def _trouble(root: Path) -> str:
    """Why the tables cannot stay as they are, though every episode is whole; empty if they can."""
    try:
        reader = DatasetReader(root)
        counts = reader.stats["index"]["count"]
    except VlaAdapterError as error:
        return f"tables made anew: {error}"
    except (KeyError, TypeError):
        return f"{layout.STATS}: incomplete, made anew"
    if reader.contract is not None and counts != [reader.num_frames]:
        return f"{layout.STATS}: of {counts} rows instead of {reader.num_frames}, made anew"
    return ""
