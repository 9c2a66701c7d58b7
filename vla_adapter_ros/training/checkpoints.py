"""Checkpoints of a running training: the newest ones and the best one, each complete or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.files import write_file
from vla_adapter_ros.training.old_records import rename_old_keys
from vla_adapter_ros.untrusted import read_json

_INDEX = "checkpoints.json"


def _read_index(path: Path) -> dict[int, float | None]:
    try:
        stored = rename_old_keys("checkpoints", read_json(path))["validation_loss"]
        losses = {int(step): loss for step, loss in stored.items()}
        if all(loss is None or isinstance(loss, float) for loss in losses.values()):
            return losses
        raise ValueError(f"losses {list(losses.values())[:3]}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path}: no list of checkpoints: {error}") from error


class CheckpointManager:
    """A folder of checkpoints `step_00000500`, with an index of their validation losses.

    Args:
        folder: Where they lie; made when the first is written.
        save_total_limit: How many of the newest stay; the one with the lowest validation loss stays too.
            0: none is ever written.
    """

    def __init__(self, folder: Path, save_total_limit: int) -> None:
        self.folder, self._limit = folder, save_total_limit
        self._losses: dict[int, float | None] = {}
        index = folder / _INDEX
        if index.is_file():
            self._losses = _read_index(index)
        self._losses = {step: loss for step, loss in self._losses.items() if self.path(step).is_dir()}

    def path(self, step: int) -> Path:
        """Where the checkpoint after `step` steps lies."""
        return self.folder / f"step_{step:08d}"

    @property
    def steps(self) -> list[int]:
        """Numbers of steps of those that are there, rising."""
        return sorted(self._losses)

    @property
    def best(self) -> tuple[int, float] | None:
        """Steps and validation loss of the best one; None if none was validated."""
        validated = [(loss, step) for step, loss in self._losses.items() if loss is not None]
        return min(validated)[::-1] if validated else None

    def save(self, step: int, loss: float | None, write: Callable[[Path], None]) -> None:
        """Write the checkpoint after `step` steps and remove those beyond the limit.

        Args:
            step: Steps made.
            loss: Validation loss; None if it is not known.
            write: Fills a folder.
        """
        if not self._limit:
            return
        target = self.path(step)
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        self._losses[step] = loss
        self._remove_old()
        self._write_index()

    def register(self, step: int, loss: float | None) -> None:
        """Count in a checkpoint that another process wrote."""
        if self._limit:
            self._losses[step] = loss

    def remove_after(self, step: int) -> None:
        """Remove those of more than `step` steps: the training goes on from there and makes them anew."""
        for later in [number for number in self._losses if number > step]:
            shutil.rmtree(self.path(later), ignore_errors=True)
            del self._losses[later]
        if self.folder.is_dir():
            self._write_index()

    def _remove_old(self) -> None:
        stay = set(self.steps[-self._limit :])
        if self.best:
            stay.add(self.best[0])
        for step in set(self._losses) - stay:
            del self._losses[step]
            shutil.rmtree(self.path(step), ignore_errors=True)

    def _write_index(self) -> None:
        facts = {
            "validation_loss": {str(step): self._losses[step] for step in self.steps},
            "best": self.best[0] if self.best else None,
        }
        text = json.dumps(facts, indent=2) + "\n"
        write_file(self.folder / _INDEX, lambda to: to.write_text(text, encoding="utf-8"))
