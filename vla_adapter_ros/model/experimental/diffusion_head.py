"""A diffusion transformer as policy head, of the same depth as the Bridge-Attention one.

Each block attends to the chunk's own rows and to the hidden states that the Bridge-Attention block of
the same number would read. Layer: the scalable diffusion transformer with adaptive norms that start at
zero (arXiv:2212.09748); one modulation is shared by all blocks, each of which adds a learned offset
(arXiv:2310.00426), which saves a third of the weights. Schedule: alpha = cos(pi t / 2),
sigma = sin(pi t / 2), t = 1 is pure noise. Sampling: DDIM without added noise (arXiv:2010.02502).
The network predicts the clean chunk, not the noise: it stays in the range of the actions, so few steps
are enough and the first step, from pure noise, is well defined.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.loss import mean_of_valid

NOISE_SEED = 0
TIME_FEATURES = 256
_PARTS = 9  # shift, scale and gate for self-attention, cross-attention and the MLP

KeysValues = tuple[Tensor, Tensor]


def schedule(t: Tensor) -> tuple[Tensor, Tensor]:
    """Weight of the chunk and of the noise, alpha and sigma, at times t in [0, 1]; same shape as t."""
    angle = t * (math.pi / 2)
    return angle.cos(), angle.sin()


def time_features(t: Tensor) -> Tensor:
    """Times (B,) in [0, 1] to cosines and sines, float32 (B, TIME_FEATURES)."""
    half = TIME_FEATURES // 2
    frequency = torch.exp(-math.log(10000.0) * torch.arange(half, device=t.device) / half)
    angle = 1000.0 * t.float()[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Modulate x (B, T, hidden) with shift and scale (B, hidden)."""
    return x * (1 + scale[:, None]) + shift[:, None]


class DitBlock(nn.Module):
    """Self-attention over the rows, attention to the conditions, MLP; each behind a gate that starts at 0."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2, self.norm3 = (
            nn.LayerNorm(hidden, elementwise_affine=False, eps=1e-6) for _ in range(3)
        )
        # Raw hidden states differ in size by orders of magnitude between layers.
        self.condition_norm = nn.LayerNorm(hidden, eps=1e-6)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.self_out = nn.Linear(hidden, hidden)
        self.cross_q = nn.Linear(hidden, hidden)
        self.cross_kv = nn.Linear(hidden, 2 * hidden)
        self.cross_out = nn.Linear(hidden, hidden)
        self.mlp = nn.Sequential(
            nn.Linear(hidden, 4 * hidden), nn.GELU(approximate="tanh"), nn.Linear(4 * hidden, hidden)
        )
        self.modulation = nn.Parameter(torch.zeros(_PARTS, hidden))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, condition: Tensor) -> KeysValues:
        """Condition (B, C, hidden) to keys and values (B, heads, C, d), the same for every denoising step."""
        k, v = self.cross_kv(self.condition_norm(condition)).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def forward(self, x: Tensor, condition: KeysValues, modulation: Tensor) -> Tensor:
        """Rows x (B, H, hidden), shared modulation (B, 9, hidden) to (B, H, hidden)."""
        parts = (modulation + self.modulation).unbind(dim=1)
        shift, scale, gate = parts[0:3]
        q, k, v = self.qkv(modulate(self.norm1(x), shift, scale)).chunk(3, dim=-1)
        rows = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(v))
        x = x + gate[:, None] * self.self_out(rows.transpose(1, 2).flatten(2))
        shift, scale, gate = parts[3:6]
        q = self._split(self.cross_q(modulate(self.norm2(x), shift, scale)))
        read = F.scaled_dot_product_attention(q, *condition)
        x = x + gate[:, None] * self.cross_out(read.transpose(1, 2).flatten(2))
        shift, scale, gate = parts[6:9]
        return x + gate[:, None] * self.mlp(modulate(self.norm3(x), shift, scale))


class DitPolicy(nn.Module):
    """Noise to a chunk of actions, step by step.

    `start_noise` (H, A) is the same in every model of that size and is saved with the weights, so that
    equal inputs give equal actions.
    """

    start_noise: Tensor

    def __init__(self, config: VlaAdapterConfig) -> None:
        super().__init__()
        hidden, self.chunk, self.action_dim = config.llm.hidden, config.chunk, config.action_dim
        self.hidden_layers, self.steps = config.head_hidden_layers, config.head.denoising_steps
        self.embed = nn.Linear(config.action_dim, hidden)
        self.row_embedding = nn.Parameter(torch.randn(config.chunk, hidden) * 0.02)
        self.time = nn.Sequential(nn.Linear(TIME_FEATURES, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.modulation = nn.Linear(hidden, _PARTS * hidden)
        self.blocks = nn.ModuleList(DitBlock(hidden, config.head.heads) for _ in range(config.head.blocks))
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False, eps=1e-6)
        self.final_modulation = nn.Linear(hidden, 2 * hidden)
        self.final = nn.Linear(hidden, config.action_dim)
        for layer in (self.modulation, self.final_modulation, self.final):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        generator = torch.Generator("cpu").manual_seed(NOISE_SEED)
        noise = torch.randn(config.chunk, config.action_dim, generator=generator, device="cpu")
        self.register_buffer("start_noise", noise.to(self.row_embedding.device))

    def read(self, task: Tensor, adapter: Tensor, proprio: Tensor) -> list[KeysValues]:
        """Keys and values of every block's conditions, all three groups in one.

        Args:
            task, adapter: The groups of `ActionHead.split`, (B, L, T, hidden) and (B, L, U, hidden).
            proprio: (B, 1, hidden).
        """
        tasks, adapters = task.unbind(1), adapter.unbind(1)  # at once, as in `BridgePolicy`
        return [
            block.keys_values(torch.cat([tasks[layer], adapters[layer], proprio], dim=1))
            for layer, block in zip(self.hidden_layers, cast(Iterable[DitBlock], self.blocks), strict=True)
        ]

    def denoise(self, noisy: Tensor, t: Tensor, conditions: list[KeysValues]) -> Tensor:
        """The clean chunk, float32 (B, H, A), predicted from a noisy one at times t (B,)."""
        dtype = self.embed.weight.dtype
        x = self.embed(noisy.to(dtype)) + self.row_embedding
        time = F.silu(self.time(time_features(t).to(dtype)))  # (B, hidden)
        modulation = self.modulation(time).unflatten(-1, (_PARTS, -1))
        for block, condition in zip(self.blocks, conditions, strict=True):
            x = block(x, condition, modulation)
        shift, scale = self.final_modulation(time).chunk(2, dim=-1)
        return self.final(modulate(self.norm(x), shift, scale)).float()

    def forward(self, task: Tensor, adapter: Tensor, proprio: Tensor, noise: Tensor | None) -> Tensor:
        """Sample a chunk, float32 (B, H, A); `noise` (H, A) replaces `start_noise`."""
        conditions = self.read(task, adapter, proprio)
        start = self.start_noise if noise is None else noise
        x = start.float().expand(len(task), -1, -1)
        times = torch.linspace(1, 0, self.steps + 1, device=x.device)
        for now, then in pairwise(times):
            clean = self.denoise(x, now.expand(len(x)), conditions)
            (alpha, sigma), (alpha_then, sigma_then) = schedule(now), schedule(then)
            x = alpha_then * clean + sigma_then * (x - alpha * clean) / sigma
        return x

    def loss(
        self, task: Tensor, adapter: Tensor, proprio: Tensor, target: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """Mean squared error of the predicted chunk at random times, a scalar; draws time and noise.

        `target` is float32 (B, H, A), normalized; only rows that are `valid`, bool (B, H), count.
        Squared, because the denoiser has to give the mean.
        """
        t = torch.rand(len(target), device=target.device)
        noise = torch.randn_like(target)
        alpha, sigma = (part[:, None, None] for part in schedule(t))
        clean = self.denoise(alpha * target + sigma * noise, t, self.read(task, adapter, proprio))
        return F.mse_loss(clean, target) if valid is None else mean_of_valid((clean - target).square(), valid)
