"""Fine-tuning: it learns, can be interrupted anywhere, and refuses what does not fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_samples import CONTRACT, TASKS

from vla_adapter_ros.contract import write_contract
from vla_adapter_ros.dataset.start_pose import read_start_pose
from vla_adapter_ros.errors import CheckpointError, ContractMismatch, DatasetError, TrainingError
from vla_adapter_ros.evaluation.finetuning import finetune_and_evaluate
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.scene_check.store import read_references
from vla_adapter_ros.training.data.selection import pick_rows
from vla_adapter_ros.training.finetune import finetune
from vla_adapter_ros.training.optimizer import build_optimizer, learning_rate_factor
from vla_adapter_ros.training.settings import FinetuneSettings
from vla_adapter_ros.training.starting import Start

SHORT = {"batch_size": 4, "warmup_steps": 2, "progress": False, "save_every": 2}


@pytest.fixture(scope="module")
def evaluated(dataset, backbone, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "policy"
    return finetune_and_evaluate(
        dataset,
        output,
        start=Start(backbone),
        steps=100,
        batch_size=8,
        lr=2e-3,
        warmup_steps=10,
        progress=False,
        holdout=0.25,
    )


@pytest.fixture(scope="module")
def trained(evaluated):
    return evaluated[0]


def test_it_learns_and_the_checkpoint_gives_what_was_learned(trained, evaluated):
    assert len(trained.losses) == 100
    assert np.mean(trained.losses[-10:]) < 0.6 * np.mean(trained.losses[:5])
    report = evaluated[1]
    assert report.is_validation
    assert report.rows == 20
    assert report.names == CONTRACT.action_names
    assert len(report.instructions.change) == 8
    still = slice(1, 7)  # joints whose command follows from the state
    assert (np.array(report.trained.policy) < 0.6 * np.array(report.trained.mean))[still].all()
    policy = VlaAdapterPolicy.from_pretrained(trained.output)
    assert policy.contract == CONTRACT
    assert policy.statistics.name == "demonstrations"
    image = np.full((112, 112, 3), 100, np.uint8)
    state = np.concatenate([np.zeros(7), [0.04, 0.5, 0.0, 0.3]])
    chunk = policy.predict([image, image], TASKS[0], state)
    assert chunk.shape == (8, 8)
    assert np.isfinite(chunk).all()
    assert not (trained.output.parent / "policy.training" / "state.safetensors").exists()


@pytest.mark.slow
def test_an_interrupted_run_ends_as_if_it_had_not_been(dataset, backbone, tmp_path):
    whole = finetune(dataset, tmp_path / "whole", start=Start(backbone), steps=7, **SHORT)

    def interrupt(step: int, loss: float) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(dataset, tmp_path / "parts", start=Start(backbone), steps=7, on_step=interrupt, **SHORT)
    assert not (tmp_path / "parts").exists()
    with pytest.raises(TrainingError, match="interrupted training: resume it"):
        finetune(dataset, tmp_path / "parts", start=Start(backbone), steps=7, **SHORT)
    with pytest.raises(TrainingError, match=r"differs from this one:\n  steps: 7 then, 9 now"):
        finetune(dataset, tmp_path / "parts", start=Start(backbone), steps=9, resume=True, **SHORT)
    steps = []
    parts = finetune(
        dataset,
        tmp_path / "parts",
        start=Start(backbone),
        steps=7,
        resume=True,
        on_step=lambda n, _: steps.append(n),
        **SHORT,
    )
    assert steps == [5, 6]
    assert parts.losses == whole.losses
    ours, theirs = (
        VlaAdapterPolicy.from_pretrained(result.output).network.state_dict() for result in (parts, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    again = finetune(
        dataset, tmp_path / "parts", start=Start(backbone), steps=7, resume=True, **SHORT
    )  # finished already
    assert again.losses == tuple(float(f"{loss:.5g}") for loss in parts.losses)


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_save(dataset, backbone, tmp_path):
    class Killed(Exception):
        pass

    def kill(step: int, loss: float) -> None:
        if step == 4:  # saved after steps 2 and 4, numbered 1 and 3
            raise Killed

    with pytest.raises(Killed):
        finetune(dataset, tmp_path / "out", start=Start(backbone), steps=7, on_step=kill, **SHORT)
    steps = []
    result = finetune(
        dataset,
        tmp_path / "out",
        start=Start(backbone),
        steps=7,
        resume=True,
        on_step=lambda n, _: steps.append(n),
        **SHORT,
    )
    assert steps == [4, 5, 6]
    assert (
        result.losses == finetune(dataset, tmp_path / "whole", start=Start(backbone), steps=7, **SHORT).losses
    )


@pytest.mark.slow
def test_a_trained_head_is_kept_and_a_policy_of_another_robot_refused(trained, dataset, tmp_path):
    more = finetune(dataset, tmp_path / "more", start=Start(trained.output), steps=2, lr=1e-5, **SHORT)
    assert more.losses[0] < 2 * np.mean(trained.losses[-10:])
    other = tmp_path / "other"
    shutil.copytree(trained.output, other)
    write_contract(replace(CONTRACT, rate_hz=20.0), other / "contract.yaml")
    with pytest.raises(ContractMismatch, match="rate_hz"):
        finetune(dataset, tmp_path / "x", start=Start(other), steps=2, **SHORT)
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_frozen_backbone_stays_as_it_was(dataset, backbone, tmp_path):
    result = finetune(
        dataset,
        tmp_path / "out",
        start=Start(backbone),
        steps=2,
        backbone_lr_factor=0.0,
        waypoint_weight=0.0,
        **SHORT,
    )
    before = VlaAdapterPolicy.from_pretrained(backbone).network.state_dict()
    after = VlaAdapterPolicy.from_pretrained(result.output).network.state_dict()
    for name, value in before.items():
        if not name.startswith(("action_head", "proprio_projector", "action_queries")):
            torch.testing.assert_close(after[name], value, atol=1e-3, rtol=1e-2)  # fp16 against bf16 on disk


@pytest.mark.slow
def test_lora_trains_adapters_goes_on_after_a_stop_and_saves_plain_weights(dataset, backbone, tmp_path):
    settings = {**SHORT, "lora_rank": 2, "save_every": 2}
    whole = finetune(dataset, tmp_path / "whole", start=Start(backbone), steps=4, **settings)

    def stop(step: int, loss: float) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(dataset, tmp_path / "out", start=Start(backbone), steps=4, on_step=stop, **settings)
    resumed = finetune(dataset, tmp_path / "out", start=Start(backbone), steps=4, resume=True, **settings)
    assert resumed.losses == whole.losses
    before = VlaAdapterPolicy.from_pretrained(backbone).network.state_dict()
    after = VlaAdapterPolicy.from_pretrained(resumed.output).network.state_dict()
    assert list(after) == list(before)
    embedding = "language_model.model.embed_tokens.weight"  # frozen; stored as fp16 and bf16
    torch.testing.assert_close(after[embedding], before[embedding], atol=1e-3, rtol=1e-2)


def test_refusals(dataset, backbone, tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match="is there already"):
        finetune(dataset, backbone, start=Start(backbone), steps=2, **SHORT)
    with pytest.raises(DatasetError, match="no such file"):
        finetune(tmp_path / "nothing", tmp_path / "a", start=Start(backbone), steps=2, **SHORT)
    with pytest.raises(CheckpointError):
        finetune(dataset, tmp_path / "a", start=Start(tmp_path / "nothing"), steps=2, **SHORT)
    with pytest.raises(TrainingError, match="steps = 0: allowed is at least 1"):
        finetune(dataset, tmp_path / "a", start=Start(backbone), steps=0, **SHORT)
    for wrong in ({"lora_rank": -1}, {"lora_rank": 2, "backbone_lr_factor": 0.0}):
        with pytest.raises(TrainingError, match="allowed is"):
            finetune(dataset, tmp_path / "a", start=Start(backbone), steps=1, **SHORT, **wrong)
    with pytest.raises(TrainingError, match=r"settings = \['epochs'\]: allowed is only these keys: steps,"):
        finetune(dataset, tmp_path / "a", start=Start(backbone), steps=1, epochs=3, **SHORT)
    bare = tmp_path / "bare"
    shutil.copytree(dataset, bare)
    (bare / "meta/contract.yaml").unlink()
    with pytest.raises(TrainingError, match="carries no contract"):
        finetune(bare, tmp_path / "a", start=Start(backbone), steps=2, **SHORT)
    finetune(bare, tmp_path / "b", start=Start(backbone), steps=1, contract=CONTRACT, **SHORT)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step"):
        finetune(
            dataset, tmp_path / "c", start=Start(backbone), steps=60, **{**SHORT, "warmup_steps": 0}, lr=1e30
        )
    assert not (tmp_path / "c").exists()


def test_the_result_file_tells_how_it_was_trained(trained):
    facts = json.loads((trained.output / "training.json").read_text())
    assert facts["settings"]["steps"] == 100
    assert facts["settings"]["frames"] == 80
    assert facts["report"]["names"][-1] == "gripper"
    assert tuple(read_start_pose(trained.output)) == CONTRACT.state_names
    views = read_references(trained.output)
    assert tuple(views) == CONTRACT.camera_names
    assert {view.size for view in views.values()} == {camera.size for camera in CONTRACT.cameras.values()}
    assert (trained.output.parent / "policy.report.html").is_file()


def test_training_alone_evaluates_nothing(dataset, backbone, tmp_path):
    result = finetune(dataset, tmp_path / "out", start=Start(backbone), steps=1, **SHORT)
    assert result.report is None and not (tmp_path / "out.report.html").exists()
    again, report = finetune_and_evaluate(
        dataset, tmp_path / "out", start=Start(backbone), steps=1, resume=True, **SHORT
    )
    assert again.losses == pytest.approx(result.losses, rel=1e-4) and report is None


def test_learning_rate_rises_and_falls():
    settings = FinetuneSettings(steps=1000, warmup_steps=100)
    factors = [learning_rate_factor(step, settings) for step in range(1000)]
    assert factors[0] < 0.02
    assert max(factors) == pytest.approx(1.0)
    assert np.argmax(factors) == 100
    assert factors[-1] == pytest.approx(0.02, abs=1e-3)
    assert (np.diff(factors[:100]) > 0).all()
    assert (np.diff(factors[100:]) < 0).all()


def test_weight_decay_is_on_matrices_only_and_the_backbone_has_its_own_rate():
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.projector = torch.nn.Linear(2, 2)
            self.action_head = torch.nn.Linear(2, 2)

    model = Model()
    optimizer = build_optimizer(model, FinetuneSettings(steps=1, lr=1.0, backbone_lr_factor=0.1))
    groups = {id(p): g for g in optimizer.param_groups for p in g["params"]}
    found = {n: (groups[id(p)]["weight_decay"], groups[id(p)]["peak"]) for n, p in model.named_parameters()}
    assert found == {
        "projector.weight": (0.02, 0.1),
        "projector.bias": (0.0, 0.1),
        "action_head.weight": (0.02, 1.0),
        "action_head.bias": (0.0, 1.0),
    }


def test_each_row_comes_once_per_pass():
    rows = np.arange(100, 110)
    settings = FinetuneSettings(steps=5, batch_size=4, seed=3)
    picked = np.concatenate([pick_rows(rows, step, settings) for step in range(5)])
    assert sorted(picked[:10]) == sorted(picked[10:]) == rows.tolist()
    assert picked[:10].tolist() != picked[10:].tolist()
