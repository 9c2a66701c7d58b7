"""What version 0.1 stored is read under today's names."""

from __future__ import annotations

import dataclasses
import json

import torch

from vla_adapter_ros.contract import checkpoints_folder
from vla_adapter_ros.evaluation.finetuning import read_report
from vla_adapter_ros.training.checkpoints import CheckpointManager
from vla_adapter_ros.training.old_records import OLD_KEYS, rename_old_keys
from vla_adapter_ros.training.result import read_result
from vla_adapter_ros.training.settings import FinetuneSettings
from vla_adapter_ros.training.state import read_settings, save_state

OLD_SETTINGS = {
    "steps": 6, "batch": 8, "accumulation": 2, "warmup": 3, "clip": 0.5, "ema": 0.9, "checkpointing": True,
    "keep": 1, "take": "best", "lr": 1e-4,
}  # fmt: skip


def test_settings_of_0_1_are_those_of_today_under_other_names():
    settings = FinetuneSettings(**rename_old_keys("settings", OLD_SETTINGS))
    assert settings == FinetuneSettings(
        steps=6, batch_size=8, gradient_accumulation_steps=2, warmup_steps=3, grad_clip_norm=0.5,
        ema_decay=0.9, gradient_checkpointing=True, save_total_limit=1, load_best=True, lr=1e-4,
    )  # fmt: skip
    assert not FinetuneSettings(**rename_old_keys("settings", {"steps": 1, "take": "last"})).load_best
    today = json.loads(json.dumps(dataclasses.asdict(settings)))
    assert rename_old_keys("settings", today) == today
    added = {name: rename_old_keys("settings", {})[name] for name in ("intervention_weight", "outcome")}
    assert added == {name: today[name] for name in added}  # so that a training of then can go on
    assert set(OLD_KEYS["settings"].values()) <= set(today)


def test_the_state_of_a_running_training_of_0_1_is_read(tmp_path):
    model = torch.nn.Linear(2, 1)
    path = tmp_path / "state.safetensors"
    save_state(path, model, torch.optim.AdamW(model.parameters()), [], OLD_SETTINGS | {"frames": 7})
    stored = read_settings(path)
    assert stored["batch_size"] == 8 and stored["load_best"] and stored["frames"] == 7
    assert not set(stored) & {*OLD_KEYS["settings"], "take"}


def test_the_list_of_checkpoints_of_0_1_is_read(tmp_path):
    (tmp_path / "step_00000004").mkdir()
    (tmp_path / "checkpoints.json").write_text('{"held_out_loss": {"4": 0.25}, "best": 4}')
    assert CheckpointManager(tmp_path, 2).best == (4, 0.25)


def test_the_settings_of_the_shipped_checkpoint_are_read():
    stored = json.loads((checkpoints_folder() / "franka_sim_tiny" / "training.json").read_text())["settings"]
    assert "batch" in stored  # a file of 0.1
    fields = {field.name for field in dataclasses.fields(FinetuneSettings)}
    assert set(rename_old_keys("settings", stored)) <= fields | {"episodes", "frames", "init"}


def test_the_result_of_a_training_of_0_1_is_read(tmp_path):
    errors = {
        "rows": 2, "episodes": [3], **{key: [0.1] for key in ("policy", "repeat", "mean")},
        **{key: [[0.1]] for key in ("policy_steps", "repeat_steps", "mean_steps")},
    }  # fmt: skip
    report = {
        "names": ["j"], "units": ["rad"], "held_out": True, "judged": errors, "trained": None,
        "spread": [0.5], "constant": [False], "sentences": {"obstacle": "", "gain": 0.3, "share": 0.75},
        "beats_baselines": False, "language_blind": False,
    }  # fmt: skip
    facts = {"settings": OLD_SETTINGS, "losses": [1.0], "seconds": 2.0, "report": report}
    (tmp_path / "training.json").write_text(json.dumps(facts))
    result, settings = read_result(tmp_path)
    assert settings["grad_clip_norm"] == 0.5
    report = read_report(result)
    assert report.is_validation and report.evaluated.episodes == (3,)
    assert report.std == (0.5,) and report.instructions.fraction == 0.75
