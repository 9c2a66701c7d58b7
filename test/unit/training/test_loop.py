"""The steps of a training: they go on after any stop, and say what is wrong when they cannot."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_samples import CONTRACT

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.evaluation.finetuning import finetune_and_evaluate
from vla_adapter_ros.training import learner, space
from vla_adapter_ros.training.ema import RunningMean
from vla_adapter_ros.training.finetune import finetune
from vla_adapter_ros.training.interrupt import StopRequest
from vla_adapter_ros.training.loop import TrainingLoop
from vla_adapter_ros.training.module import TrainingModule
from vla_adapter_ros.training.out_of_memory import ran_out_of_memory
from vla_adapter_ros.training.starting import Start
from vla_adapter_ros.training.validation import ValidationResult

SHORT = {
    "batch_size": 4, "warmup_steps": 2, "progress": False, "pages": False, "save_every": 2, "holdout": 0.25,
    "save_total_limit": 0,
}  # fmt: skip


@pytest.fixture
def run(dataset, backbone, tmp_path):
    def run(name: str, **more):
        return finetune(dataset, tmp_path / name, start=Start(backbone), **{"steps": 5, **SHORT, **more})

    return run


def weights(result) -> dict[str, torch.Tensor]:
    return load_file(result.output / "model.safetensors")


@pytest.mark.parametrize(
    "more",
    [
        {"lora_rank": 2, "lora_dropout": 0.3, "ema_decay": 0.9},
        {
            "gradient_accumulation_steps": 2,
            "gradient_checkpointing": True,
            "augmentation": "official",
            "state_noise": 0.1,
        },
    ],
)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(run, more):
    def stop(step: int, loss: float) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    whole = run("whole", **more)
    with pytest.raises(KeyboardInterrupt):
        run("parts", on_step=stop, **more)
    assert signal.getsignal(signal.SIGTERM) is before
    steps = []
    parts = run("parts", resume=True, on_step=lambda n, _: steps.append(n), **more)
    assert steps == [3, 4]
    np.testing.assert_allclose(parts.losses, whole.losses, atol=1e-6, rtol=0)
    theirs = weights(whole)
    assert all(torch.equal(value, theirs[name]) for name, value in weights(parts).items())


def test_a_stop_is_told(run, capsys):
    with pytest.raises(KeyboardInterrupt):
        run("out", progress=True, on_step=lambda *_: signal.raise_signal(signal.SIGTERM))
    line = next(line for line in capsys.readouterr().out.splitlines() if "stopped" in line)
    assert "stopped (SIGTERM) after 1 of 5 steps" in line and "out.training: --resume goes on" in line


def test_a_second_signal_stops_at_once():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.wanted == "SIGINT"
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_parts_of_a_batch_make_the_same_step(run):
    whole, parts = (
        run("whole", precision="fp32"),
        run("parts", precision="fp32", gradient_accumulation_steps=4),
    )
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-5)
    theirs = weights(whole)
    for name, value in weights(parts).items():
        torch.testing.assert_close(value, theirs[name], atol=1e-3, rtol=1e-3)


def test_weights_stay_exact_while_products_are_bf16(run):
    """A change of one in a hundred thousand would be lost in bf16 weights."""
    state = {}

    def look(step: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("out", precision="bf16", lr=1e-5, warmup_steps=0, schedule="constant", on_step=look)
    state = load_file(Path(run.__closure__[2].cell_contents) / "out.training" / "state.safetensors")
    assert {value.dtype for name, value in state.items() if name.startswith("model.")} == {torch.float32}
    norm = state["model.network.language_model.model.layers.0.input_layernorm.weight"]
    moved = (norm - 1).abs()
    assert 0 < float(moved.max()) < 1e-4
    assert bool((norm.bfloat16() == 1).all())


def test_the_checkpoint_holds_the_running_mean(run):
    plain, mean = run("plain", steps=3, lr=1e-2), run("mean", steps=3, lr=1e-2, ema_decay=0.99)
    assert plain.losses == mean.losses  # the training itself does not see it
    differ = [n for n, v in weights(mean).items() if not torch.equal(v, weights(plain)[n])]
    assert len(differ) > 0.9 * len(weights(plain))


def test_running_mean():
    model = torch.nn.Linear(1, 1, bias=False)
    mean = RunningMean(model, 0.9)
    start = float(model.weight.detach())
    with torch.no_grad():
        model.weight.fill_(1.0)
    mean.update(1)  # decay min(0.9, 2 / 11)
    expected = start * 2 / 11 + 1.0 * 9 / 11
    with mean.in_place():
        assert float(model.weight.detach()) == pytest.approx(expected)
    assert float(model.weight.detach()) == 1.0
    for step in range(2, 300):
        mean.update(step)
    assert float(mean.means["weight"]) == pytest.approx(1.0)
    assert RunningMean(model, 0.0).means == {}


def test_the_best_checkpoint_can_become_the_output(run, monkeypatch):
    figures = iter([0.2, 0.5, 0.4])

    def validate(self):
        return ValidationResult(next(figures), np.zeros(8))

    monkeypatch.setattr(TrainingLoop, "validate", validate)
    result = run("out", steps=6, save_total_limit=1, load_best=True)
    folder = result.output.with_name("out.training") / "checkpoints"
    assert json.loads((folder / "checkpoints.json").read_text())["best"] == 2
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["step_00000002", "step_00000004"]
    facts = json.loads((result.output / "training.json").read_text())
    assert facts["taken_after_steps"] == 2
    best = load_file(folder / "step_00000002" / "model.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in weights(result).items())


def test_the_validation_loss_is_that_of_the_report(dataset, backbone, tmp_path):
    more = {**SHORT, "lora_rank": 2, "precision": "fp32", "evaluate_every": 5}
    result, report = finetune_and_evaluate(dataset, tmp_path / "out", start=Start(backbone), steps=5, **more)
    events = EventAccumulator(str(result.output.with_name("out.training") / "logs")).Reload()
    still = slice(1, 7)  # the report leaves out what lies past an episode's end; these joints stay there
    for dimension, error in list(zip(CONTRACT.action.dimensions, report.error, strict=True))[still]:
        tag = f"validation/{dimension.name} [{dimension.unit}]"
        assert events.Scalars(tag)[-1].value == pytest.approx(error, rel=1e-2)
    losses = [event.value for event in events.Scalars("train/loss")]
    np.testing.assert_allclose(losses, result.losses, rtol=1e-5)
    rates = [event.value for event in events.Scalars("train/learning_rate")]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(1e-3)
    assert {"speed/samples_per_s", "train/gradient_norm"} <= set(events.Tags()["scalars"])


def test_figures_go_to_weights_and_biases_if_that_is_wanted(run, monkeypatch):
    class Fake:
        logged: list = []  # noqa: RUF012

        @classmethod
        def init(cls, project, config, name):
            cls.about = (project, config["batch_size"], name)
            return cls()

        def log(self, figures, step):
            self.logged.append((step, figures["train/loss"]))

        def finish(self):
            self.logged.append("end")

    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(TrainingError, match="pip install wandb"):
        run("out", wandb="arm")
    monkeypatch.setitem(__import__("sys").modules, "wandb", Fake)
    result = run("out2", wandb="arm", steps=2, holdout=0.0)
    assert Fake.about == ("arm", 4, "out2.training")
    assert Fake.logged == [*enumerate(result.losses, 1), "end"]


def test_a_loss_that_is_no_number_is_traced_to_its_rows(run, monkeypatch, dataset):
    forward, seen = TrainingModule.forward, []

    def spoil(self, *inputs):
        loss, predicted, errors = forward(self, *inputs)
        seen.append(len(errors))
        if len(seen) < 3:
            return loss, predicted, errors
        errors[1] = float("nan")
        return loss + errors.mean(), predicted, errors

    monkeypatch.setattr(TrainingModule, "forward", spoil)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 2, rows \[\d+\] of episodes \[\d\]: "):
        run("out")
    state = run.__closure__[2].cell_contents / "out.training" / "state.safetensors"
    assert load_file(state)["losses"].shape == (2,)  # what was saved after two steps is still there


def test_running_out_of_memory_says_what_to_try(run, monkeypatch):
    def fail(self, *inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TrainingModule, "forward", fail)
    with pytest.raises(
        TrainingError, match=r"at step 0 with 2 samples at once: try --memory 16 .* or --gradient-acc"
    ):
        run("out", gradient_accumulation_steps=2, lora_rank=2)
    huge = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes")
    assert ran_out_of_memory(huge) and ran_out_of_memory(MemoryError())
    assert not ran_out_of_memory(RuntimeError("other"))


def test_what_stays_as_it_is(run, backbone):
    result = run("out", steps=2, freeze=("action_queries",), waypoint_weight=0.0, lr=1e-2)
    before = load_file(backbone / "model.safetensors")["action_queries.weight"].float()
    torch.testing.assert_close(weights(result)["action_queries.weight"].float(), before, atol=1e-4, rtol=1e-2)
    with pytest.raises(TrainingError, match=r"freeze\[0\] = 'wheels': allowed is one of"):
        run("out", freeze=("wheels",))


def test_a_constant_rate_and_other_settings(run):
    for wrong, message in (
        ({"schedule": "step"}, "schedule = 'step': allowed is one of"),
        ({"ema_decay": 1.0}, "ema_decay = 1.0: allowed is less than 1"),
        ({"batch_size": 4, "gradient_accumulation_steps": 3}, "batch_size = 4: allowed is a multiple of 3"),
        ({"precision": "fp32", "frozen_bf16": True}, "precision = 'fp32': allowed is not 'fp32'"),
        ({"load_best": True, "save_total_limit": 0}, "save_total_limit = 0"),
    ):
        with pytest.raises(TrainingError, match=message):
            run("out", **wrong)


def test_what_cannot_be_written_is_found_before_training(run, tmp_path, dataset, backbone, monkeypatch):
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file" / "out", Path("/proc/out")):
        with pytest.raises(TrainingError, match="cannot be written to"):
            finetune(dataset, output, start=Start(backbone), steps=2, **SHORT)
    usage = space.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    with pytest.raises(
        TrainingError, match=r"0\.0 GB free, weights, optimizer and checkpoints need up to 0\.0"
    ):
        run("out")


def test_the_disk_space_that_is_asked_for_suffices(run, monkeypatch):
    monkeypatch.setattr(space, "_SMALL_FILES", 0)
    asked = []
    monkeypatch.setattr(learner, "require_space", lambda folder, needed: asked.append(needed))
    result = run("out", steps=9, ema_decay=0.9, save_total_limit=1)
    files = result.output.with_name("out.training").rglob("*")
    left = sum(path.stat().st_size for path in files if path.suffix in (".safetensors", ".pt"))
    assert 2 * left < asked[0] < 50 * left
