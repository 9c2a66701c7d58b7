"""Fine-tunings, running or finished, in a folder: how far they are, their losses, and their pages."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import short

WORKING = ".training"  # beside the output: see `training.finetune`
LOSS, VALIDATION = "train/loss", "validation/loss"
PAGES = {"report": ".report.html", "data": ".data.html"}
MOST_POINTS = 300
MOST_RUNS = 100
SILENT_S = 120.0  # a training writes its logs every 30 s


@dataclass(frozen=True)
class Run:
    """One fine-tuning.

    Attributes:
        name: Of its output.
        state: running, finished or interrupted.
        checkpoints: Folders that can be put on the robot: the output if it is there, then those kept.
        pages: Names of `PAGES` that are there.
    """

    name: str
    state: str
    checkpoints: tuple[Path, ...]
    pages: tuple[str, ...]


class RunStore:
    """Reads a folder of outputs of `vla-adapter finetune`. Methods may take a second: call them in a thread.

    Args:
        root: The folder; it need not be there yet.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = locate(root)

    def runs(self) -> list[Run]:
        """All fine-tunings, the newest first."""
        found = [p for p in self._entries() if p.is_dir() and not p.is_symlink() and p.name.endswith(WORKING)]
        newest = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
        return [self._run(path) for path in newest[:MOST_RUNS]]

    def losses(self, name: str) -> dict[str, list[tuple[int, float]]]:
        """Losses by step: `LOSS` and `VALIDATION`, as far as they are known.

        Raises:
            DatasetError: no such run, or its logs cannot be read.
        """
        try:
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        except ImportError:
            raise DatasetError("losses need tensorboard: pip install tensorboard") from None
        folder = self._output(name).with_name(name + WORKING) / "logs"
        try:
            logs = EventAccumulator(str(folder), size_guidance={"scalars": MOST_POINTS})
            logs.Reload()
            known = set(logs.Tags().get("scalars", ())) & {LOSS, VALIDATION}
            return {
                tag: [(e.step, float(e.value)) for e in logs.Scalars(tag) if math.isfinite(e.value)]
                for tag in known
            }
        except Exception as error:  # the reader has many of its own
            raise DatasetError(
                f"{folder}: its logs cannot be read: {' '.join(str(error).split())[:200]}"
            ) from None

    def page(self, name: str, page: str) -> Path:
        """File of a page.

        Raises:
            DatasetError: no such run or page.
        """
        if page not in PAGES:
            raise DatasetError(f"page {short(page)}: allowed is one of {', '.join(PAGES)}")
        path = self._output(name).with_name(name + PAGES[page])
        if not path.is_file() or path.is_symlink():
            raise DatasetError(f"{name} has no page {page}")
        return path

    def _entries(self) -> list[Path]:
        try:
            return list(self.root.iterdir())
        except OSError:
            return []

    def _output(self, name: str) -> Path:
        if not name or name in (".", "..") or Path(name).name != name:
            raise DatasetError(f"run {short(name)}: allowed is the name of one in {self.root}")
        return self.root / name

    def _run(self, working: Path) -> Run:
        name = working.name.removesuffix(WORKING)
        output = working.with_name(name)
        finished = (output / "training.json").is_file()
        state = "finished" if finished else "running" if _writes(working / "logs") else "interrupted"
        kept = sorted(
            p for p in (working / "checkpoints").glob("step_*") if p.is_dir() and not p.is_symlink()
        )
        return Run(
            name,
            state,
            (*([output] if finished else []), *kept[::-1]),
            tuple(page for page, ending in PAGES.items() if working.with_name(name + ending).is_file()),
        )


def _writes(logs: Path) -> bool:
    """Whether a training has written here lately. Trying its lock might keep one from starting."""
    try:
        newest = max((path.stat().st_mtime for path in logs.iterdir()), default=-math.inf)
    except OSError:
        return False
    return time.time() - newest < SILENT_S
