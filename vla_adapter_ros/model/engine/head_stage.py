"""The policy head on one observation: projections of the states run for all blocks at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vla_adapter_ros.choices import HeadKind
from vla_adapter_ros.model.engine.fused_weights import fuse
from vla_adapter_ros.model.head import BridgeBlock, BridgePolicy, rope_tables, table_dtype
from vla_adapter_ros.model.network import VlaAdapter


class HeadStage:
    """States of all layers and proprioception to a normalized chunk.

    Attributes:
        slots: Hidden-state layer that each row of the states must hold.
        selection: Which of the N task states, then Q action states are read, in this order.
    """

    def __init__(self, network: VlaAdapter) -> None:
        config, head = network.config, network.action_head
        self.network, self.head = network, head
        gated, adapter = head.split_places(config.num_patches, config.num_queries)
        self.selection = (*gated, *adapter)
        self.num_gated, self.num_adapter = len(gated), len(adapter) + 1  # and the proprioception
        self.bridge = head.model if isinstance(head.model, BridgePolicy) else None
        self.slots = config.head_hidden_layers if self.bridge else tuple(range(config.num_hidden_states))
        if self.bridge is not None:
            self._prepare(self.bridge)

    def new_states(self) -> Tensor:
        """Place for the language model's states, (slots, R + 1, hidden); the last row: proprioception."""
        shape = (len(self.slots), len(self.selection) + 1, self.network.config.llm.hidden)
        return torch.zeros(shape, dtype=self.network.dtype, device=self.network.device)

    def __call__(self, states: Tensor, proprio: Tensor) -> Tensor:
        """States (slots, R + 1, hidden) and normalized proprioception (S,) to actions, float32 (H, A)."""
        token = self.network.proprio_projector(proprio.to(states.dtype)[None])  # (1, 1, hidden)
        if self.bridge is not None:
            states[:, -1:] = token
            return self._blocks(self.bridge, states).float()
        gated, adapter = states[:, : self.num_gated], states[:, self.num_gated : -1]
        return self.head.model(gated[None], adapter[None], token, None)[0].float()

    def _prepare(self, model: BridgePolicy) -> None:
        """Fuse the projections of all blocks, and compute what is the same for every observation."""
        config = self.network.config
        self.blocks = list(cast(Iterable[BridgeBlock], model.mlp_resnet_blocks))
        pro = config.head.kind == HeadKind.PRO
        groups = ("self", "adapter", "task")
        kinds = (
            [f"{kind}_{group}" for group in groups for kind in ("k", "v")] if pro else ["k_proj", "v_proj"]
        )
        layers = [getattr(block, name) for block in self.blocks for name in ("q_proj", *kinds)]
        hidden, count = config.llm.hidden, len(self.blocks)
        weight = fuse([layer.weight for layer in layers]).view(count, 1 + len(kinds), hidden, hidden)
        bias = fuse([layer.bias for layer in layers]).view(count, 1, 1 + len(kinds), hidden)
        at = {group: 1 + 2 * i if pro else 1 for i, group in enumerate(groups)}
        parts = {group: slice(start, start + 2) for group, start in at.items()}
        self.self_weight = weight[:, :3].reshape(count, 3 * hidden, hidden)
        self.self_bias = bias[:, 0, :3].reshape(count, 3 * hidden)
        self.weights = {g: weight[:, part].flatten(1, 2) for g, part in parts.items()}
        self.biases = {g: bias[:, :, part].flatten(2) for g, part in parts.items()}
        with torch.no_grad():
            zeros = torch.zeros(model.chunk, model.fc1.in_features, dtype=weight.dtype, device=weight.device)
            self.start = F.relu(model.fc1(model.layer_norm1(zeros)))
            if config.head.learned_rows:
                self.start = self.start + model.row_embedding
            # Without positions or row embeddings all rows are equal: one query row is enough.
            elif not pro:
                self.start = self.start[:1]
            gates = [torch.as_tensor(block.gate_value(), device=weight.device) for block in self.blocks]
            self.gates = torch.stack([gate.reshape(1, -1, 1).to(weight.dtype) for gate in gates])
            self.tables = self._rope_tables(weight) if pro else None

    def _rope_tables(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine, and sine with the sign of the pairwise rotation, each (T, 1, head width)."""
        config = self.network.config
        kind = table_dtype(config.head, weight.dtype)
        length = max(config.chunk, self.num_gated, self.num_adapter)
        cos, sin = rope_tables(length, config.llm.hidden // config.head.heads, kind, weight.device)
        sin[:, 0::2] *= -1
        return cos.to(weight.dtype)[:, None], sin.to(weight.dtype)[:, None]

    def _rotate(self, x: Tensor) -> Tensor:
        """Rotate neighboring channels of (..., T, heads, d); see `head.rotate`."""
        if self.tables is None:
            return x
        cos, sin = (table[: x.shape[-3]] for table in self.tables)
        swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
        return (x * cos).addcmul_(swapped, sin)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.network.config.head.heads, -1))

    def _conditions(self, states: Tensor, blocks: slice) -> tuple[Tensor, Tensor]:
        """Keys and values of some blocks, (blocks, H + U + T, heads, d); the first H rows are still empty."""
        rows, width = self.network.config.chunk, states.shape[-1]
        states = states[blocks]
        shape = (len(states), rows + self.num_adapter + self.num_gated, width)
        keys, values = (self._heads(states.new_empty(shape)) for _ in range(2))
        for group, source, place in (
            ("adapter", slice(self.num_gated, None), slice(rows, rows + self.num_adapter)),
            ("task", slice(0, self.num_gated), slice(rows + self.num_adapter, None)),
        ):
            if source.stop == 0:
                continue
            k, v = (self._heads(part) for part in self._project(group, states[:, source], blocks))
            k = self._rotate(k)
            keys[:, place] = k * self.gates[blocks] if group == "task" else k
            values[:, place] = v
        return keys, values

    def _project(self, group: str, x: Tensor, blocks: slice) -> tuple[Tensor, ...]:
        """Keys and values (blocks, T, hidden) each, of x (blocks, T, hidden)."""
        weight, bias = self.weights[group][blocks], self.biases[group][blocks]
        if len(x) == 1:
            both = F.linear(x[0], weight[0], bias[0, 0])[None]
        else:
            both = torch.baddbmm(bias, x, weight.transpose(1, 2))
        return both.chunk(2, dim=-1)

    def _blocks(self, model: BridgePolicy, states: Tensor) -> Tensor:
        x, rows, count = self.start, model.chunk, len(self.blocks)
        heads = self.network.config.head.heads
        # On a GPU one product for all blocks fills it; on a CPU one block's states fit its cache.
        together = 1 if states.device.type == "cpu" else count
        for i, block in enumerate(self.blocks):
            if i % together == 0:
                all_keys, all_values = self._conditions(states, slice(i, i + together))
            keys, values = all_keys[i % together], all_values[i % together]
            qkv = F.linear(x, self.self_weight[i], self.self_bias[i]).unflatten(-1, (3 * heads, -1))
            q, k = self._rotate(qkv[:, : 2 * heads]).chunk(2, dim=1)  # at the same positions
            keys[:rows], values[:rows] = k, qkv[:, 2 * heads :]
            q, k, v = (t.transpose(0, 1)[None] for t in (q, keys, values))
            y = F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1)
            x = block.ffn(block.o_proj(y).add_(x))
        return model.fc2(model.layer_norm2(x)).expand(model.chunk, -1)
