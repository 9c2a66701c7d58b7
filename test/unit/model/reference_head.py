"""The published head once more, by itself and without the shapes and shortcuts of the package.

Slow and literal: one sample, one attention head at a time. It judges what the reference data cannot
show, such as 1 or 3 images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_HEADS, NUM_BLOCKS, NUM_GATED = 8, 24, 512
State = dict[str, Tensor]


def reference_actions(
    state: State, kind: str, task: Tensor, action: Tensor, proprio: Tensor, chunk: int
) -> Tensor:
    """Normalized actions (B, chunk, A) from states (B, L, N, h), (B, L, Q, h) and proprioception (B, S)."""
    head = {
        name.removeprefix("action_head.model."): v for name, v in state.items() if "action_head.model" in name
    }
    tokens = torch.cat([task, action], dim=2)
    rows = []
    for states, vector in zip(tokens, proprio, strict=True):
        p = F.gelu(_linear(state, "proprio_projector.fc1", vector[None]))
        p = _linear(state, "proprio_projector.fc2", p)  # (1, h)
        start = torch.zeros(chunk, head["fc1.weight"].shape[1])
        x = torch.relu(_linear(head, "fc1", _norm(head, "layer_norm1", start)))
        for i in range(NUM_BLOCKS):
            level = states[i + 1]
            h_t, c = level[:NUM_GATED], torch.cat([level[NUM_GATED:], p])
            x = _block(head, f"mlp_resnet_blocks.{i}", kind == "pro", x, c, h_t)
        rows.append(_linear(head, "fc2", _norm(head, "layer_norm2", x)))
    return torch.stack(rows)


def _block(head: State, name: str, pro: bool, x: Tensor, c: Tensor, h_t: Tensor) -> Tensor:
    def project(letter: str, group: str, tokens: Tensor) -> Tensor:
        return _linear(head, f"{name}.{letter}_{group if pro else 'proj'}", tokens)

    q = _linear(head, f"{name}.q_proj", x)
    groups = (("self", x), ("adapter", c), ("task", h_t))
    keys = [project("k", group, tokens) for group, tokens in groups]
    values = torch.cat([project("v", group, tokens) for group, tokens in groups])
    gate = torch.tanh(head[f"{name}.gating_factor"])
    width = q.shape[1] // NUM_HEADS
    attended = []
    for n in range(NUM_HEADS):
        part = slice(n * width, (n + 1) * width)
        turn = _turn if pro else lambda y: y
        scores = [turn(q[:, part]) @ turn(key[:, part]).T for key in keys]
        scores[2] = scores[2] * gate
        weights = (torch.cat(scores, dim=1) / width**0.5).softmax(dim=1)
        attended.append(weights @ values[:, part])
    out = _linear(head, f"{name}.o_proj", torch.cat(attended, dim=1))
    return torch.relu(_linear(head, f"{name}.ffn.1", _norm(head, f"{name}.ffn.0", out + x)))


def _turn(y: Tensor) -> Tensor:
    """The pro head's position code: neighbors are paired, yet channel j has frequency j mod d/2."""
    d = y.shape[1]
    out = torch.empty_like(y)
    positions = torch.arange(len(y), dtype=torch.float32)
    for j in range(d):
        angle = positions * 10000.0 ** (-2 * (j % (d // 2)) / d)
        partner = -y[:, j + 1] if j % 2 == 0 else y[:, j - 1]
        out[:, j] = y[:, j] * angle.cos() + partner * angle.sin()
    return out


def _linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _norm(state: State, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)
