"""VLA-Adapter: vision towers, projector, language model with action queries, policy head."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import ProjectorKind, TokenOrder
from vla_adapter_ros.model.head import ActionHead, ProprioProjector
from vla_adapter_ros.model.language_model import LanguageModel
from vla_adapter_ros.model.projector import GeluProjector, RmsProjector
from vla_adapter_ros.model.vision import VisionBackbone


class Conditions(NamedTuple):
    """Hidden states that the head reads; layer 0 holds the embeddings, the last one is normed."""

    task: Tensor
    """(B, L, N, hidden)."""
    action: Tensor
    """(B, L, Q, hidden)."""


class VlaAdapter(nn.Module):
    """The network.

    Its parameter names are those of official checkpoints, apart from the two components that lie in
    files of their own (`action_head.`, `proprio_projector.`).
    """

    def __init__(self, config: VlaAdapterConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.llm.hidden
        self.vision_backbone = VisionBackbone(config)
        projector = GeluProjector if config.projector == ProjectorKind.GELU3 else RmsProjector
        width = config.projector_width or 4 * config.vision_width
        self.projector = projector(config.vision_width, width, hidden)
        self.language_model = LanguageModel(config.llm, config.attention)
        self.action_queries = nn.Embedding(config.num_queries, hidden)
        nn.init.normal_(self.action_queries.weight, std=config.llm.init_std)
        self.action_head = ActionHead(config)
        self.proprio_projector = ProprioProjector(config.state_width, hidden)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.action_queries.weight.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.action_queries.weight.device

    def patch_tokens(self, pixel_values: Tensor) -> Tensor:
        """Projected patch tokens.

        Args:
            pixel_values: (B, images, C, h, w).

        Returns:
            (B, N, hidden), the patches of image 0 first, row by row.
        """
        return self.projector(self.vision_backbone(pixel_values.to(self.dtype)))

    def conditions(
        self, input_ids: Tensor, attention_mask: Tensor | None, pixel_values: Tensor
    ) -> Conditions:
        """Run towers and language model once, and cut out the states that the head reads.

        Args:
            input_ids: Prompt ids, padded on the left, int64 (B, P).
            attention_mask: 1 for real tokens, (B, P); None means no padding.
            pixel_values: (B, images, C, h, w).
        """
        return self.conditions_from_patches(input_ids, attention_mask, self.patch_tokens(pixel_values))

    def conditions_from_patches(
        self, input_ids: Tensor, attention_mask: Tensor | None, patches: Tensor
    ) -> Conditions:
        """As `conditions`, from patch tokens (B, N, hidden)."""
        num_prompt, num_patches = input_ids.shape[1], patches.shape[1]
        mask = attention_mask.bool() if attention_mask is not None else None
        if mask is not None and bool(mask.all()):
            mask = None
        queries = self.action_queries.weight.expand(len(input_ids), -1, -1).to(patches.dtype)
        embed = self.language_model.model.embed_tokens
        if self.config.token_order == TokenOrder.TEXT_FIRST:
            words = embed(input_ids).to(patches.dtype)
            sequence = torch.cat([words, patches, queries], dim=1)
            task_start, action_start = num_prompt, num_prompt + num_patches
            if mask is not None:
                mask = F.pad(mask, (0, num_patches + self.config.num_queries), value=True)
        else:
            first, rest, rest_mask = _split_first(input_ids, mask)
            sequence = torch.cat(
                [embed(first).to(patches.dtype), patches, embed(rest).to(patches.dtype), queries], dim=1
            )
            # Off by one in the published code, in training and inference alike: the task slice starts
            # with the first text token, the action slice with the last one, and each loses its end.
            task_start, action_start = 0, num_patches + num_prompt - 1
            if rest_mask is not None:
                rest_mask = F.pad(rest_mask, (num_patches + 1, self.config.num_queries), value=True)
            mask = rest_mask
        states = self.language_model(sequence, mask)  # L times (B, T, hidden)
        task = slice(task_start, task_start + num_patches)
        action = slice(action_start, action_start + self.config.num_queries)
        return Conditions(
            task=torch.stack([state[:, task] for state in states], dim=1),
            action=torch.stack([state[:, action] for state in states], dim=1),
        )

    def head_actions(self, conditions: Conditions, proprio: Tensor, noise: Tensor | None = None) -> Tensor:
        """Conditions and normalized proprioception (B, S) to normalized actions, float32 (B, H, A)."""
        token = self.proprio_projector(proprio.to(self.dtype)).to(conditions.task.dtype)
        return self.action_head(conditions.task, conditions.action, token, noise).float()

    def head_loss(
        self,
        conditions: Conditions,
        proprio: Tensor,
        target: Tensor,
        noise: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """The training loss of either kind of head, see `ActionHead.loss`.

        Args:
            conditions: What `conditions` returns.
            proprio: Normalized proprioception (B, S).
            target: Normalized actions (B, H, A).
            noise: Fixed action tokens of a `base` or `pro` head.
            valid: Chunk rows that count, bool (B, H); None: all.

        Returns:
            A scalar, float32.
        """
        token = self.proprio_projector(proprio.to(self.dtype)).to(conditions.task.dtype)
        return self.action_head.loss(conditions.task, conditions.action, token, target.float(), noise, valid)

    def loss(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        pixel_values: Tensor,
        proprio: Tensor,
        target: Tensor,
        noise: Tensor | None = None,
    ) -> Tensor:
        """`head_loss` from the network's inputs; arguments as in `forward` and `head_loss`."""
        return self.head_loss(
            self.conditions(input_ids, attention_mask, pixel_values), proprio, target, noise
        )

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        pixel_values: Tensor,
        proprio: Tensor,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Predict a chunk.

        Args:
            input_ids: Prompt ids, padded on the left, int64 (B, P).
            attention_mask: 1 for real tokens, (B, P); None means no padding.
            pixel_values: (B, images, C, h, w).
            proprio: Normalized proprioception (B, S).
            noise: Fixed action tokens, see `ActionHead.forward`.

        Returns:
            Normalized actions, float32 (B, H, A).
        """
        return self.head_actions(self.conditions(input_ids, attention_mask, pixel_values), proprio, noise)


def _split_first(input_ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Take the first real token out of left-padded ids, so that the patches can follow it.

    Returns:
        first (B, 1), rest (B, P - 1), and the rest's mask (None without padding). The padding ends
        up between patches and text, hidden by the mask, so every group keeps a fixed place.
    """
    if mask is None:
        return input_ids[:, :1], input_ids[:, 1:], None
    start = mask.long().argmax(dim=1, keepdim=True)  # (B, 1)
    columns = torch.arange(input_ids.shape[1], device=input_ids.device)
    return input_ids.gather(1, start), input_ids[:, 1:], (mask & (columns > start))[:, 1:]
