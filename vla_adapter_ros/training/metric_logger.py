"""Metrics of a running training: TensorBoard files, and Weights & Biases where it is wanted."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import TrainingError


class MetricLogger:
    """Writes numbers by step. Does nothing in processes other than the first.

    Args:
        folder: TensorBoard's folder.
        wandb: Project at Weights & Biases; "" is none.
        settings: What is stored beside the metrics there.
        first_step: Steps already made: what TensorBoard has of later ones is hidden.
        active: Whether this is the first process.

    Raises:
        TrainingError: wandb is asked for and not installed.
    """

    def __init__(
        self, folder: Path, *, wandb: str = "", settings: dict[str, Any], first_step: int, active: bool
    ) -> None:
        self._writer, self._run = None, None
        if not active:
            return
        if wandb:
            try:
                module = importlib.import_module("wandb")
            except ImportError:
                raise TrainingError(
                    "Weights & Biases is wanted: pip install wandb, or leave it out"
                ) from None
            self._run = module.init(project=wandb, config=settings, name=folder.parent.name)
        from torch.utils.tensorboard import SummaryWriter  # half a second to import

        self._writer = SummaryWriter(str(folder), purge_step=first_step, flush_secs=30)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Store metrics after `step` steps."""
        if self._writer is not None:
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, step)
        if self._run is not None:
            self._run.log(metrics, step=step)

    def close(self) -> None:
        """Bring everything to disk."""
        if self._writer is not None:
            self._writer.close()
        if self._run is not None:
            self._run.finish()
