"""The network as it trains: its loss on a part of a batch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vla_adapter_ros.model import VlaAdapter, VlaAdapterPolicy
from vla_adapter_ros.model.loss import mean_of_valid
from vla_adapter_ros.model.network import Conditions
from vla_adapter_ros.training.setting_words import Precision
from vla_adapter_ros.training.settings import FinetuneSettings


class TrainingModule(nn.Module):
    """The network, and the extra output that predicts the state in which the gripper closes."""

    def __init__(self, policy: VlaAdapterPolicy) -> None:
        super().__init__()
        self.network: VlaAdapter = policy.network
        self.waypoint = nn.Linear(policy.config.llm.hidden, policy.config.proprio_dim)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        pixels: Tensor,
        proprio: Tensor,
        target: Tensor,
        valid: Tensor | None,
        noise: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, predicted waypoint and absolute errors of a part of a batch.

        Args:
            ids, mask, pixels, proprio: As of `VlaAdapter.forward`.
            target: Normalized chunks (B, H, A).
            valid: Chunk rows that count, bool (B, H); None: all.
            noise: Action tokens to start from (H, A * hidden); None: zeros.

        Returns:
            The head's loss, a scalar; the normalized state at the waypoint (B, S); errors (B, H, A) of the
            normalized actions without gradient, empty for a head that does not predict them in training.
        """
        network = self.network
        conditions = network.conditions(ids, mask, pixels)
        if network.dtype != torch.bfloat16:
            return self._head(conditions, proprio, target, valid, noise)
        # As published: the head runs in its weights' type, outside of autocast, which keeps norms in float32.
        with torch.autocast(pixels.device.type, enabled=False):
            conditions = Conditions(*(part.to(network.dtype) for part in conditions))
            return self._head(conditions, proprio, target, valid, noise)

    def _head(
        self,
        conditions: Conditions,
        proprio: Tensor,
        target: Tensor,
        valid: Tensor | None,
        noise: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        network = self.network
        predicted = self.waypoint(conditions.action[:, -1, -1])
        if not network.action_head.kind.is_bridge:
            loss = network.head_loss(conditions, proprio, target, valid=valid)
            return loss, predicted, loss.detach().new_zeros(0)
        errors = (network.head_actions(conditions, proprio, noise) - target.float()).abs()
        loss = errors.mean() if valid is None else mean_of_valid(errors, valid)
        return loss, predicted, errors.detach()


def autocast(settings: FinetuneSettings, device: torch.device) -> AbstractContextManager[Any]:
    """A context with products in bf16: if the settings ask for it or, with `auto`, where bf16 is fast."""
    wanted = settings.precision == Precision.BF16 or (
        settings.precision == Precision.AUTO and has_bf16(device)
    )
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bf16."""
    return device.type == "cuda" or (
        device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )
