"""Fine-tuning goes on with the rotary tables that a head was trained with, and stores them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.training import finetune as training
from vla_adapter_ros.training.finetune_plan import TrainingBundle
from vla_adapter_ros.training.rope import settle_rope_tables, with_rope_tables
from vla_adapter_ros.training.setting_words import RopeOption
from vla_adapter_ros.training.starting import Start

from ..model.official_sample import fitting_contract, official_policy, write_official

ROWS, EPISODES = 12, 2
QUICK = {
    "steps": 1, "batch_size": 1, "warmup_steps": 0, "progress": False, "pages": False, "augmentation": "none",
    "holdout": 0.0, "precision": "fp32",
}  # fmt: skip


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official(tmp_path_factory.mktemp("official") / "checkpoint")


def with_tables(policy: VlaAdapterPolicy, tables: str, name: str) -> VlaAdapterPolicy:
    config = replace(policy.config, name=name, head=replace(policy.config.head, rope_tables=tables))
    return VlaAdapterPolicy(policy.network, config, policy.tokenizer, policy.statistics)


def seen_tables(policy: VlaAdapterPolicy) -> torch.Tensor:
    """Cosines that the first block is given, float32."""
    model, width = policy.network.action_head.model, policy.config.llm.hidden
    weight = model.fc1.weight
    states = torch.zeros(1, policy.config.num_hidden_states, 512, width, dtype=weight.dtype)
    return model._tables(states, states[:, :, :64])[0].float()


def test_an_official_head_goes_on_with_its_bf16_tables(official: Path) -> None:
    policy = VlaAdapterPolicy.from_pretrained(official, platform="libero")
    settled, line = settle_rope_tables(policy)
    assert settled.config == replace(policy.config, head=replace(policy.config.head, rope_tables="bf16"))
    assert "bf16, which the official checkpoint was trained with" in line and "rope_tables" in line
    assert settled.network.config == settled.config and settled.statistics is policy.statistics
    before, after = policy.network.state_dict(), settled.network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    in_training = seen_tables(settled)
    settled.network.to(torch.bfloat16)
    official_use = VlaAdapterPolicy.from_pretrained(official, platform="libero", dtype=torch.bfloat16)
    assert torch.equal(in_training, seen_tables(settled))
    assert torch.equal(in_training, seen_tables(official_use))
    assert settle_rope_tables(settled) == (settled, "")


@pytest.mark.parametrize(
    ("name", "stored", "expected"),
    [
        ("0.5b", "match", "fp32"),  # what an earlier version trained, on float32 weights
        ("0.5b", "fp32", "fp32"),
        ("0.5b", "bf16", "bf16"),
        ("official-libero", "fp32", "fp32"),
    ],
)
def test_our_own_heads_go_on_with_theirs(name: str, stored: str, expected: str) -> None:
    policy = with_tables(official_policy(), stored, name)
    settled, line = settle_rope_tables(policy)
    assert settled.config.head.rope_tables == expected
    assert bool(line) == (stored != expected)
    base = with_tables(official_policy("base"), "match", name)
    assert settle_rope_tables(base) == (base, "")


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_other_tables_keep_the_head(wanted: str) -> None:
    policy = official_policy()
    found = with_rope_tables(policy, RopeOption(wanted))
    assert found.config.head.rope_tables == wanted and found.statistics is policy.statistics
    state = found.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in policy.network.state_dict().items())
    found.network.to(torch.bfloat16)
    exact = with_tables(policy, "fp32", "x")
    assert torch.equal(seen_tables(found), seen_tables(exact)) == (wanted == "fp32")
    assert with_rope_tables(policy, RopeOption.AUTO) is policy


def make_dataset(root: Path, contract: Contract) -> Path:
    """Two short episodes of a robot with the widths of an official checkpoint."""
    rng = np.random.default_rng(0)
    with DatasetWriter(root, contract) as writer:
        for episode in range(EPISODES):
            writer.start_episode("lift it?")
            for n in range(ROWS):
                state = rng.uniform(-0.1, 0.1, len(contract.state_names))
                action = rng.uniform(-0.005, 0.005, len(contract.action_names))
                action[-1] = float(n < ROWS // 2)
                images = {
                    camera: rng.integers(0, 256, (112, 112, 3), dtype=np.uint8) for camera in contract.cameras
                }
                stamp = 100.0 * episode + n / contract.rate_hz
                writer.add_frame(Frame(stamp, images, state, action, {}, stamp), 1)
            writer.save_episode()
    return root


@pytest.mark.slow
def test_the_stored_tables_are_those_of_the_training(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(tmp_path / "set", fitting_contract())
    trained: list[VlaAdapterPolicy] = []
    build = training.build_learner

    def watched(bundle: TrainingBundle, *more: object) -> object:
        trained.append(bundle.policy)
        return build(bundle, *more)

    monkeypatch.setattr(training, "build_learner", watched)
    training.finetune(dataset, tmp_path / "out", start=Start(official, platform="libero"), **QUICK)
    in_training = seen_tables(trained[0])
    for dtype in (torch.float32, torch.bfloat16):
        again = VlaAdapterPolicy.from_pretrained(tmp_path / "out", dtype=dtype)
        assert again.config.head.rope_tables == "bf16"
        assert torch.equal(seen_tables(again), in_training)
    # The published code runs it as before.
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "openvla"
