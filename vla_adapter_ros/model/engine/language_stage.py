"""The language model, written out for one prompt: it stores just the states that the head reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import TokenOrder
from vla_adapter_ros.model.engine.fused_weights import fuse, pad_rows
from vla_adapter_ros.model.network import VlaAdapter

ROWS = 32
"""Sequences are padded to a multiple of this, which also lets prompts of similar length share a graph."""
LONG_ROWS = 128
"""The multiple for prompts of more than `EXPECTED_TOKENS` where each length is recorded or compiled."""
EXPECTED_TOKENS = 96
"""Of the longest prompt that is expected: instructions of robots are short."""


class Prompt(NamedTuple):
    """What an instruction means to the stage: embeddings and places, on the network's device."""

    base: Tensor
    """(T, hidden): text and queries in their places, zeros where patches and padding are."""
    patch_rows: Tensor
    """Places of the patches in the sequence, int64 (N,)."""
    read_rows: Tensor
    """Places of the states that the head reads, in its order, int64 (R,)."""
    visible: Tensor | None
    """Where tokens are and no padding, bool (T,); None where the causal order hides the padding."""

    @property
    def length(self) -> int:
        """Padded length T."""
        return len(self.base)


class Layout(NamedTuple):
    """Places in the sequence of a prompt, see `lay_out`."""

    text: list[int]
    patches: range
    queries: range
    read: list[int]
    """Of the states that the head reads, in its order."""
    length: int
    """Without padding."""
    padded: int


def lay_out(config: VlaAdapterConfig, tokens: int, selection: Sequence[int], rows: int) -> Layout:
    """Where the parts of a sequence lie.

    Args:
        config: The network's.
        tokens: Of the prompt, P.
        selection: Which of the N task states, then Q action states the head reads, in its order.
        rows: The sequence is padded to a multiple of this.
    """
    n, p, q = config.num_patches, tokens, config.num_queries
    if config.token_order == TokenOrder.TEXT_FIRST:
        text, patches, queries = [*range(p)], range(p, p + n), range(p + n, p + n + q)
        read = [*patches, *queries]
    else:
        text, patches, queries = [0, *range(n + 1, n + p)], range(1, n + 1), range(n + p, n + p + q)
        read = [*range(n), *range(n + p - 1, n + p + q - 1)]  # the published off-by-one slices
    read = [read[i] for i in selection]
    if not config.llm.bidirectional:
        queries = queries[: max(read) + 1 - queries[0]]  # under the causal order nobody sees the rest
    length = max(*text, *patches, *queries) + 1
    return Layout(text, patches, queries, read, length, pad_rows(length, rows))


def build_prompt(network: VlaAdapter, input_ids: Tensor, places: Layout) -> Prompt:
    """Fill the sequence of one prompt with its ids, int64 (P,), without padding."""
    device, padded = network.device, places.padded
    with torch.no_grad():
        base = torch.zeros(padded, network.config.llm.hidden, dtype=network.dtype, device=device)
        base[places.text] = network.language_model.model.embed_tokens(input_ids.to(device))
        base[list(places.queries)] = network.action_queries.weight[: len(places.queries)]
    visible = None
    if network.config.llm.bidirectional:  # also without padding: prompts of one padded length share a graph
        visible = torch.arange(padded, device=device) < places.length
    patch_rows, read_rows = (
        torch.tensor(list(rows), device=device) for rows in (places.patches, places.read)
    )
    return Prompt(base, patch_rows, read_rows, visible)


class LanguageStage:
    """All layers of a Qwen2 or Llama decoder on one sequence."""

    def __init__(self, network: VlaAdapter, slots: Sequence[int]) -> None:
        """`slots`: the hidden-state layer that each row of the result holds."""
        config, model = network.config, network.language_model.model
        self.norm_weight: Tensor = model.norm.weight
        self.rotary_embedding, self.llm = model.rotary_emb, config.llm
        self.causal = not config.llm.bidirectional
        self.layers = [_Layer(layer) for layer in model.layers]
        count = config.num_hidden_states
        self.reads = [[i for i, at in enumerate(slots) if at == layer] for layer in range(count)]
        self.last = max(slots)

    def rotary(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine of positions 0..length-1, each (length, 1, head width), in the weights' type."""
        weight = self.norm_weight
        positions = torch.arange(length, device=weight.device)[None]
        cos, sin = self.rotary_embedding(weight.new_empty(1), positions)
        return cos[0, :, None], sin[0, :, None]

    def __call__(
        self, patches: Tensor, prompt: Prompt, rotary: tuple[Tensor, Tensor], states: Tensor
    ) -> None:
        """Run the layers.

        Args:
            patches: (N, hidden).
            prompt: The sequence's other parts.
            rotary: From `rotary(prompt.length)`.
            states: Filled in, (slots, R or more, hidden); row i of the first axis gets the states of
                layer `slots[i]`.
        """
        x = prompt.base.index_copy(0, prompt.patch_rows, patches)
        mask = None if prompt.visible is None else _additive(prompt.visible, x.dtype)
        for index, layer in enumerate([None, *self.layers][: self.last + 1]):
            if layer is not None:
                x = self._layer(layer, x, rotary, mask)
            if not self.reads[index]:
                continue
            seen = x
            if index == self.llm.layers:
                seen = F.rms_norm(x, x.shape[-1:], self.norm_weight, self.llm.rms_norm_eps)
            for slot in self.reads[index]:
                torch.index_select(seen, 0, prompt.read_rows, out=states[slot, : len(prompt.read_rows)])

    def _layer(self, w: _Layer, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        llm, width = self.llm, x.shape[-1]
        heads, kv = llm.heads, llm.kv_heads
        d = width // heads
        y = F.rms_norm(x, (width,), w.norm1, llm.rms_norm_eps)
        qkv = F.linear(y, w.qkv, w.qkv_bias).view(-1, heads + 2 * kv, d)
        qk = _rotate(qkv[:, : heads + kv], rotary)  # (T, heads + kv, d)
        q, k, v = (
            t.transpose(0, 1)[None] for t in (qk[:, :heads], qk[:, heads:], qkv[:, heads + kv :])
        )  # (1, heads or kv, T, d)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=self.causal, enable_gqa=kv != heads
        )
        x = F.linear(y[0].transpose(0, 1).reshape(-1, width), w.out).add_(x)
        y = F.rms_norm(x, (width,), w.norm2, llm.rms_norm_eps)
        gate, up = F.linear(y, w.gate_up).chunk(2, dim=-1)
        return F.linear(F.silu(gate).mul_(up), w.down).add_(x)


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Bool (T,) to an additive mask (1, 1, 1, T) that hides the rest."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[None, None, None]


def _rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position embedding, halves paired, on (T, heads, d)."""
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    return (x * cos).addcmul_(torch.cat([-second, first], dim=-1), sin)


class _Layer:
    """The weights of one decoder layer, with q, k, v and gate, up fused."""

    def __init__(self, layer: Any) -> None:  # of transformers; torch types a module's parts as tensors, too
        attention, mlp = layer.self_attn, layer.mlp
        projections = [attention.q_proj, attention.k_proj, attention.v_proj]
        biased = projections[0].bias is not None
        self.qkv: Tensor = fuse([p.weight for p in projections])
        self.qkv_bias = fuse([p.bias for p in projections]) if biased else None
        self.gate_up = fuse([mlp.gate_proj.weight, mlp.up_proj.weight])
        self.out, self.down = attention.o_proj.weight, mlp.down_proj.weight
        self.norm1, self.norm2 = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
