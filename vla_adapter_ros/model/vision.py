"""Vision towers: the two ViTs of the published model, and a small convolution stem.

Parameter names are those of the official checkpoints.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import Attention
from vla_adapter_ros.model.config_parts import StemConfig, VitConfig

VIT_NORM_EPS = 1e-6


def attend(q: Tensor, k: Tensor, v: Tensor, attention: Attention) -> Tensor:
    """Unmasked scaled dot-product attention.

    Args:
        q: (B, heads, M, d).
        k: (B, heads, T, d).
        v: (B, heads, T, d).
        attention: `sdpa` uses torch's fused kernel; `eager` writes the softmax out, whose backward
            pass is faster on a CPU.

    Returns:
        (B, heads, M, d).
    """
    if attention == Attention.SDPA:
        return F.scaled_dot_product_attention(q, k, v)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return scores.softmax(dim=-1) @ v


class LayerScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale_factor = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel, (..., width)."""
        return x * self.scale_factor


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map each token, (..., width) to (..., width)."""
        return self.fc2(F.gelu(self.fc1(x)))


class SelfAttention(nn.Module):
    """Multi-head self-attention with one joint query, key and value projection."""

    def __init__(self, width: int, heads: int, attention: Attention) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Let all tokens attend to all, (B, T, width) to (B, T, width)."""
        b, t, width = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(attend(q, k, v, self.attention).transpose(1, 2).reshape(b, t, width))


class VitBlock(nn.Module):
    """Pre-norm transformer block, with LayerScale on both branches where the tower has it."""

    def __init__(
        self, width: int, heads: int, mlp_width: int, layer_scale: bool, attention: Attention
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=VIT_NORM_EPS)
        self.attn = SelfAttention(width, heads, attention)
        self.ls1 = LayerScale(width) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=VIT_NORM_EPS)
        self.mlp = Mlp(width, mlp_width)
        self.ls2 = LayerScale(width) if layer_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then map each token, (B, T, width) to (B, T, width)."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class AttentionPool(nn.Module):
    """SigLIP's pooling weights. Checkpoints carry them; VLA-Adapter never runs them."""

    def __init__(self, width: int, mlp_width: int) -> None:
        super().__init__()
        self.latent = nn.Parameter(torch.zeros(1, 1, width))
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=VIT_NORM_EPS)
        self.mlp = Mlp(width, mlp_width)


class PatchEmbed(nn.Module):
    """Cut the image into squares and project each linearly."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images, (B, 3, H, W) to (B, patches, width), row by row."""
        # No transposed view: every block would keep its strides, and compiled norms of such a one are NaN.
        return self.proj(images).flatten(2).transpose(1, 2).contiguous()


class Vit(nn.Module):
    """DINOv2- or SigLIP-style ViT.

    The features are the raw output of the last but one block, without prefix tokens and without the
    final norm. The last block, the norm and the pool exist only so that checkpoints load completely.
    """

    def __init__(self, config: VitConfig, attention: Attention) -> None:
        super().__init__()
        width = config.width
        self.prefix_tokens = int(config.class_token) + config.registers
        self.patch_embed = PatchEmbed(config.patch_size, width)
        self.pos_embed = nn.Parameter(torch.randn(1, config.tokens, width) * 0.02)
        if config.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        if config.registers:
            self.reg_token = nn.Parameter(torch.zeros(1, config.registers, width))
        self.blocks = nn.ModuleList(
            VitBlock(width, config.heads, config.mlp_width, config.layer_scale, attention)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=VIT_NORM_EPS)
        if config.attention_pool:
            self.attn_pool = AttentionPool(width, config.mlp_width)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, V, 3, h, w) of V cameras to features (B, V, tokens, width); all share the weights."""
        b, views = images.shape[:2]
        x = self.patch_embed(images.flatten(0, 1)) + self.pos_embed
        prefix = [getattr(self, name) for name in ("cls_token", "reg_token") if hasattr(self, name)]
        if prefix:
            x = torch.cat([*(token.expand(len(x), -1, -1) for token in prefix), x], dim=1)
        for block in self.blocks[:-1]:
            x = block(x)
        return x[:, self.prefix_tokens :].unflatten(0, (b, views))


class Stem(nn.Module):
    """Convolution stem with two coordinate channels, per-view position embeddings, then ViT blocks."""

    def __init__(self, config: StemConfig, num_images: int, attention: Attention) -> None:
        super().__init__()
        widths = (5, *config.channels)  # color and the two coordinates
        layers: list[nn.Module] = []
        for before, after, stride in zip(widths[:-1], widths[1:], config.strides, strict=True):
            layers += [
                nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
                nn.GroupNorm(config.norm_groups, after),
                nn.SiLU(),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.pos_embed = nn.Parameter(
            torch.randn(num_images, config.tokens, config.width) * config.position_std
        )
        self.blocks = nn.ModuleList(
            VitBlock(config.width, config.heads, config.mlp_width, False, attention)
            for _ in range(config.blocks)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, V, 3, h, w) of all V cameras to features (B, V, tokens, width)."""
        b, views, _, h, w = images.shape
        rows = torch.linspace(-1, 1, h, device=images.device, dtype=images.dtype).view(1, 1, h, 1)
        columns = torch.linspace(-1, 1, w, device=images.device, dtype=images.dtype).view(1, 1, 1, w)
        x = images.flatten(0, 1)
        x = torch.cat([x, rows.expand(len(x), 1, h, w), columns.expand(len(x), 1, h, w)], dim=1)
        x = self.convolutions(x).flatten(2).transpose(1, 2).contiguous().unflatten(0, (b, views))
        x = (x + self.pos_embed).flatten(0, 1)
        for block in self.blocks:
            x = block(x)
        return x.unflatten(0, (b, views))


class VisionBackbone(nn.Module):
    """All towers. Their features of one image are concatenated on the feature axis."""

    def __init__(self, config: VlaAdapterConfig) -> None:
        super().__init__()
        self.keys = [tower.key for tower in config.towers]
        for vit in config.vits:
            setattr(self, vit.key, Vit(vit, config.attention))
        if config.stem:
            setattr(self, config.stem.key, Stem(config.stem, config.num_images, config.attention))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Pixel values (B, images, C, h, w) to features (B, images * tokens, width), image 0 first.

        Channels 3k..3k+2 go to tower k.
        """
        towers = [getattr(self, key) for key in self.keys]
        features = [tower(pixel_values[:, :, 3 * i : 3 * i + 3]) for i, tower in enumerate(towers)]
        return torch.cat(features, dim=-1).flatten(1, 2)
