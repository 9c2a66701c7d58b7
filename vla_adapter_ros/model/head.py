"""The Bridge-Attention policy head, base and pro, after the published code.

Three groups of tokens are attended to by the action tokens: themselves, the action queries'
states with the proprioception, and the task states, whose scores a gate scales.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_adapter_ros.choices import HeadKind
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import ConditionGroups
from vla_adapter_ros.model.config_parts import HeadConfig
from vla_adapter_ros.model.experimental.diffusion_head import DitPolicy
from vla_adapter_ros.model.loss import mean_of_valid

GROUPS = ("self", "adapter", "task")

Tables = tuple[Tensor, Tensor]


def table_dtype(head: HeadConfig, weights: torch.dtype) -> torch.dtype:
    """Type in which the rotary tables are computed; `weights` is the type in which the head runs."""
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "match": weights}[head.rope_tables]


def rope_tables(length: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> Tables:
    """Cosine and sine (length, head_dim), laid out half-half: channel j has frequency j mod d/2.

    All steps run in `dtype`: the published pro heads were trained with bf16 tables, in which
    positions above 256 collapse.
    """
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    frequency = (1.0 / 10000.0**exponent).to(dtype)
    angle = torch.outer(torch.arange(length, device=device).to(dtype), frequency)
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, tables: Tables) -> Tensor:
    """Rotate neighboring channels of x (B, heads, T, d), each channel by its own angle.

    The tables are half-half while the pairs are neighbors, so this is no true rotation. The
    published code does it, and its checkpoints need it.
    """
    cos, sin = (table[: x.shape[-2]].to(x.dtype) for table in tables)
    paired = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
    return x * cos + paired * sin


class BridgeBlock(nn.Module):
    """One block: attention over the three groups, then a feed-forward layer without a residual."""

    def __init__(self, hidden: int, config: HeadConfig) -> None:
        super().__init__()
        self.heads, self.pro = config.heads, config.kind == HeadKind.PRO
        self.ffn = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.ReLU())
        self.q_proj = nn.Linear(hidden, hidden)
        for kind in ("k", "v"):
            for name in [f"{kind}_{group}" for group in GROUPS] if self.pro else [f"{kind}_proj"]:
                setattr(self, name, nn.Linear(hidden, hidden))
        self.o_proj = nn.Linear(hidden, hidden)
        self.gate = config.gate
        if config.gate is None and config.conditions != ConditionGroups.QUERY:
            self.gating_factor = nn.Parameter(torch.zeros(config.heads if config.gate_per_head else 1))
        else:
            # Official checkpoints have this key, so it stays, untrained: code that takes the tanh of it
            # finds the same gate, up to rounding.
            stored = 0.0 if config.gate is None else math.atanh(min(config.gate, 1 - 1e-7))
            self.register_buffer("gating_factor", torch.full((1,), stored))
        if config.film_weights:
            self.film_gen = nn.Sequential(nn.Linear(hidden, 2 * hidden))

    def _project(self, kind: str, group: str, tokens: Tensor) -> Tensor:
        layer = getattr(self, f"{kind}_{group}" if self.pro else f"{kind}_proj")
        return self._split(layer(tokens))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def gate_value(self) -> Tensor | float:
        """Factor on the scores of the task group: the fixed one, or tanh of what is learned (G, 1, 1)."""
        return torch.tanh(self.gating_factor)[:, None, None] if self.gate is None else self.gate

    def forward(self, x: Tensor, adapter: Tensor, task: Tensor, tables: Tables | None) -> Tensor:
        """Action tokens x (B, H, hidden), adapter (B, U, hidden), task (B, T, hidden) to (B, H, hidden).

        U and T may be 0.
        """
        groups = dict(zip(GROUPS, (x, adapter, task), strict=True))
        groups = {name: tokens for name, tokens in groups.items() if tokens.shape[1]}
        q = self._split(self.q_proj(x))
        keys = {name: self._project("k", name, tokens) for name, tokens in groups.items()}
        values = torch.cat([self._project("v", name, tokens) for name, tokens in groups.items()], dim=2)
        if tables is not None:
            q = rotate(q, tables)
            keys = {name: rotate(key, tables) for name, key in keys.items()}
        scores = {name: q @ key.transpose(-2, -1) for name, key in keys.items()}  # (B, heads, H, tokens)
        if "task" in scores:
            scores["task"] = scores["task"] * self.gate_value()
        weights = (torch.cat(list(scores.values()), dim=-1) * q.shape[-1] ** -0.5).softmax(dim=-1)
        out = self.o_proj((weights.to(values.dtype) @ values).transpose(1, 2).flatten(2))
        return self.ffn(out + x)


class BridgePolicy(nn.Module):
    """Action tokens to an action chunk through the blocks; names as in official checkpoints."""

    def __init__(self, config: VlaAdapterConfig) -> None:
        super().__init__()
        hidden, wide = config.llm.hidden, config.action_dim * config.llm.hidden
        self.head, self.chunk, self.hidden_layers = config.head, config.chunk, config.head_hidden_layers
        self.layer_norm1 = nn.LayerNorm(wide)
        self.fc1 = nn.Linear(wide, hidden)
        if config.head.learned_rows:
            self.row_embedding = nn.Parameter(torch.randn(config.chunk, hidden) * 0.5)
        self.mlp_resnet_blocks = nn.ModuleList(
            BridgeBlock(hidden, config.head) for _ in range(config.head.blocks)
        )
        self.layer_norm2 = nn.LayerNorm(hidden)
        self.fc2 = nn.Linear(hidden, config.action_dim)

    def _tables(self, task: Tensor, adapter: Tensor) -> Tables | None:
        if self.head.kind != HeadKind.PRO:
            return None
        length = max(self.chunk, task.shape[2], adapter.shape[2] + 1)
        head_dim = self.fc1.out_features // self.head.heads
        dtype = table_dtype(self.head, self.fc1.weight.dtype)
        return rope_tables(length, head_dim, dtype, task.device)

    def draw_noise(self, device: torch.device) -> Tensor:
        """Gaussian action tokens (H, A * hidden) of standard deviation 1."""
        return torch.randn(self.chunk, self.fc1.in_features, device=device)

    def forward(self, task: Tensor, adapter: Tensor, proprio: Tensor, noise: Tensor | None) -> Tensor:
        """See `ActionHead.forward`. `noise` (H, A * hidden) replaces the zero action tokens."""
        weight = self.fc1.weight
        shape = (self.chunk, self.fc1.in_features)
        start = noise if noise is not None else torch.zeros(shape, device=weight.device)
        start = start.to(weight.dtype).expand(len(task), -1, -1)  # (B, H, A * hidden)
        x = F.relu(self.fc1(self.layer_norm1(start)))  # (B, H, hidden)
        if self.head.learned_rows:
            x = x + self.row_embedding
        tables = self._tables(task, adapter)
        # Taken apart at once: the backward pass of one layer of many fills an array of all of them.
        tasks, adapters = task.unbind(1), adapter.unbind(1)
        for layer, block in zip(self.hidden_layers, self.mlp_resnet_blocks, strict=True):
            x = block(x, torch.cat([adapters[layer], proprio], dim=1), tasks[layer], tables)
        return self.fc2(self.layer_norm2(x))


class ActionHead(nn.Module):
    """The policy head on the hidden states of all layers."""

    def __init__(self, config: VlaAdapterConfig) -> None:
        super().__init__()
        self.num_task_tokens = config.num_task_tokens
        self.kind, self.conditions = config.head.kind, config.head.conditions
        self.noise_std = config.head.train_noise_std
        self.model: BridgePolicy | DitPolicy = (
            BridgePolicy(config) if config.head.kind.is_bridge else DitPolicy(config)
        )

    def split(self, task: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Choose the states that are read, and part them into what the gate scales and what it does not.

        Args:
            task: States of the task positions, (B, L, N, hidden).
            action: States of the query positions, (B, L, Q, hidden).

        Returns:
            gated (B, L, T, hidden) and adapter (B, L, U, hidden). Conditions `raw`: the task states and
            none; `query`: none and the query states; `both`: the first `num_task_tokens` and the rest.
        """
        if self.conditions == ConditionGroups.RAW:
            return task, action[:, :, :0]
        if self.conditions == ConditionGroups.QUERY:
            return task[:, :, :0], action
        if task.shape[2] == self.num_task_tokens:
            return task, action
        # The split follows the count, not the kind of token: official checkpoints keep 512 for
        # any number of images, so with three images patches spill into the adapter group.
        tokens = torch.cat([task, action], dim=2)
        return tokens[:, :, : self.num_task_tokens], tokens[:, :, self.num_task_tokens :]

    def split_places(self, patches: int, queries: int) -> tuple[range, range]:
        """As `split`, of the places of N task states, then Q action states: those of gated and of adapter."""
        if self.conditions == ConditionGroups.RAW:
            return range(patches), range(0)
        cut = 0 if self.conditions == ConditionGroups.QUERY else min(self.num_task_tokens, patches + queries)
        first = patches if self.conditions == ConditionGroups.QUERY else cut
        return range(cut), range(first, patches + queries)

    def forward(self, task: Tensor, action: Tensor, proprio: Tensor, noise: Tensor | None = None) -> Tensor:
        """Conditions to normalized actions.

        Args:
            task: States of the task positions, (B, L, N, hidden).
            action: States of the query positions, (B, L, Q, hidden).
            proprio: Projected proprioception, one token (B, 1, hidden).
            noise: `base` and `pro`: fixed action tokens (H, A * hidden) in place of zeros; in training
                mode Gaussian noise of the configured standard deviation is drawn, shared by the batch. `dit`:
                the noisy chunk (H, A) to start from, in place of the stored one.

        Returns:
            (B, H, A).
        """
        gated, adapter = self.split(task, action)
        noise = self.training_noise(task.device) if noise is None else noise
        return self.model(gated, adapter, proprio, noise)

    def training_noise(self, device: torch.device) -> Tensor | None:
        """In training mode Gaussian action tokens (H, A * hidden) of a `base` or `pro` head, else None."""
        if not self.training or self.noise_std <= 0 or not isinstance(self.model, BridgePolicy):
            return None
        return self.model.draw_noise(device) * self.noise_std

    def loss(
        self,
        task: Tensor,
        action: Tensor,
        proprio: Tensor,
        target: Tensor,
        noise: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """What training minimizes: the mean absolute error (`base`, `pro`), or the denoising error (`dit`).

        Args:
            task, action, proprio: See `forward`.
            target: Normalized actions, float32 (B, H, A).
            noise: Only `base` and `pro`: see `forward`. `dit` draws its own.
            valid: Chunk rows that count, bool (B, H), at least one; None: all.

        Returns:
            A scalar, float32.
        """
        if isinstance(self.model, DitPolicy):
            gated, adapter = self.split(task, action)
            return self.model.loss(gated, adapter, proprio, target, valid)
        predicted = self(task, action, proprio, noise).float()
        if valid is None:
            return F.l1_loss(predicted, target)
        return mean_of_valid((predicted - target).abs(), valid)


class ProprioProjector(nn.Module):
    """Proprioception (B, S) to one token (B, 1, hidden)."""

    def __init__(self, proprio_dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(proprio_dim, hidden)
        self.fc2 = nn.Linear(hidden, hidden)

    def forward(self, proprio: Tensor) -> Tensor:
        """Map proprioception, (B, S) to (B, 1, hidden)."""
        return self.fc2(F.gelu(self.fc1(proprio))).unsqueeze(1)
