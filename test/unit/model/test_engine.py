"""The engine gives what the plain forward pass gives, for every variant, with the network's own weights."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model import InferenceEngine, VlaAdapter, VlaAdapterConfig, preset
from vla_adapter_ros.model.config import select_hidden_layers
from vla_adapter_ros.model.preprocessing import Preprocessor

from .golden import Golden
from .golden_checks import open_policy
from .small import LLAMA, small_config

TINY = preset("tiny")


def with_head(config: VlaAdapterConfig, **changes: Any) -> VlaAdapterConfig:
    return dataclasses.replace(config, head=dataclasses.replace(config.head, **changes))


VARIANTS = {
    "official": small_config(),
    "base": small_config(head={"kind": "base"}),
    "base_learned_rows": small_config(head={"kind": "base", "learned_rows": True}),
    "one_image": small_config(num_images=1),
    "one_image_all_gated": small_config(num_images=1, num_task_tokens=512),
    "three_images": small_config(num_images=3),
    "text_first": small_config(token_order="text_first"),
    "raw": small_config(head={"conditions": "raw"}),
    "query": small_config(head={"conditions": "query"}),
    "last_layer": small_config(head={"hidden_layers": select_hidden_layers("last", 3, 3)}),
    "embeddings": small_config(head={"hidden_layers": (0, 0, 2)}),
    "gate_0.4": small_config(head={"gate": 0.4}),
    "gate_per_head": small_config(head={"gate_per_head": True}),
    "base_gate_per_head": small_config(head={"kind": "base", "gate_per_head": True}),
    "bf16_tables": small_config(head={"rope_tables": "bf16"}),
    "dit": small_config(head={"kind": "dit"}),
    "dit_query": small_config(head={"kind": "dit", "conditions": "query"}),
    "llama": small_config(LLAMA),
    "llama_text_first": small_config(LLAMA, token_order="text_first"),
    "tiny": TINY,
    "tiny_official_order": dataclasses.replace(TINY, token_order="official"),
}


def build(config: VlaAdapterConfig) -> VlaAdapter:
    torch.manual_seed(0)
    network = VlaAdapter(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "gating_factor" in name or "scale_factor" in name:
                parameter.uniform_(0.2, 0.6)
            elif ("dit" in config.head.kind and "modulation" in name) or "final" in name:
                parameter.normal_(std=0.1)
    return network.eval()


def observation(config: VlaAdapterConfig, prompt: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(4)
    size = config.preprocessing.size
    images = rng.integers(0, 256, (config.num_images, size, size, 3), dtype=np.uint8)
    ids = rng.integers(3, 24, prompt)
    proprio = rng.uniform(-1, 1, config.proprio_dim).astype(np.float32)
    return torch.from_numpy(images), torch.from_numpy(ids), torch.from_numpy(proprio)


def plain(network: VlaAdapter, images: Tensor, ids: Tensor, proprio: Tensor) -> Tensor:
    pixels = Preprocessor(network.config.preprocessing).pixels(images)
    with torch.inference_mode():
        return network(ids[None], None, pixels[None], proprio[None])[0]


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_plain_forward_pass(name: str) -> None:
    network = build(VARIANTS[name])
    inputs = observation(network.config)
    expected = plain(network, *inputs)
    engine = InferenceEngine(network)
    actions = engine.predict(*inputs)
    assert actions.shape == expected.shape and actions.dtype == torch.float32
    torch.testing.assert_close(actions, expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(plain(network, *inputs), expected, rtol=0, atol=2e-5)  # fused weights work
    assert engine.is_current()
    for other in ((inputs[0].flip(0), *inputs[1:]), (*inputs[:2], -inputs[2])):
        if not torch.equal(other[0], inputs[0]) or not torch.equal(other[2], inputs[2]):
            torch.testing.assert_close(engine.predict(*other), plain(network, *other), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["official", "text_first", "llama"])
def test_prompts_of_any_length_in_turn(name: str) -> None:
    network = build(VARIANTS[name])
    engine = InferenceEngine(network)
    for prompt in (1, 30, 5, 2, 30, 1):
        inputs = observation(network.config, prompt)
        torch.testing.assert_close(engine.predict(*inputs), plain(network, *inputs), rtol=0, atol=2e-5)


def test_only_the_latest_prompts_are_kept() -> None:
    engine = InferenceEngine(build(TINY))
    images, _, proprio = observation(TINY)
    for i in range(40):
        engine.predict(images, torch.tensor([3 + i % 20, 3 + i // 20, 5]), proprio)
    assert len(engine._prompts) == 32
    assert engine.prompt(torch.tensor([3 + 39 % 20, 4, 5])) is engine.prompt(torch.tensor([22, 4, 5]))


def test_weights_are_joined_in_place_and_saved_as_before() -> None:
    network = build(VARIANTS["official"])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    InferenceEngine(network)
    layer = network.language_model.model.layers[0].self_attn
    assert layer.k_proj.weight.data_ptr() == layer.q_proj.weight.data_ptr() + layer.q_proj.weight.nbytes
    after = network.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)


def test_training_loading_and_moving_are_noticed() -> None:
    network = build(VARIANTS["official"])
    inputs = observation(network.config)
    engine = InferenceEngine(network)
    engine.predict(*inputs)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    pixels = Preprocessor(network.config.preprocessing).pixels(inputs[0])[None]
    network(inputs[1][None], None, pixels, inputs[2][None]).square().mean().backward()
    optimizer.step()
    assert not engine.is_current()
    fresh = InferenceEngine(network)
    assert fresh.is_current()
    torch.testing.assert_close(fresh.predict(*inputs), plain(network, *inputs), rtol=0, atol=2e-5)
    network.to(torch.bfloat16)
    assert not fresh.is_current()


def test_graphs_need_a_gpu() -> None:
    with pytest.raises(ModelConfigError, match="graphs = True"):
        InferenceEngine(build(TINY), graphs=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", ["official", "base", "llama", "dit", "tiny"])
def test_recorded_graphs_give_the_same(name: str) -> None:
    device = torch.device(
        "cuda", torch.cuda.device_count() - 1
    )  # not the current one, where there are several
    network = build(VARIANTS[name]).to(device)
    engine = InferenceEngine(network)
    for prompt in (5, 30, 5):
        images, ids, proprio = observation(network.config, prompt)
        pixels = Preprocessor(network.config.preprocessing).pixels(images).to(device)
        with torch.inference_mode():
            expected = network(ids.to(device)[None], None, pixels[None], proprio.to(device)[None])[0].cpu()
        torch.testing.assert_close(engine.predict(images, ids, proprio), expected, rtol=0, atol=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_stages_give_the_same() -> None:
    network = build(VARIANTS["official"])
    inputs = observation(network.config)
    engine = InferenceEngine(network, compile_stages=True)
    for _ in range(2):
        torch.testing.assert_close(engine.predict(*inputs), plain(network, *inputs), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["base", "pro"])
@pytest.mark.parametrize(("key", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_golden_actions(name: str, key: str, dtype: torch.dtype) -> None:
    golden = Golden(name)
    policy = open_policy(golden, dtype=dtype)
    engine = InferenceEngine(policy.network)
    for sample in range(3):
        ids, _ = policy.tokenize([golden.info["samples"][sample]["task"]])
        images = torch.from_numpy(np.stack(golden.images(sample, "cropped")))
        proprio = torch.from_numpy(policy.normalize_proprio(golden.array(sample, "proprio_raw"))).float()
        actions = engine.predict(images, ids[0], proprio).numpy()
        off = np.abs(actions - golden.array(sample, f"{key}/actions_norm")).max()
        assert off <= (1e-5 if key == "fp32" else golden.tolerance["bf16"]["actions_norm"])
