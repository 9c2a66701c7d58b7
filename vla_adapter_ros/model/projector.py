"""Projectors: features of the vision towers to tokens of the language model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GeluProjector(nn.Module):
    """The published projector: three linear layers with exact GELUs between them."""

    def __init__(self, vision_width: int, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(vision_width, width)
        self.fc2 = nn.Linear(width, hidden)
        self.fc3 = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map patch features, (B, N, vision width) to (B, N, hidden)."""
        return self.fc3(F.gelu(self.fc2(F.gelu(self.fc1(x)))))


class RmsNorm(nn.Module):
    """Root-mean-square norm, computed in float32 whatever the type around it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Norm the last axis, (..., width), in float32; the result has the type of `x`."""
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), 1e-6).to(x.dtype)


class RmsProjector(nn.Module):
    """The tiny projector: two linear layers, then an RMS norm that fixes the scale."""

    def __init__(self, vision_width: int, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(vision_width, width)
        self.fc2 = nn.Linear(width, hidden)
        self.norm = RmsNorm(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map patch features, (B, N, vision width) to (B, N, hidden)."""
        return self.norm(self.fc2(F.gelu(self.fc1(x))))
