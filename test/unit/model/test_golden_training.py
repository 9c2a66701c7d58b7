"""One optimization step against the published code: loss, gradients, parameters after it.

In each training mode: everything, LoRA adapters, and the policy on a frozen backbone.
"""

from __future__ import annotations

import pytest
import torch

from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.adapters import backbone_layers, plain_copy
from vla_adapter_ros.training.optimizations import apply_training_optimizations
from vla_adapter_ros.training.optimizer import freeze_parts
from vla_adapter_ros.training.settings import FinetuneSettings

from .golden import Golden
from .golden_checks import open_policy, require
from .golden_training_checks import Step, training_step, with_golden_lora


@pytest.fixture(params=["base", "pro"])
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


@pytest.fixture
def policy(golden: Golden) -> VlaAdapterPolicy:
    return open_policy(golden)


@pytest.fixture(params=[pytest.param(False, marks=pytest.mark.slow), True], ids=["as published", "optimized"])
def optimized(request: pytest.FixtureRequest) -> bool:
    """Whether the training loop's faster layers are used."""
    return request.param


def test_one_full_training_step(policy: VlaAdapterPolicy, golden: Golden, optimized: bool) -> None:
    step = Step(golden, "full")
    if optimized:
        apply_training_optimizations(policy.network, torch.device("cpu"))
    assert {step.name(n) for n, _ in policy.network.named_parameters()} == set(step.norms)
    require(training_step(policy, golden, step))


def test_one_lora_training_step(policy: VlaAdapterPolicy, golden: Golden, optimized: bool) -> None:
    step = Step(golden, "lora")
    with_golden_lora(policy.network, step)
    if optimized:
        apply_training_optimizations(policy.network, torch.device("cpu"))
    trained = {step.name(n): p for n, p in policy.network.named_parameters() if p.requires_grad}
    assert set(trained) == set(step.norms)
    word_head = step.info["lora"]["r"] * (golden.info["vocab_size"] + golden.info["hidden_size"])
    assert sum(p.numel() for p in trained.values()) + word_head == step.info["n_trainable"]
    require(training_step(policy, golden, step))


def test_one_step_on_a_frozen_backbone(policy: VlaAdapterPolicy, golden: Golden) -> None:
    """The same gradients as in full training, for the policy alone."""
    step = Step(golden, "full")
    before = {name: value.clone() for name, value in policy.network.state_dict().items()}
    freeze_parts(policy.network, FinetuneSettings(steps=1, backbone_lr_factor=0.0))
    require(training_step(policy, golden, step))
    changed = {n.split(".")[0] for n, v in policy.network.state_dict().items() if not v.equal(before[n])}
    assert changed == {"action_queries", "action_head", "proprio_projector"}
    backbone = [p for n, p in policy.network.named_parameters() if n.split(".")[0] not in changed]
    assert all(p.grad is None for p in backbone)


@pytest.mark.slow
def test_merged_adapters_act_like_the_adapters(policy: VlaAdapterPolicy, golden: Golden) -> None:
    step = Step(golden, "lora")
    plain = plain_copy(with_golden_lora(policy.network, step))
    merged = VlaAdapterPolicy(plain, policy.config, policy.tokenizer, policy.statistics)
    loss_to_states = training_step(merged, golden, step)[:4]
    require(
        check for check in loss_to_states if check.stage in ("loss, relative", "actions", "hidden states")
    )


@pytest.mark.slow
def test_layers_that_nothing_reads_can_be_left_out(policy: VlaAdapterPolicy, golden: Golden) -> None:
    """They are the ones whose adapters get no gradient officially."""
    step = Step(golden, "lora")
    left_out = set(backbone_layers(policy.network)) - set(backbone_layers(policy.network, "used-linear"))
    silent = {n for n, norm in step.norms.items() if norm is None and ".lora_" in n}
    assert {step.name(f"{n}.lora_{x}.default.weight") for n in left_out for x in "AB"} == silent
    with_golden_lora(policy.network, step, targets="used-linear")
    require(check for check in training_step(policy, golden, step) if check.stage != "before")
