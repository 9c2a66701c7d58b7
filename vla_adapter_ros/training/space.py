"""Whether the output can be written, asked before hours are spent."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from torch import nn

from vla_adapter_ros.errors import TrainingError

LOCK = "lock"
_STORED = 2  # bytes of a weight in a checkpoint
_SMALL_FILES = 32 << 20  # tokenizer, plots, logs


def require_writable(folder: Path) -> None:
    """Make the folder if it is missing, and a file in it.

    Raises:
        TrainingError: one of them cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TrainingError(f"{folder} cannot be written to: {error}: choose another output") from None


@contextlib.contextmanager
def only_one(folder: Path, active: bool = True) -> Iterator[None]:
    """Keep other trainings out of the folder; the kernel lets them in when this process is gone.

    Args:
        folder: Of the running training; made if it is missing.
        active: False in the further processes of one training.

    Raises:
        TrainingError: another training is using it, or it cannot be written to.
    """
    if not active:
        yield
        return
    require_writable(folder)
    removed = True
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            removed = os.fstat(descriptor).st_nlink == 0  # by a training that was refused just now
        except OSError:
            removed = True
        if removed:
            raise TrainingError(
                f"{folder}: another training is writing to it: wait for its end, stop it, or choose "
                "another output"
            )
        yield
    finally:
        if not removed and [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()  # it has left nothing
        os.close(descriptor)


@contextlib.contextmanager
def explain_writing(folder: Path) -> Iterator[None]:
    """Turn a disk that cannot be written to into one sentence.

    Raises:
        TrainingError: in place of what the libraries raise.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:400]
        raise TrainingError(
            f"writing failed: {reason}: make room; what was saved before in {folder} can be resumed"
        ) from error


def bytes_needed(model: nn.Module, weights: int, save_total_limit: int, *, ema: bool, validates: bool) -> int:
    """Most disk space that a training takes.

    Args:
        model: What trains: of each trained parameter a state holds the value, two moments, and with `ema`
            the mean. While a new state is written, the old one is still there.
        weights: Parameters of the network that checkpoints hold, without adapters.
        save_total_limit: Checkpoints beside the output; with `validates` the best one more, and one more is
            being written.
        ema: Whether there is a moving average of the weights.
        validates: Whether a best one is known.
    """
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    states = 2 * (4 if ema else 3) * trained
    checkpoints = 1 + (save_total_limit + validates + 1 if save_total_limit else 0)
    return states + checkpoints * _STORED * weights + _SMALL_FILES


def require_space(folder: Path, needed: int) -> None:
    """Compare with the disk.

    Args:
        folder: It exists.
        needed: [byte].

    Raises:
        TrainingError: less is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TrainingError(
            f"{folder}: {free / 1e9:.1f} GB free, weights, optimizer and checkpoints need up to "
            f"{needed / 1e9:.1f} GB: make room, choose another output, or keep fewer checkpoints"
        )
