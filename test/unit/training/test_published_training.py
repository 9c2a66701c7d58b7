"""`finetune --recipe paper` makes the published code's steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from golden_set import StepBatch, golden_batch, small_batch, write_batch, write_contract
from model.golden import SHARED, Golden
from model.golden_training_checks import CLEAR, Step, with_golden_lora
from model.official_sample import official_config, write_official
from safetensors.torch import load_file
from torch import Tensor, nn
from training_samples import make_backbone

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.model import VlaAdapter, VlaAdapterPolicy
from vla_adapter_ros.training import learner
from vla_adapter_ros.training.adapters import add_lora
from vla_adapter_ros.training.data import image_store
from vla_adapter_ros.training.loop import TrainingLoop

FP32 = ["--precision", "fp32", "--master-weights", "--rope-tables", "fp32", "--augmentation", "none"]
"""The reference's step is in float32, on the images as they are."""


class Run(NamedTuple):
    """What happened inside a run of the command."""

    losses: list[float]
    noises: list[Tensor]
    weights: list[dict[str, Tensor]]
    """Before the first step, and after each of the first two."""


@pytest.fixture(params=["base", pytest.param("pro", marks=pytest.mark.slow)])
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


@pytest.fixture
def finetune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def finetune(batch: StepBatch, *more: str) -> Run:
        """Run the command; the first step starts from the batch's noise, later ones from their own."""
        data = write_batch(tmp_path / "data", batch)
        losses: list[float] = []
        noises: list[Tensor] = []
        weights: list[dict[str, Tensor]] = []
        make_step, draw_noise = TrainingLoop.step, TrainingLoop._noise

        def watched_step(loop: TrainingLoop, number: int, *rest: Any):
            if number == 0:
                weights.append(parameters(loop))
            result = make_step(loop, number, *rest)
            losses.append(result.loss)
            if number < 2:
                weights.append(parameters(loop))
            return result

        def watched_noise(loop: TrainingLoop) -> Tensor:
            drawn = draw_noise(loop)
            noises.append(drawn if noises else torch.from_numpy(batch.noise))
            assert drawn.std() == pytest.approx(0.02, rel=0.1)
            return noises[-1]

        monkeypatch.setattr(TrainingLoop, "step", watched_step)
        monkeypatch.setattr(TrainingLoop, "_noise", watched_noise)
        words = [
            "finetune", "--recipe", "paper", "--dataset", str(data),
            "--contract", str(write_contract(tmp_path / "libero.yaml")), "--init", str(batch.checkpoint),
            "--platform", "libero", "--output", str(tmp_path / "out"), "--batch-size", "2", "--device", "cpu",
        ]  # fmt: skip
        assert main([*words, *more]) in (0, 3)  # 3: it does not listen to the instruction
        return Run(losses, noises, weights)

    return finetune


def parameters(loop: TrainingLoop) -> dict[str, Tensor]:
    network = loop.learner.policy.network
    return {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}


def require_reference(run: Run, step: Step) -> None:
    """The first step's loss, what trains, and the weights after it."""
    assert run.losses[0] == pytest.approx(step.info["loss"], rel=1e-5)
    assert {step.name(name) for name in run.weights[0]} == set(step.norms)
    after = {step.name(name): value.numpy() for name, value in run.weights[1].items()}
    gradients = step.stored("grad")
    for name, value in step.stored("after").items():
        clear = np.abs(gradients[name]) > CLEAR  # else AdamW's first step is a coin toss
        np.testing.assert_allclose(after[name][clear], value[clear], rtol=0, atol=2e-6, err_msg=name)


def test_the_reference_step_through_the_command(golden: Golden, finetune) -> None:
    step = Step(golden, "full")
    batch = golden_batch(golden, step.arrays)
    require_reference(finetune(batch, "--steps", "2", "--lora-rank", "0", *FP32), step)


@pytest.mark.slow
def test_the_reference_step_with_adapters(golden: Golden, finetune, monkeypatch: pytest.MonkeyPatch) -> None:
    """They start from the reference's matrices; the command's own are random, and its B is zero."""
    step = Step(golden, "lora")

    def put_in(network: VlaAdapter, rank: int, alpha: float | None, dropout: float, targets: str) -> None:
        assert (rank, alpha, dropout, targets) == (step.info["lora"]["r"], None, 0.0, "all-linear")
        with_golden_lora(network, step)

    monkeypatch.setattr(learner, "add_lora", put_in)
    batch, rank = golden_batch(golden, step.arrays), str(step.info["lora"]["r"])
    require_reference(finetune(batch, "--steps", "2", "--lora-rank", rank, *FP32), step)


def require_plain_loop(run: Run, batch: StepBatch, rank: int) -> None:
    """The losses are those of a loop of ten lines on the same samples and noise."""
    policy = VlaAdapterPolicy.from_pretrained(batch.checkpoint, platform="libero")
    network = policy.network.train()
    if rank:
        add_lora(network, rank)
        network.load_state_dict(run.weights[0], strict=False)  # A is random
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=2e-4)
    ids, mask = policy.tokenize(batch.tasks)
    pixels = torch.stack([policy.pixel_values(np.stack(pair)) for pair in batch.cropped])
    proprio, target = torch.from_numpy(batch.proprio), torch.from_numpy(batch.actions)
    losses = []
    for noise in run.noises:
        loss = nn.functional.l1_loss(network(ids, mask, pixels, proprio, noise), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert len(losses) == 20 and losses[-1] < 0.9 * losses[0]
    np.testing.assert_allclose(run.losses, losses, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rank", ["0", "2"])
def test_twenty_steps_of_the_reference_are_those_of_a_plain_loop(golden: Golden, finetune, rank: str) -> None:
    batch = golden_batch(golden, Step(golden, "full").arrays)
    require_plain_loop(finetune(batch, "--steps", "20", "--lora-rank", rank, *FP32), batch, int(rank))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("head", "rank"), [("base", "0"), ("pro", "2")])
def test_twenty_steps_of_a_smaller_checkpoint_are_those_of_a_plain_loop(
    tmp_path: Path, finetune, head: str, rank: str
) -> None:
    batch = small_batch(write_official(tmp_path / "official", head), official_config().llm.hidden)
    require_plain_loop(finetune(batch, "--steps", "20", "--lora-rank", rank, *FP32), batch, int(rank))


@pytest.mark.slow
def test_the_recipe_trains_on_recorded_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real arm, its camera and its joints; the image store decodes only what is drawn."""
    data = SHARED / "data" / "cr5_lerobot_v21"
    if not data.is_dir():
        pytest.skip(f"no recorded data at {data}")
    (tmp_path / "mapping.yaml").write_text("schema: 1\ncontract: cr5\ncameras: {wrist: top}\n")
    monkeypatch.setattr(image_store, "memory_limit", lambda: 1)
    losses: list[float] = []
    make_step = TrainingLoop.step

    def watched(loop: TrainingLoop, number: int, *rest: Any):
        result = make_step(loop, number, *rest)
        losses.append(result.loss)
        return result

    monkeypatch.setattr(TrainingLoop, "step", watched)
    words = [
        "finetune", "--recipe", "paper", "--device", "cpu",
        "--dataset", f"{data},mapping={tmp_path / 'mapping.yaml'}",
        "--init", str(make_backbone(tmp_path / "tiny")), "--output", str(tmp_path / "out"), "--steps", "20",
        "--batch-size", "4", "--lora-rank", "4", "--lr", "2e-3", "--workers", "0",
    ]  # fmt: skip
    assert main(words) in (0, 3)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}
    statistics = json.loads((tmp_path / "out" / "dataset_statistics.json").read_text())
    (entry,) = statistics.values()
    assert entry["action"]["mask"] == [True] * 6 + [False]
