"""What trains in each mode, and low-rank adapters from injection to a plain checkpoint."""

from __future__ import annotations

import copy

import pytest
import torch
from training_samples import make_backbone

from vla_adapter_ros.errors import CheckpointError, TrainingError
from vla_adapter_ros.model import VlaAdapter, VlaAdapterPolicy
from vla_adapter_ros.training.adapters import (
    add_lora,
    backbone_layers,
    has_lora,
    plain_copy,
)
from vla_adapter_ros.training.optimizer import build_optimizer, freeze_parts
from vla_adapter_ros.training.settings import FinetuneSettings

POLICY = ("action_queries", "action_head", "proprio_projector")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> VlaAdapterPolicy:
    return VlaAdapterPolicy.from_pretrained(make_backbone(tmp_path_factory.mktemp("adapters") / "backbone"))


@pytest.fixture
def network(stored: VlaAdapterPolicy) -> VlaAdapter:
    torch.manual_seed(0)
    return copy.deepcopy(stored.network).eval()


def batch(network: VlaAdapter) -> tuple[torch.Tensor, ...]:
    config, generator = network.config, torch.Generator().manual_seed(1)
    size = config.preprocessing.size
    ids = torch.tensor([[3, 4, 5], [6, 7, 8]])
    pixels = torch.rand(2, config.num_images, 3, size, size, generator=generator)
    return ids, torch.ones_like(ids), pixels, torch.rand(2, config.proprio_dim, generator=generator)


def learn(network: VlaAdapter, lr: float = 1e-2) -> None:
    """One step towards zero actions."""
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr)
    network(*batch(network)).abs().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def actions(network: VlaAdapter) -> torch.Tensor:
    with torch.inference_mode():
        return network.eval()(*batch(network))


def trained_parts(network: VlaAdapter) -> set[str]:
    return {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}


def test_a_frozen_backbone_leaves_queries_and_policy(network):
    before = copy.deepcopy(network.state_dict())
    freeze_parts(network, FinetuneSettings(steps=1, backbone_lr_factor=0.0))
    assert trained_parts(network) == set(POLICY)
    learn(network)
    changed = {name.split(".")[0] for name, v in network.state_dict().items() if not v.equal(before[name])}
    assert changed == set(POLICY)


def test_new_adapters_change_nothing_and_then_learn(network):
    before, plain = actions(network), copy.deepcopy(network.state_dict())
    add_lora(network, rank=2)
    assert has_lora(network) and isinstance(network, VlaAdapter)
    assert actions(network).equal(before)
    learn(network)
    assert not actions(network).equal(before)
    for name, value in network.state_dict().items():  # the backbone's own weights are frozen
        if ".lora_" not in name and not name.startswith(POLICY):
            assert value.equal(plain[name.replace(".base_layer", "")]), name


def test_every_linear_layer_of_the_backbone_is_adapted_and_nothing_else(network):
    names = backbone_layers(network)
    add_lora(network, rank=3)
    found = {name.split(".lora_A")[0] for name, _ in network.named_parameters() if ".lora_A" in name}
    linear = {n for n, m in network.named_modules() if isinstance(m, torch.nn.Linear)}
    expected = {n.removesuffix(".base_layer") for n in linear if ".lora_" not in n}
    assert found == set(names) == {n for n in expected if not n.startswith(POLICY)}
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (name.startswith(POLICY) or ".lora_" in name), name
    down = network.language_model.model.layers[0].mlp.down_proj
    assert down.lora_A["default"].weight.shape == (3, network.config.llm.intermediate)
    assert down.scaling["default"] == 2.0 and down.lora_B["default"].weight.abs().max() == 0


def test_merging_gives_a_plain_network_with_the_same_output(network):
    names, shapes = list(network.state_dict()), [v.shape for v in network.state_dict().values()]
    add_lora(network, rank=2)
    learn(network)
    learn(network)
    plain = plain_copy(network)
    assert list(plain.state_dict()) == names and [v.shape for v in plain.state_dict().values()] == shapes
    assert not has_lora(plain) and has_lora(network)
    assert not any(type(module).__module__.startswith("peft") for module in plain.modules())
    torch.testing.assert_close(actions(plain), actions(network), atol=1e-5, rtol=1e-4)
    before = actions(plain)
    learn(network)  # the copy shares no memory with what goes on training
    assert actions(plain).equal(before)


def test_merged_weights_are_saved_and_read_like_any_others(network, stored, tmp_path):
    add_lora(network, rank=2)
    learn(network)
    with pytest.raises(CheckpointError, match="carries LoRA layers: merge them first"):
        VlaAdapterPolicy(network, stored.config, stored.tokenizer).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
    policy = VlaAdapterPolicy(plain_copy(network), stored.config, stored.tokenizer)
    policy.save_pretrained(tmp_path, dtype=torch.float32)
    again = VlaAdapterPolicy.from_pretrained(tmp_path)
    one, two = policy.network.state_dict(), again.network.state_dict()
    assert all(two[n].equal(v) for n, v in one.items() if not n.startswith(("action_head", "proprio")))


def test_an_adapter_is_as_small_as_its_type(network):
    add_lora(network.to(torch.bfloat16), rank=2)
    types = {p.dtype for name, p in network.named_parameters() if ".lora_" in name}
    assert types == {torch.bfloat16}
    merged = plain_copy(network)
    assert merged.dtype == torch.float32
    assert merged.language_model.model.rotary_emb.inv_freq.dtype == torch.float32


def test_the_optimizer_takes_what_trains(network):
    def peaks(factor: float) -> dict[str, float]:
        settings = FinetuneSettings(steps=1, lr=1.0, backbone_lr_factor=factor)
        groups = build_optimizer(network, settings).param_groups
        peak = {id(p): group["peak"] for group in groups for p in group["params"]}
        return {name: peak[id(p)] for name, p in network.named_parameters() if id(p) in peak}

    frozen = peaks(0.0)
    assert {name.split(".")[0] for name in frozen} == set(POLICY) and set(frozen.values()) == {1.0}
    add_lora(network, rank=1)
    lora = peaks(0.5)
    assert set(lora) == {name for name, p in network.named_parameters() if p.requires_grad}
    assert {lora[name] for name in lora if ".lora_" in name} == {0.5}
    assert lora["action_queries.weight"] == 0.5 and lora["action_head.model.fc2.weight"] == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank = 0: allowed is a whole number from 1"),
        ({"rank": 1.5}, "rank = 1.5"),
        ({"rank": 1, "alpha": 0}, "alpha = 0: allowed is more than 0"),
        ({"rank": 1, "dropout": 1.0}, "dropout = 1.0: allowed is 0 to below 1"),
        ({"rank": 1, "targets": "some"}, r"targets \['some'\]: allowed are"),
        ({"rank": 1, "targets": ["action_head.model.fc1"]}, "action_head.model.fc1"),
        ({"rank": 1, "targets": []}, "allowed are .* or layers of the backbone"),
    ],
)
def test_refused_settings(network, settings, message):
    with pytest.raises(TrainingError, match=message):
        add_lora(network, **settings)
    assert not has_lora(network)


def test_refusals(network):
    add_lora(network, rank=2)
    with pytest.raises(TrainingError, match="take a plain_copy first"):
        add_lora(network, 2)
    network.projector.fc1.lora_B["default"].weight.data[0, 0] = float("nan")
    with pytest.raises(TrainingError, match=r"projector\.fc1 is not finite"):
        plain_copy(network)


def test_layers_are_chosen_by_the_ends_of_their_names(network):
    add_lora(network, rank=2, targets=("q_proj", "self_attn.v_proj"))
    adapted = {name.split(".lora_")[0] for name, _ in network.named_parameters() if ".lora_" in name}
    assert adapted and all(name.endswith(("q_proj", "v_proj")) for name in adapted)
    assert {name.rpartition(".")[2] for name in adapted} == {"q_proj", "v_proj"}
    assert all(name.startswith(("language_model.", "vision_backbone.")) for name in adapted)


@pytest.mark.parametrize("targets", ["proj_q", "", ("q_proj", ""), ("roj",)])
def test_layers_that_are_not_there_are_refused_with_those_that_are(network, targets):
    with pytest.raises(TrainingError, match=r"allowed are all-linear or used-linear, or layers .*q_proj"):
        add_lora(network, rank=2, targets=targets)
