"""The language model, written out for one prompt: it stores just the states that the head reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import TokenOrder
from vla_adapter_ros.model.engine.attention import choose_attention
from vla_adapter_ros.model.engine.fused_weights import pad_rows
from vla_adapter_ros.model.engine.linear import Linears
from vla_adapter_ros.model.network import VlaAdapter

ROWS = 32
"""Sequences are padded to a multiple of this, which matrix units like (those of a CPU in bf16); prompts of
similar length then share a graph."""
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

    def __init__(self, network: VlaAdapter, slots: Sequence[int], linears: Linears) -> None:
        """`slots`: the hidden-state layer that each row of the result holds."""
        config, model = network.config, network.language_model.model
        self.norm_weight: Tensor = model.norm.weight
        self.rotary_embedding, self.llm = model.rotary_emb, config.llm
        self.last = max(slots)
        count = config.num_hidden_states
        self.reads = [[i for i, at in enumerate(slots) if at == layer] for layer in range(count)]
        # What an instruction of usual length needs; the true one is known later.
        rows = pad_rows(config.num_patches + config.num_queries + ROWS, ROWS)
        causal = not config.llm.bidirectional
        shape = (1, config.llm.heads, rows, config.llm.hidden // config.llm.heads)
        self.attend = choose_attention(
            shape, config.llm.kv_heads, self.norm_weight,
            causal=causal, masked=not causal, measure=linears.may_measure,
        )  # fmt: skip
        self.layers = [_Layer(layer, rows, linears) for layer in list(model.layers)[: self.last]]

    def rotary(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosine, and sine with the sign of `_rotate`, each (length, 1, head width), in the weights' type."""
        weight = self.norm_weight
        positions = torch.arange(length, device=weight.device)[None]
        cos, sin = self.rotary_embedding(weight.new_empty(1), positions)
        first, second = sin[0, :, None].chunk(2, dim=-1)
        return cos[0, :, None], torch.cat([-first, second], dim=-1)

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
        places: Tensor | None = prompt.read_rows
        for index in range(self.last + 1):
            if index:
                # Nothing after the last layer looks at rows that the head does not read.
                only = places if index == self.last else None
                x = self._layer(self.layers[index - 1], x, rotary, mask, only)
                places = None if index == self.last else places
            self._store(index, x, places, states)

    def _store(self, index: int, x: Tensor, places: Tensor | None, states: Tensor) -> None:
        """Put these rows (None: all) of a layer's states where the head reads them."""
        if not self.reads[index]:
            return
        if index == self.llm.layers:
            x = F.rms_norm(x, x.shape[-1:], self.norm_weight, self.llm.rms_norm_eps)
        for slot in self.reads[index]:
            if places is None:
                states[slot, : len(x)] = x
            else:
                torch.index_select(x, 0, places, out=states[slot, : len(places)])

    def _layer(
        self,
        w: _Layer,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        places: Tensor | None,
    ) -> Tensor:
        """One layer on (T, hidden); of its result only the rows at `places`, (R,), where they are given."""
        llm, width = self.llm, x.shape[-1]
        heads, kv = llm.heads, llm.kv_heads
        d = width // heads
        y = F.rms_norm(x, (width,), w.norm1, llm.rms_norm_eps)
        qkv = w.qkv(y).view(-1, heads + 2 * kv, d)
        qk = _rotate(qkv[:, : heads + kv], rotary)  # (T, heads + kv, d)
        q, k, v = (
            t.transpose(0, 1)[None] for t in (qk[:, :heads], qk[:, heads:], qkv[:, heads + kv :])
        )  # (1, heads or kv, T, d)
        y = self.attend(q, k, v, mask)[0].transpose(0, 1).reshape(-1, width)
        if places is not None:
            x, y = x.index_select(0, places), y.index_select(0, places)
        x = w.out.add(y, x)
        y = F.rms_norm(x, (width,), w.norm2, llm.rms_norm_eps)
        gate, up = w.gate_up(y).chunk(2, dim=-1)
        return w.down.add(F.silu(gate).mul_(up), x)


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Bool (T,) to an additive mask (1, 1, 1, T) that hides the rest."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[None, None, None]


def _rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position embedding, halves paired, on (T, heads, d)."""
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    return (x * cos).addcmul_(torch.cat([second, first], dim=-1), sin)


class _Layer:
    """The weights of one decoder layer, with q, k, v and gate, up fused."""

    # Of transformers; torch types a module's parts as tensors, too.
    def __init__(self, layer: Any, rows: int, linears: Linears) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.qkv = linears([attention.q_proj, attention.k_proj, attention.v_proj], rows)
        self.gate_up = linears([mlp.gate_proj, mlp.up_proj], rows)
        self.out, self.down = linears([attention.o_proj], rows), linears([mlp.down_proj], rows)
        self.norm1, self.norm2 = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
