"""What is read from a backbone while it is grounded, and the losses of that."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_adapter_ros.model.network import Conditions
from vla_adapter_ros.training.grounding_data import GroundingScenes

POSITION_CENTER_M = (0.5, 0.0, 0.05)
POSITION_SCALE_M = 0.1
_NONE_WEIGHT = 0.3  # of patches that show nothing, which are nine in ten


class ReadOut(nn.Module):
    """What is read from the backbone while it is grounded; thrown away afterwards."""

    def __init__(self, hidden: int, kinds: int) -> None:
        super().__init__()
        self.patch = nn.Linear(hidden, 1 + kinds + 2)
        self.named = nn.Linear(hidden, 2)  # the object, and where it goes
        self.position = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 6))
        self.place = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 6))


def patch_loss(read_out: ReadOut, tokens: Tensor, data: GroundingScenes, rows: np.ndarray) -> Tensor:
    """What every patch shows, and its offset where there is something; tokens (B, N, hidden)."""
    out = read_out.patch(tokens).float()
    kinds = out.shape[-1] - 2
    labels = torch.from_numpy(data.patch_kinds[rows]).flatten(1)
    offsets = torch.from_numpy(data.patch_offsets[rows]).flatten(1, 2)
    weights = torch.tensor([_NONE_WEIGHT] + [1.0] * (kinds - 1))
    loss = F.cross_entropy(out[..., :kinds].flatten(0, 1), labels.flatten(), weight=weights)
    shown = labels > 0
    if shown.any():
        loss = loss + F.smooth_l1_loss(out[..., kinds:][shown], offsets[shown], beta=0.1)
    return loss


def named_losses(
    read_out: ReadOut,
    states: Conditions,
    data: GroundingScenes,
    rows: np.ndarray,
    targets: np.ndarray,
    places: np.ndarray,
) -> tuple[Tensor, Tensor]:
    """Losses of the positions and of the patches of what is named: the object, and where it goes."""
    named = read_out.named(states.task[:, -2]).float()
    position = _position_loss(read_out.position(states.action[:, -1, -1]).float(), data, rows, targets)
    chosen = _named_loss(named[..., 0], data, rows, targets)
    going = np.flatnonzero(places >= 0)
    if len(going):
        out, rows, places = read_out.place(states.action[going, -1, -2]).float(), rows[going], places[going]
        position = position + _position_loss(out, data, rows, places)
        chosen = chosen + _named_loss(named[going, :, 1], data, rows, places)
    return position, chosen


def _position_loss(out: Tensor, data: GroundingScenes, rows: np.ndarray, named: np.ndarray) -> Tensor:
    """Position of what is named, where the view that tells it shows it; out (B, 6)."""
    base = torch.from_numpy(data.positions[rows, named]) - torch.tensor(POSITION_CENTER_M)
    hand = torch.from_numpy(data.from_tool[rows, named])
    target = torch.cat([base, hand], dim=1) / POSITION_SCALE_M
    seen = torch.from_numpy(data.seen[rows, :, named]).float()  # (B, V)
    weight = torch.cat([seen[:, :1].expand(-1, 3), seen[:, -1:].expand(-1, 3)], dim=1)
    loss = F.smooth_l1_loss(out, target, beta=0.1, reduction="none")
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)


def _named_loss(out: Tensor, data: GroundingScenes, rows: np.ndarray, named: np.ndarray) -> Tensor:
    """Loss of which patches show what is named; out (B, N).

    Without it, composing "read the word" and "look there" was found by chance only, after many steps.
    """
    target = torch.from_numpy(data.patch_kinds[rows]).flatten(1) == torch.from_numpy(1 + named)[:, None]
    return F.binary_cross_entropy_with_logits(out, target.float(), pos_weight=torch.tensor(5.0))


def meters(out: Tensor) -> Tensor:
    """Positions (B, 3) [m] of what was read (B, 3)."""
    return out.float() * POSITION_SCALE_M + torch.tensor(POSITION_CENTER_M)
