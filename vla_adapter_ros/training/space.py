"""Whether the output can be written, asked before hours are spent."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from torch import nn

from vla_adapter_ros.errors import TrainingError

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


def bytes_needed(model: nn.Module, weights: int, keep: int, *, ema: bool, held_out: bool) -> int:
    """Most disk space that a training takes.

    Args:
        model: What trains: of each trained parameter a state holds the value, two moments, and with `ema`
            the mean. While a new state is written, the old one is still there.
        weights: Parameters of the network that checkpoints hold, without adapters.
        keep: Checkpoints beside the output; with `held_out` the best one more, and one is being written.
        ema: Whether there is a running mean.
        held_out: Whether a best one is known.
    """
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    states = 2 * (4 if ema else 3) * trained
    checkpoints = 1 + (keep + held_out + 1 if keep else 0)
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
            f"{folder}: {free / 1e9:.1f} GB free, weights, optimiser and checkpoints need up to "
            f"{needed / 1e9:.1f} GB: make room, choose another output, or keep fewer checkpoints"
        )
