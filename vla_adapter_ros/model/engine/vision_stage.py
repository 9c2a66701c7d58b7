"""Camera pixels to patch tokens, with only the work that is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vla_adapter_ros.model.engine.fused_weights import pad_rows
from vla_adapter_ros.model.network import VlaAdapter
from vla_adapter_ros.model.vision import VIT_NORM_EPS, LayerScale, Vit, VitBlock

ROWS = 16
"""On a CPU tokens per image are padded to a multiple of this: 272 rows attend three times as fast as 261.
On a GPU the mask that padding needs would cost the fastest attention kernel."""


class VisionStage:
    """All images of one observation through each tower as one batch, without the unread last blocks."""

    def __init__(self, network: VlaAdapter) -> None:
        self.network = network
        self.towers = [VitStage(getattr(network.vision_backbone, v.key)) for v in network.config.vits]

    def __call__(self, pixel_values: Tensor) -> Tensor:
        """Pixel values (images, C, h, w) in the network's type to patch tokens (N, hidden)."""
        if not self.towers:  # the small stem has position embeddings per view, and little to save
            return self.network.patch_tokens(pixel_values[None])[0]
        features = [
            tower(pixel_values[:, 3 * i : 3 * i + 3]) for i, tower in enumerate(self.towers)
        ]  # each (images, tokens, width)
        return self.network.projector(torch.cat(features, dim=-1).flatten(0, 1))


class VitStage:
    """One tower up to its last but one block."""

    def __init__(self, vit: Vit) -> None:
        self.vit = vit
        with torch.no_grad():
            names = [name for name in ("cls_token", "reg_token") if hasattr(vit, name)]
            self.prefix = torch.cat([getattr(vit, name) for name in names], dim=1) if names else None
        tokens = vit.prefix_tokens + vit.pos_embed.shape[1]
        self.padding = 0 if vit.pos_embed.is_cuda else pad_rows(tokens, ROWS) - tokens
        self.mask = None
        if self.padding:
            self.mask = torch.zeros(1, 1, 1, tokens + self.padding, dtype=vit.pos_embed.dtype)
            self.mask[..., tokens:] = torch.finfo(self.mask.dtype).min

    def __call__(self, images: Tensor) -> Tensor:
        """Images (V, 3, h, w) to features (V, tokens, width)."""
        x = self.vit.patch_embed(images) + self.vit.pos_embed
        parts = [self.prefix.expand(len(x), -1, -1)] if self.prefix is not None else []
        parts.append(x)
        if self.padding:
            parts.append(x[:, :1].expand(-1, self.padding, -1))  # any finite values: the mask hides them
        x = torch.cat(parts, dim=1) if len(parts) > 1 else x
        for block in cast(Iterable[VitBlock], self.vit.blocks[:-1]):
            x = _block(block, x, self.mask)
        return x[:, self.vit.prefix_tokens : x.shape[1] - self.padding]


def _block(block: VitBlock, x: Tensor, mask: Tensor | None) -> Tensor:
    """One block on (V, tokens, width); the residual additions happen in place."""
    views, tokens, width = x.shape
    attention = block.attn
    y = F.layer_norm(x, (width,), block.norm1.weight, block.norm1.bias, VIT_NORM_EPS)
    q, k, v = attention.qkv(y).view(views, tokens, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    x = _add(x, attention.proj(y.transpose(1, 2).reshape(views, tokens, width)), block.ls1)
    y = F.layer_norm(x, (width,), block.norm2.weight, block.norm2.bias, VIT_NORM_EPS)
    return _add(x, block.mlp(y), block.ls2)


def _add(x: Tensor, y: Tensor, scale: LayerScale | torch.nn.Identity) -> Tensor:
    return x.addcmul_(scale.scale_factor, y) if isinstance(scale, LayerScale) else x.add_(y)
