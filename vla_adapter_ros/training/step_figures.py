"""What is shown and logged of the steps of a training."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from vla_adapter_ros.contract.schema import ActionDimension
from vla_adapter_ros.training.validation import ValidationResult

_RECENT = 50  # steps over which what is shown is averaged


class StepFigures:
    """Collects loss, errors and time of the last steps.

    Args:
        dimensions: Of the action; errors are in their units.
        batch_size: Samples per step.
        device: Whose memory is told.
        losses: Of the steps made before.
    """

    def __init__(
        self,
        dimensions: tuple[ActionDimension, ...],
        batch_size: int,
        device: torch.device,
        losses: Sequence[float] = (),
    ) -> None:
        self._names = [f"{d.name} [{d.unit.si}]" for d in dimensions]
        self._dimensions, self._batch_size, self._device = dimensions, batch_size, device
        self._times: deque[float] = deque(maxlen=_RECENT)
        self._errors: deque[np.ndarray] = deque(maxlen=_RECENT)
        self._losses = deque(losses, maxlen=_RECENT)

    def add_step(self, loss: float, errors: np.ndarray, seconds: float) -> None:
        """Count in a step: its loss, errors of the action dimensions (A,) in their units, and time [s]."""
        self._losses.append(loss)
        self._errors.append(errors)
        self._times.append(seconds)

    def line(self) -> str:
        """The last steps in a few words."""
        by_unit: dict[str, list[float]] = {}
        for dimension, error in zip(self._dimensions, np.mean(self._errors, axis=0), strict=True):
            by_unit.setdefault(dimension.unit.si, []).append(float(error))
        parts = [f"loss {np.mean(self._losses):.4f}"]
        parts += [f"{np.mean(values):.3g} {unit}" for unit, values in by_unit.items() if any(values)]
        parts += [f"{self._rate():.3g} samples/s"]
        parts += [f"{memory:.1f} GB"] if (memory := self._memory_gb()) else []
        return "  ".join(parts)

    def metrics(self, gradient_norm: float, learning_rate: float) -> dict[str, float]:
        """Numbers of the last step by name."""
        found = {
            "train/loss": self._losses[-1],
            "train/gradient_norm": gradient_norm,
            "train/learning_rate": learning_rate,
            "speed/samples_per_s": self._rate(),
        }
        if memory := self._memory_gb():
            found["speed/gpu_memory_gb"] = memory
        return found | {f"error/{n}": float(e) for n, e in zip(self._names, self._errors[-1], strict=True)}

    def describe_validation(self, step: int, result: ValidationResult) -> tuple[str, dict[str, float]]:
        """A line about a validation after `step` steps, and its numbers by name."""
        text = f"step {step}: validation loss {result.loss:.4f}"
        found = {"validation/loss": result.loss}
        if result.errors is not None:
            errors = [float(error) for error in result.errors]
            pairs = list(zip(self._dimensions, errors, strict=True))
            text += ": " + ", ".join(f"{d.name} {error:.4g} {d.unit.si}" for d, error in pairs)
            found |= {f"validation/{n}": error for n, error in zip(self._names, errors, strict=True)}
        return text, found

    def _rate(self) -> float:
        return self._batch_size / float(np.median(self._times))

    def _memory_gb(self) -> float:
        if self._device.type != "cuda":
            return 0.0
        return torch.cuda.max_memory_allocated(self._device) / 1e9
