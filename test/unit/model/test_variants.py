"""Every named variant trains a step, moves what it should, leaves alone what it does not read, and infers."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model import VlaAdapter, VlaAdapterConfig, VlaAdapterPolicy, config_from_dict, preset
from vla_adapter_ros.model.config import select_hidden_layers
from vla_adapter_ros.model.experimental.bridge_designs import BRIDGE_DESIGNS, with_bridge_design

from .golden import REPOSITORY
from .small import ACTIONS, CHUNK, LLAMA, QWEN2, small_batch, small_config

BLOCKS = ("q_proj", "o_proj", "ffn", "k_self", "v_self", "k_adapter", "v_adapter", "k_task", "v_task")
LLMS = {
    "qwen2": QWEN2,
    "qwen2_bidirectional": dataclasses.replace(QWEN2, bidirectional=True),
    "llama": LLAMA,
    "llama_causal": dataclasses.replace(LLAMA, bidirectional=False),
}


def build(config: VlaAdapterConfig, seed: int = 0) -> VlaAdapter:
    torch.manual_seed(seed)
    return VlaAdapter(config)


def small_head(config: VlaAdapterConfig, **changes: Any) -> VlaAdapterConfig:
    return dataclasses.replace(config, head=dataclasses.replace(config.head, **changes))


def train(network: VlaAdapter, steps: int = 2, lr: float = 3e-4) -> tuple[float, float, set[str]]:
    """Loss before and after, and the names of the parameters that moved (no weight decay).

    Two steps, because a closed gate hides the task keys from the first one.
    """
    batch = small_batch()
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.0)
    losses = []
    for step in range(steps + 1):
        torch.manual_seed(7)  # the same noise each time, so that the losses can be compared
        loss = network.train().loss(*batch)
        losses.append(loss.item())
        if step < steps:
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    moved = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    return losses[0], losses[-1], moved


def infer(network: VlaAdapter) -> Tensor:
    ids, mask, pixels, proprio, _ = small_batch()
    with torch.no_grad():
        return network.eval()(ids, mask, pixels, proprio)


def check(config: VlaAdapterConfig, steps: int = 2) -> set[str]:
    """Train and infer; the parameters that did not move, apart from the weights that no variant runs."""
    network = build(config)
    before, after, moved = train(network, steps)
    assert after < before
    actions = infer(network)
    assert actions.shape == (3, CHUNK, ACTIONS) and actions.dtype == torch.float32
    assert actions.isfinite().all() and torch.equal(actions, infer(network))
    never = (".norm.", "attn_pool", ".blocks.1.")  # of the towers: the last block and what follows it
    still = {name for name, _ in network.named_parameters()} - moved
    return {n for n in still if not (n.startswith("vision_backbone") and any(part in n for part in never))}


@pytest.mark.parametrize("design", BRIDGE_DESIGNS)
def test_bridge_designs(design: str) -> None:
    """The six ways of reading the language model: what each leaves alone is what it does not read."""
    config = with_bridge_design(small_config(), design)
    conditions, layer = BRIDGE_DESIGNS[design]
    still = check(config)
    blocks = [f"action_head.model.mlp_resnet_blocks.{i}" for i in range(3)]
    expected: set[str] = set()
    if conditions == "query":
        expected |= {f"{b}.{kv}_task.{p}" for b in blocks for kv in "kv" for p in ("weight", "bias")}
    if conditions == "raw":  # under causal order nothing before the queries knows them
        expected |= {"action_queries.weight"}
    if layer == "middle":
        expected |= {
            n for n in still if n.startswith(("language_model.model.layers.2.", "language_model.model.norm."))
        }
        assert sum(n.startswith("language_model.model.layers.2.") for n in expected) == 12
        assert "language_model.model.norm.weight" in expected
    assert still - expected <= set(key_biases(blocks)), still - expected
    assert expected <= still


def key_biases(blocks: list[str]) -> list[str]:
    """A key bias shifts all scores of a group alike, so it may rest where nothing else competes."""
    return [f"{b}.k_{group}.bias" for b in blocks for group in ("self", "adapter", "task")]


@pytest.mark.parametrize("llm", LLMS)
@pytest.mark.parametrize("order", ["official", "text_first"])
@pytest.mark.parametrize("kind", ["base", "pro", "dit"])
def test_heads_backbones_and_orders(kind: str, order: str, llm: str) -> None:
    config = small_config(LLMS[llm], {"kind": kind, "denoising_steps": 3}, token_order=order)
    # The diffusion transformer starts as the identity: its last layer moves first, the rest afterwards.
    still = check(config, steps=4 if kind == "dit" else 2)
    assert not any(name.startswith(("projector", "action_queries", "proprio")) for name in still), still
    assert not any(name.startswith("action_head") and "k_" not in name for name in still), still
    assert not any(name.endswith("gating_factor") for name in still)


@pytest.mark.parametrize("queries", [1, 3, 17])
def test_any_number_of_queries(queries: int) -> None:
    network = build(small_config(num_queries=queries, token_order="text_first"))
    _, _, moved = train(network)
    assert network.action_queries.weight.shape == (queries, 32) and "action_queries.weight" in moved
    assert infer(network).shape == (3, CHUNK, ACTIONS)


@pytest.mark.parametrize("kind", ["base", "pro"])
def test_fixed_gate(kind: str) -> None:
    """No gate is trained; 0 leaves the task group its values at score 0, and the key stays in the file."""
    outputs = {}
    for gate in (None, 0.0, 0.5, 1.0):
        network = build(small_config(head={"kind": kind, "gate": gate}))
        blocks = network.action_head.model.mlp_resnet_blocks
        assert ("gating_factor" in dict(blocks[0].named_parameters())) == (gate is None)
        key = "action_head.model.mlp_resnet_blocks.0.gating_factor"
        stored = network.state_dict()[key].clone()
        assert stored.tanh().item() == pytest.approx(gate or 0.0, abs=1e-6)
        assert torch.as_tensor(blocks[0].gate_value()).item() == (gate or 0.0)
        outputs[gate] = infer(network)
        before, after, moved = train(network)
        assert after < before and any("gating_factor" in name for name in moved) == (gate is None)
        if gate is not None:
            assert torch.equal(network.state_dict()[key], stored)
    assert torch.equal(outputs[None], outputs[0.0])  # the learned one starts at 0
    assert not torch.allclose(outputs[0.5], outputs[0.0]) and not torch.allclose(outputs[1.0], outputs[0.5])


@pytest.mark.parametrize("kind", ["base", "pro"])
def test_a_gate_per_head_scales_the_scores_of_its_head_alone(kind: str) -> None:
    network = build(small_config(head={"kind": kind, "gate_per_head": True}))
    shared = build(small_config(head={"kind": kind}))
    shared.load_state_dict({k: v for k, v in network.state_dict().items() if "gating" not in k}, strict=False)
    factors = [block.gating_factor for block in network.action_head.model.mlp_resnet_blocks]
    assert all(factor.shape == (network.config.head.heads,) for factor in factors)
    assert torch.equal(infer(network), infer(shared))  # all start at 0
    with torch.no_grad():
        for factor in factors:
            factor.fill_(0.5)
        for block in shared.action_head.model.mlp_resnet_blocks:
            block.gating_factor.fill_(0.5)
    torch.testing.assert_close(infer(network), infer(shared))
    with torch.no_grad():
        factors[0][0] = -0.5
    assert not torch.allclose(infer(network), infer(shared))
    assert any("gating_factor" in name for name in train(network)[2])


def test_split_of_the_conditions() -> None:
    task, action = torch.randn(2, 4, 8, 32), torch.randn(2, 4, 5, 32)
    both = torch.cat([task, action], dim=2)
    for conditions, first, gated, adapter in (
        ("raw", 3, task, action[:, :, :0]),
        ("query", 3, task[:, :, :0], action),
        ("both", 8, task, action),
        ("both", 3, task[:, :, :3], both[:, :, 3:]),
        ("both", 512, both, both[:, :, :0]),
    ):
        config = small_config(head={"conditions": conditions}, num_task_tokens=first)
        found = build(config).action_head.split(task, action)
        assert torch.equal(found[0], gated) and torch.equal(found[1], adapter), (conditions, first)


@pytest.mark.parametrize("kind", ["base", "pro", "dit"])
def test_each_block_reads_its_level(kind: str) -> None:
    """Changing one layer changes the actions exactly if a block reads it."""
    head = {"kind": kind, "hidden_layers": (0, 3, 3), "denoising_steps": 2}
    network = build(small_config(head=head))
    train(network, steps=3)
    network.eval()
    torch.manual_seed(0)
    task, action, token = torch.randn(1, 4, 8, 32), torch.randn(1, 4, 5, 32), torch.randn(1, 1, 32)
    with torch.no_grad():
        reference = network.action_head(task, action, token)
        for layer in range(4):
            other = task.clone()
            other[:, layer] += torch.randn(8, 32)
            changed = not torch.equal(network.action_head(other, action, token), reference)
            assert changed == (layer in (0, 3)), layer


@pytest.mark.parametrize(
    ("layer", "chosen"),
    [("first", (1, 1)), ("middle", (12, 12)), ("last", (24, 24)), ("all", (1, 2)), (0, (0, 0)), (7, (7, 7))],
)
def test_hidden_layers_are_selected_by_name_or_number(layer: str | int, chosen: tuple[int, ...]) -> None:
    assert select_hidden_layers(layer, 24, 2) == chosen


@pytest.mark.parametrize("layer", ["deepest", 25, -1, True])
def test_unknown_layers_are_refused(layer: Any) -> None:
    with pytest.raises(ModelConfigError, match=str(layer)):
        select_hidden_layers(layer, 24, 24)


def test_designs_are_settings() -> None:
    """A design is a configuration, survives JSON, and never leaves the policy without the sentence."""
    for name in ("tiny", "0.5b", "llama2-7b"):
        for design, (conditions, _) in BRIDGE_DESIGNS.items():
            config = with_bridge_design(preset(name), design)
            assert config_from_dict(config.to_dict()) == config
            assert (
                config.head.conditions == conditions and len(config.head_hidden_layers) == config.head.blocks
            )
            if conditions == "raw":
                assert config.token_order == "text_first" or config.llm.bidirectional
    assert (
        with_bridge_design(preset("0.5b"), "bridge").head_hidden_layers == preset("0.5b").head_hidden_layers
    )
    with pytest.raises(ModelConfigError, match=r"'pi0'.*all_query"):
        with_bridge_design(preset("tiny"), "pi0")


@pytest.mark.parametrize("design", [name for name, (c, _) in BRIDGE_DESIGNS.items() if c == "raw"])
@pytest.mark.parametrize("llm", ["qwen2", "llama"])
def test_raw_designs_see_the_sentence(design: str, llm: str) -> None:
    network = build(with_bridge_design(small_config(LLMS[llm]), design)).eval()
    ids, mask, pixels, proprio, _ = small_batch()
    other = ids.clone()
    other[:, -1] = (other[:, -1] + 1) % 24
    with torch.no_grad():
        difference = network(ids, mask, pixels, proprio) - network(other, mask, pixels, proprio)
    assert difference.abs().amax(dim=(1, 2)).min() > 1e-7


@pytest.mark.parametrize("change", [{"kind": "dit"}, {"gate": 0.3}, {"conditions": "query"}], ids=str)
def test_variants_survive_their_checkpoint(
    change: dict[str, Any], tiny_policy: VlaAdapterPolicy, images: list[np.ndarray], tmp_path: Path
) -> None:
    config = small_head(tiny_policy.config, **change)
    network = build(config)
    for name, value in network.named_parameters():
        if "final" in name:  # of the diffusion transformer, which starts with zeros
            torch.nn.init.normal_(value, std=0.1)
    policy = VlaAdapterPolicy(
        network.eval(), config, tiny_policy.tokenizer, tiny_policy.statistics, tiny_policy.contract
    )
    policy.save_pretrained(tmp_path, dtype=torch.float32)
    again = VlaAdapterPolicy.from_pretrained(tmp_path)
    assert again.config == config
    actions, stored = (p.predict(images, "lift the cup", np.zeros(11)) for p in (policy, again))
    assert actions.shape == (8, 8) and actions.std() > 0
    np.testing.assert_array_equal(actions, stored)


def test_documentation_has_the_designs_and_its_examples_work() -> None:
    text = (REPOSITORY / "docs" / "reference" / "variants.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|", text, flags=re.MULTILINE)
    assert {name: (conditions, layer) for name, conditions, layer in rows} == BRIDGE_DESIGNS
    examples = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)]
    assert len(examples) == 5
    configs = []
    for example in examples:
        data = preset("tiny").to_dict()
        for key, value in example.items():
            data[key] = {**data[key], **value} if isinstance(value, dict) else value
        configs.append(config_from_dict(data))
        assert configs[-1] != preset("tiny"), example
    assert configs[0] == with_bridge_design(preset("tiny"), "middle_raw")
