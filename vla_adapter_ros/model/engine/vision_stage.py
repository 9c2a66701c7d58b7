"""Camera pixels to patch tokens, with only the work that is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_adapter_ros.model.engine.attention import Attention, choose_attention
from vla_adapter_ros.model.engine.fused_weights import pad_rows
from vla_adapter_ros.model.engine.linear import Linear, Linears
from vla_adapter_ros.model.network import VlaAdapter
from vla_adapter_ros.model.projector import GeluProjector
from vla_adapter_ros.model.vision import VIT_NORM_EPS, LayerScale, Vit, VitBlock

ROWS = 16
"""On a CPU tokens per image are padded to a multiple of this: 272 rows attend three times as fast as 261.
On a GPU the mask that padding needs would cost the fastest attention kernel."""


class VisionStage:
    """All images of one observation through each tower as one batch, without the unread last blocks."""

    def __init__(self, network: VlaAdapter, linears: Linears) -> None:
        config = network.config
        self.network = network
        self.towers = [
            VitStage(getattr(network.vision_backbone, vit.key), config.num_images, linears)
            for vit in config.vits
        ]
        self.projector = _projector(network.projector, config.num_patches, linears) if self.towers else None

    def __call__(self, pixel_values: Tensor) -> Tensor:
        """Pixel values (images, C, h, w) in the network's type to patch tokens (N, hidden)."""
        if self.projector is None:  # the small stem has position embeddings per view, and little to save
            return self.network.patch_tokens(pixel_values[None])[0]
        features = [
            tower(pixel_values[:, 3 * i : 3 * i + 3]) for i, tower in enumerate(self.towers)
        ]  # each (images, tokens, width)
        return self.projector(torch.cat(features, dim=-1).flatten(0, 1))


def _projector(projector: nn.Module, rows: int, linears: Linears) -> Callable[[Tensor], Tensor]:
    if not isinstance(projector, GeluProjector):
        return projector
    layers = (projector.fc1, True), (projector.fc2, True), (projector.fc3, False)
    made = [linears([layer], rows, gelu) for layer, gelu in layers]
    return lambda x: reduce(lambda y, layer: layer(y), made, x)


class VitStage:
    """One tower up to its last but one block."""

    def __init__(self, vit: Vit, views: int, linears: Linears) -> None:
        self.vit = vit
        with torch.no_grad():
            names = [name for name in ("cls_token", "reg_token") if hasattr(vit, name)]
            self.prefix = torch.cat([getattr(vit, name) for name in names], dim=1) if names else None
        tokens = vit.prefix_tokens + vit.pos_embed.shape[1]
        self.padding = 0 if vit.pos_embed.device.type != "cpu" else pad_rows(tokens, ROWS) - tokens
        self.mask = None
        if self.padding:
            self.mask = torch.zeros(1, 1, 1, tokens + self.padding, dtype=vit.pos_embed.dtype)
            self.mask[..., tokens:] = torch.finfo(self.mask.dtype).min
        blocks, rows = list(cast(Iterable[VitBlock], vit.blocks)), tokens + self.padding
        heads, width = blocks[0].attn.heads, vit.pos_embed.shape[-1]
        self.attend = choose_attention(
            (views, heads, rows, width // heads), heads, vit.pos_embed,
            causal=False, masked=self.padding > 0, measure=linears.may_measure,
        )  # fmt: skip
        self.blocks = [_Block(block, self.attend, views * rows, linears) for block in blocks[:-1]]

    def __call__(self, images: Tensor) -> Tensor:
        """Images (V, 3, h, w) to features (V, tokens, width)."""
        x = self.vit.patch_embed(images) + self.vit.pos_embed
        parts = [self.prefix.expand(len(x), -1, -1)] if self.prefix is not None else []
        parts.append(x)
        if self.padding:
            parts.append(x[:, :1].expand(-1, self.padding, -1))  # any finite values: the mask hides them
        x = torch.cat(parts, dim=1) if len(parts) > 1 else x
        for block in self.blocks:
            x = block(x, self.mask)
        return x[:, self.vit.prefix_tokens : x.shape[1] - self.padding]


class _Block:
    """One block on (V, tokens, width)."""

    def __init__(self, block: VitBlock, attend: Attention, rows: int, linears: Linears) -> None:
        self.block, self.attend, self.heads = block, attend, block.attn.heads
        self.qkv, self.proj = (linears([layer], rows) for layer in (block.attn.qkv, block.attn.proj))
        self.fc1, self.fc2 = linears([block.mlp.fc1], rows, gelu=True), linears([block.mlp.fc2], rows)

    def __call__(self, x: Tensor, mask: Tensor | None) -> Tensor:
        block, (views, tokens, width) = self.block, x.shape
        y = F.layer_norm(x, (width,), block.norm1.weight, block.norm1.bias, VIT_NORM_EPS)
        q, k, v = self.qkv(y).view(views, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = self.attend(q, k, v, mask).transpose(1, 2).reshape(views, tokens, width)
        x = _add(x, self.proj, y, block.ls1)
        y = F.layer_norm(x, (width,), block.norm2.weight, block.norm2.bias, VIT_NORM_EPS)
        return _add(x, self.fc2, self.fc1(y), block.ls2)


def _add(x: Tensor, layer: Linear, y: Tensor, scale: LayerScale | nn.Identity) -> Tensor:
    if isinstance(scale, LayerScale):
        return x.addcmul_(scale.scale_factor, layer(y))
    return layer.add(y, x)
