"""A moving average of the weights that train."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class RunningMean:
    """Exponential mean of a model's trainable parameters, held in their type and on their device.

    After step n (from 1) the decay is min(decay, (1 + n) / (10 + n)), so the random start is soon forgotten.
    torch's `AveragedModel` copies the weights after the first step in place of averaging them with the start,
    and holds what does not train a second time, which for the published model is nearly everything.

    Args:
        model: The model that trains.
        decay: Weight of the old mean in each update, 0 to below 1; with 0 there is no mean.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._parameters = {n: p for n, p in model.named_parameters() if p.requires_grad} if decay else {}
        self.means: dict[str, Tensor] = {n: p.detach().clone() for n, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, number: int) -> None:
        """Count in the parameters after step `number`, from 1."""
        decay = min(self.decay, (1 + number) / (10 + number))
        for name, parameter in self._parameters.items():
            self.means[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the model has the mean as its parameters."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            held = parameter.detach().clone()
            parameter.copy_(self.means[name])
            self.means[name].copy_(held)
