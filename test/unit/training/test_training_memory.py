"""What saves memory changes no gradient; presets; what to try when memory runs out."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapter, preset
from vla_adapter_ros.model.vision import VitBlock
from vla_adapter_ros.training.adapters import add_lora, frozen_to_bf16, plain_copy
from vla_adapter_ros.training.memory_presets import MEMORIES, memory_preset
from vla_adapter_ros.training.optimizations import compile_layers, recomputed_activations, repeated_layers
from vla_adapter_ros.training.out_of_memory import what_needs_less
from vla_adapter_ros.training.settings import FinetuneSettings


@pytest.fixture
def network() -> VlaAdapter:
    """The published layout, narrow, with LoRA and dropout; the patches are few."""
    torch.manual_seed(0)
    full = preset("0.5b", action_dim=7, proprio_dim=8, vocab=20)
    towers = tuple(
        dataclasses.replace(vit, width=16, depth=3, heads=2, mlp_width=32, image_size=56) for vit in full.vits
    )
    config = dataclasses.replace(
        full,
        vits=towers,
        llm=dataclasses.replace(full.llm, hidden=16, intermediate=24, layers=3, heads=2, kv_heads=1),
        head=dataclasses.replace(full.head, blocks=3, hidden_layers=(1, 2, 3)),
        num_task_tokens=32,
        preprocessing=dataclasses.replace(full.preprocessing, size=56),
    )
    return add_lora(VlaAdapter(config).train(), 2, dropout=0.3)


def gradients(network: VlaAdapter) -> tuple[float, dict[str, torch.Tensor], int]:
    """Loss, gradients, and bytes that the forward pass keeps for the backward pass."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, 2, 6, 56, 56, generator=generator)
    proprio, target = torch.randn(2, 8, generator=generator), torch.randn(2, 8, 7, generator=generator)
    ids = torch.tensor([[3, 4, 5], [6, 7, 8]])
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    network.zero_grad()
    torch.manual_seed(5)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network.loss(ids, None, pixels, proprio, target)
    loss.backward()
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    return loss.item(), found, sum(kept.values())


def test_activations_computed_again_give_the_same_gradients(network):
    loss, plain, bytes_before = gradients(network)
    with recomputed_activations(network):
        again_loss, again, bytes_after = gradients(network)
    assert again_loss == loss
    assert set(again) == set(plain)
    for name, value in plain.items():
        torch.testing.assert_close(again[name], value, atol=1e-7, rtol=1e-5)
    assert bytes_after < 0.6 * bytes_before
    assert gradients(network)[2] == bytes_before  # outside, nothing has changed
    kinds = {type(layer).__name__ for layer in repeated_layers(network)}
    assert kinds == {"VitBlock", "Qwen2DecoderLayer", "BridgeBlock"}


def test_a_network_can_be_copied_while_activations_are_not_kept(network):
    with recomputed_activations(network):
        plain = plain_copy(network)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert bool(network.action_queries.weight.any())


def merged_by_peft(network):
    """A copy in which the library peft itself has merged the adapters."""
    plain = copy.deepcopy(network)
    for name, layer in [(n, m) for n, m in plain.named_modules() if hasattr(m, "lora_A")]:
        layer.merge(safe_merge=True)
        owner, _, last = name.rpartition(".")
        setattr(plain.get_submodule(owner), last, layer.get_base_layer())
    return plain


def test_frozen_matrices_take_half_the_memory(network):
    before = copy.deepcopy(network)
    frozen_to_bf16(network)
    types = {n: p.dtype for n, p in network.named_parameters()}
    assert {types[n] for n, p in network.named_parameters() if p.requires_grad} == {torch.float32}
    frozen = {n for n, p in network.named_parameters() if not p.requires_grad}
    assert {n for n in frozen if types[n] == torch.float32} == {
        n for n in frozen if "norm" in n or "ls" in n or n.endswith(("pos_embed", "_token", "latent"))
    }
    loss, expected, _ = gradients(before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, found, _ = gradients(network)
    assert half == pytest.approx(loss, rel=0.05)
    assert set(found) == set(expected)
    assert {value.dtype for value in found.values()} == {torch.float32}
    merged, exact = plain_copy(network), merged_by_peft(before)
    assert {p.dtype for p in merged.parameters()} == {torch.float32}
    for (name, one), two in zip(merged.state_dict().items(), exact.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, atol=2e-2, rtol=1e-2, msg=name)


def test_a_plain_copy_is_the_merged_network(network):
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    one, two = plain_copy(network).state_dict(), merged_by_peft(network).state_dict()
    assert list(one) == list(two)
    for name, value in two.items():
        torch.testing.assert_close(one[name], value, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        next(p for n, p in network.named_parameters() if "lora_B" in n)[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="is not finite: it cannot be merged"):
        plain_copy(network)


@pytest.mark.slow
def test_compiled_layers_compute_the_same():
    torch.manual_seed(0)
    block, x = VitBlock(16, 2, 32, True, "sdpa"), torch.randn(2, 5, 16)
    expected = block(x)
    compile_layers(block)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gigabytes", MEMORIES)
def test_presets_are_settings(gigabytes):
    settings = FinetuneSettings(steps=1, **memory_preset(gigabytes))
    assert (settings.lora_rank, settings.lr, settings.schedule) == (64, 2e-4, "constant")
    assert settings.gradient_checkpointing == (gigabytes < 24)


def test_what_to_try_when_memory_runs_out():
    with pytest.raises(TrainingError, match=r"memory = 12 GB: allowed is one of \[10, 16, 24, 48, 80\]"):
        memory_preset(12)
    for larger, smaller in ((80, 48), (48, 24), (24, 16), (16, 10)):
        settings = FinetuneSettings(steps=1, **memory_preset(larger))
        assert what_needs_less(settings).startswith(f"--memory {smaller} ")
    last = FinetuneSettings(steps=1, **memory_preset(10))
    assert what_needs_less(last).startswith("a smaller model")
    full = FinetuneSettings(steps=1, batch_size=8)
    assert (
        what_needs_less(full)
        == "--gradient-accumulation-steps 2 (now 1), or --gradient-checkpointing, or --lora-rank 64"
    )
    assert what_needs_less(full, processes=8) == "--gradient-checkpointing, or --lora-rank 64"
