"""Where a training lies on disk: its output, and beside it the folder of the running training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_adapter_ros.dataset.start_pose import TRAINING_RECORD
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.files import missing_folders, remove_empty
from vla_adapter_ros.training.settings import FREE
from vla_adapter_ros.training.space import only_one, require_writable
from vla_adapter_ros.training.state import STATE_FILE, read_settings


@dataclass(frozen=True)
class TrainingRun:
    """A training on disk.

    Attributes:
        output: Checkpoint directory; appears when it is complete.
        resume: Whether to go on with an interrupted training.
    """

    output: Path
    resume: bool

    @property
    def folder(self) -> Path:
        """The running training: its state, checkpoints and logs."""
        return self.output.with_name(self.output.name + ".training")

    @property
    def state_file(self) -> Path:
        """What an interrupted training goes on from."""
        return self.folder / STATE_FILE

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to resume."""
        return self.resume and (self.output / TRAINING_RECORD).is_file()

    @contextmanager
    def reserve(self, is_first: bool) -> Iterator[None]:
        """Keep output and folder for this training; of one that is refused nothing is left.

        Args:
            is_first: False in the further processes of one training.

        Raises:
            TrainingError: the output is there already, cannot be written to, or another training uses it.
        """
        made = missing_folders(self.folder)
        try:
            self._require_free()
            with only_one(self.folder, is_first):
                self._require_free()  # the one before may just have ended
                yield
        finally:
            remove_empty(made)

    def resumes(self, record: dict[str, Any]) -> bool:
        """Whether there is a state to go on from.

        Raises:
            TrainingError: it belongs to a training with another record.
        """
        if not self.state_file.is_file():
            return False
        require_same_training(read_settings(self.state_file), record)
        return True

    def _require_free(self) -> None:
        if self.output.exists():
            raise TrainingError(f"{self.output} is there already: choose another output, or remove it")
        if self.state_file.exists() and not self.resume:
            raise TrainingError(f"{self.folder}: an interrupted training: resume it, or remove the folder")
        require_writable(self.output.parent)
        require_writable(self.folder)


def require_same_training(saved: dict[str, Any], record: dict[str, Any]) -> None:
    """Refuse to go on with other settings than those of before; `FREE` ones may differ.

    Raises:
        TrainingError: names every difference.
    """
    names = sorted(n for n in {*saved, *record} if n not in FREE and saved.get(n) != record.get(n))
    if names:
        lines = "\n  ".join(f"{n}: {saved.get(n)!r} then, {record.get(n)!r} now" for n in names)
        raise TrainingError(f"the training before differs from this one:\n  {lines}")
