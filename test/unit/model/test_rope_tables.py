"""Rotary tables of the Pro head: training and inference use the same, whatever the type of the weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vla_adapter_ros.model import VlaAdapter, VlaAdapterConfig, VlaAdapterPolicy, preset
from vla_adapter_ros.model.engine.head_stage import HeadStage
from vla_adapter_ros.model.head import ActionHead

from .official_sample import fitting_contract, official_policy, write_official
from .small import small_config

PUBLISHED = ("0.5b", "llama2-7b", "openvla-7b")
TASKS, QUERIES, WIDTH, SAMPLES = 512, 64, 224, 4
BF16 = 2**-8
"""Largest relative distance to the next bf16 number."""


def narrow(tables: str) -> VlaAdapterConfig:
    """The published head on 512 task tokens, of one narrow block."""
    config = preset("0.5b", action_dim=7, proprio_dim=8)
    llm = replace(config.llm, layers=1, hidden=WIDTH, vocab_size=8)
    head = replace(config.head, blocks=1, film_weights=False, train_noise_std=0.0, rope_tables=tables)
    return replace(config, llm=llm, head=head)


def sharp_head(tables: str) -> ActionHead:
    """Weights that are bf16 numbers; attention that looks at single tokens, as after a training."""
    torch.manual_seed(0)
    head = ActionHead(narrow(tables))
    block = head.model.mlp_resnet_blocks[0]
    with torch.no_grad():
        block.gating_factor.fill_(0.5)
        for name, layer in block.named_children():
            if name.startswith(("q_", "k_")):
                layer.weight.mul_(10)
    return head.bfloat16().float()


def run(head: ActionHead, *, trains: bool) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Actions, and the tables as the block applies them, of a step of training or of bf16 use."""
    kept: list[tuple[Tensor, Tensor]] = []
    head.model.mlp_resnet_blocks[0].register_forward_pre_hook(lambda m, args: kept.append(args[3]))
    generator = torch.Generator().manual_seed(1)
    shapes = ((SAMPLES, 2, TASKS, WIDTH), (SAMPLES, 2, QUERIES, WIDTH), (SAMPLES, 1, WIDTH))
    inputs = [torch.randn(shape, generator=generator).bfloat16() for shape in shapes]
    with torch.no_grad():
        if trains:  # float32 weights, products in bf16
            with torch.autocast("cpu", dtype=torch.bfloat16):
                actions = head(*(x.float() for x in inputs)).float()
        else:
            actions = head.bfloat16()(*inputs).float()
    return actions, tuple(table.to(torch.bfloat16).float() for table in kept[0])


def test_training_and_bf16_use_have_the_same_tables() -> None:
    used, trained = (run(sharp_head("fp32"), trains=trains)[1] for trains in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(used, trained, strict=True))
    exact = torch.outer(torch.arange(TASKS), 10000.0 ** -(torch.arange(0, 28, 2) / 28)).cos()
    torch.testing.assert_close(used[0][:, :14], exact, rtol=BF16, atol=1e-4)
    used, trained = (run(sharp_head("match"), trains=trains)[1] for trains in (False, True))
    assert (used[0] - trained[0]).abs().max() > 1.5  # what the setting is for


@pytest.mark.slow
def test_actions_in_bf16_are_those_of_training_up_to_rounding() -> None:
    error = {}
    for tables in ("fp32", "bf16", "match"):
        (used, _), (trained, _) = (run(sharp_head(tables), trains=trains) for trains in (False, True))
        error[tables] = float((used - trained).abs().mean())
    # With bf16 tables in both, only the rounding of the arithmetic is left: that is the measure.
    assert error["fp32"] < 1.3 * error["bf16"], error
    assert error["match"] > 1.8 * error["bf16"], error


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_to_be_trained_here_has_fp32_tables(name: str) -> None:
    assert preset(name).head.rope_tables == "fp32"
    assert preset("tiny").head.rope_tables == "fp32"


def test_the_engine_takes_the_tables_of_the_setting() -> None:
    tables = {}
    for kind in ("fp32", "bf16", "match"):
        torch.manual_seed(0)
        network = VlaAdapter(small_config(head={"rope_tables": kind}, chunk=300)).bfloat16().eval()
        tables[kind] = HeadStage(network).tables[0].float()
    assert torch.equal(tables["match"], tables["bf16"])
    assert (tables["fp32"] - tables["bf16"]).abs().max() > 0.5


def test_an_official_checkpoint_keeps_the_tables_of_the_published_code(tmp_path: Path) -> None:
    folder = write_official(tmp_path / "official")
    policy = VlaAdapterPolicy.from_pretrained(folder, platform="libero")
    assert policy.config.head.rope_tables == "match"
    policy.save_pretrained(tmp_path / "copy")
    assert VlaAdapterPolicy.from_pretrained(tmp_path / "copy").config.head.rope_tables == "match"


def test_a_new_head_on_an_official_backbone_has_fp32_tables_and_does_not_pass_for_official(
    tmp_path: Path,
) -> None:
    policy = VlaAdapterPolicy.from_pretrained(write_official(tmp_path / "official"), platform="libero")
    new = policy.with_new_head(
        action_dim=7, proprio_dim=8, chunk=8, statistics=policy.statistics, contract=fitting_contract()
    )
    assert new.config.head.rope_tables == "fp32" == new.network.action_head.model.head.rope_tables
    new.save_pretrained(tmp_path / "new")
    assert json.loads((tmp_path / "new" / "config.json").read_text())["model_type"] == "vla_adapter_ros"
    assert VlaAdapterPolicy.from_pretrained(tmp_path / "new").config == new.config


def test_a_checkpoint_without_the_setting_follows_its_weights(tmp_path: Path) -> None:
    policy = official_policy()
    policy.save_pretrained(tmp_path, dtype=torch.float32)
    path = tmp_path / "vla_adapter.json"
    data = json.loads(path.read_text())
    del data["head"]["rope_tables"]
    path.write_text(json.dumps(data))
    again = VlaAdapterPolicy.from_pretrained(tmp_path)
    assert again.config == policy.config
    images = [np.full((224, 224, 3), value, np.uint8) for value in (40, 200)]
    np.testing.assert_array_equal(*(p.predict(images, "lift it?", np.zeros(8)) for p in (again, policy)))
