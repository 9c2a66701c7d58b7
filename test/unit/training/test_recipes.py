"""Recipes: what they set, what goes over them, and that the page about them says the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_rows import made_rows
from safetensors.torch import load_file
from training_samples import CONTRACT

from vla_adapter_ros.cli.finetune_command import chosen_settings
from vla_adapter_ros.cli.main import _parser
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model.normalization import normalize, unnormalize
from vla_adapter_ros.training.data.samples import compute_statistics
from vla_adapter_ros.training.finetune import finetune
from vla_adapter_ros.training.memory_presets import MEMORIES
from vla_adapter_ros.training.recipes import recipe_settings
from vla_adapter_ros.training.settings import FinetuneSettings, make_settings, setting_fields
from vla_adapter_ros.training.starting import Start

PAGE = Path(__file__).parents[3] / "docs/reference/recipes.md"
GPU_START = ["--init", "prismatic"]


def chosen(*words: str) -> FinetuneSettings:
    options = _parser().parse_args(["finetune", "--dataset", "x", "--output", "y", *words])
    return make_settings(**chosen_settings(options))


def test_without_a_recipe_the_default_one_is_meant():
    assert chosen() == chosen("--recipe", "default") == make_settings(**recipe_settings())
    assert chosen().steps == 1600


def test_the_page_lists_what_the_recipes_set():
    rows = [
        line.split("|")[1:4]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    shown = {name.strip(" `"): (ours.strip(" `"), paper.strip(" `")) for name, ours, paper in rows}
    ours, paper = chosen(), chosen("--recipe", "paper")
    differing = {
        name: (_word(getattr(ours, name)), _word(getattr(paper, name)))
        for name in setting_fields()
        if getattr(ours, name) != getattr(paper, name)
    }
    assert shown == differing


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("memory", [str(memory) for memory in MEMORIES])
def test_the_memory_changes_the_batch_and_little_else(memory):
    paper, fitted = chosen("--recipe", "paper"), chosen("--recipe", "paper", "--memory", memory, *GPU_START)
    plain = chosen("--memory", memory, *GPU_START)
    differing = {name for name in setting_fields() if getattr(paper, name) != getattr(fitted, name)}
    assert differing <= {"steps", "batch_size", "gradient_accumulation_steps", "gradient_checkpointing"}
    at_once = [s.batch_size // s.gradient_accumulation_steps for s in (fitted, plain)]
    assert at_once[0] == at_once[1]
    assert {"10": 400_005, "80": 150_005}.get(memory, 200_005) == fitted.steps


OTHER = {
    "steps": "7", "batch_size": "6", "lr": "0.5", "lora_rank": "2", "warmup_steps": "1",
    "schedule": "cosine", "weight_decay": "0.1", "decay_matrices_only": "", "adam_beta2": "0.5",
    "grad_clip_norm": "2", "master_weights": "", "waypoint_weight": "0.1", "state_noise": "0.1",
    "augmentation": "none", "padding": "mask", "scale_grippers": "", "rope_tables": "fp32", "holdout": "0.1",
    "save_every": "3",
}  # fmt: skip


def test_every_setting_of_a_recipe_can_be_changed_alone():
    paper = chosen("--recipe", "paper")
    assert set(OTHER) == set(recipe_settings("paper"))
    for name, value in OTHER.items():
        option = f"--{name.replace('_', '-')}"
        changed = chosen("--recipe", "paper", option, *([value] if value else []))
        assert {n for n in setting_fields() if getattr(paper, n) != getattr(changed, n)} == {name}
    again = chosen("--recipe", "paper", "--memory", "10", *GPU_START, "--batch-size", "24", "--steps", "5")
    assert (again.batch_size, again.steps, again.lora_rank) == (24, 5, 64)


def test_what_bf16_weights_exclude_is_said():
    for more, named in ((["--precision", "fp32"], "precision"), (["--ema-decay", "0.9"], "ema_decay")):
        with pytest.raises(TrainingError, match=f"{named} = .*without master_weights"):
            make_settings(**recipe_settings("paper") | _given(more))


def _given(words: list[str]) -> dict[str, Any]:
    value = words[1] if words[0] == "--precision" else float(words[1])
    return {words[0][2:].replace("-", "_"): value}


def paper_run(dataset, backbone, output: Path, **more: Any):
    settings = recipe_settings("paper") | {
        "steps": 6, "batch_size": 4, "lora_rank": 2, "lr": 1e-2, "chunk": 3, "save_every": 2,
        "save_total_limit": 0, "progress": False, "pages": False,
    }  # fmt: skip
    return finetune(dataset, output, start=Start(backbone), **settings | more)


def test_weights_and_moments_are_bf16_and_a_run_goes_on_exactly(dataset, backbone, tmp_path):
    def stop(step: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    whole = paper_run(dataset, backbone, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        paper_run(dataset, backbone, tmp_path / "parts", on_step=stop)
    state = load_file(tmp_path / "parts.training" / "state.safetensors")
    trained = {name.partition(".")[0]: value.dtype for name, value in state.items() if "network" in name}
    assert trained == {
        **dict.fromkeys(("model", "exp_avg", "exp_avg_sq"), torch.bfloat16),
        "step": torch.float32,
    }
    parts = paper_run(dataset, backbone, tmp_path / "parts", resume=True)
    assert parts.losses == whole.losses and whole.losses[-1] < whole.losses[0]
    first, second = (load_file(result.output / "model.safetensors") for result in (whole, parts))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert {value.dtype for value in first.values()} == {torch.bfloat16}


@pytest.mark.parametrize(("opened", "closed"), [(1.0, 0.0), (0.0, 1.0), (0.08, 0.0), (-1.0, 1.0)])
def test_grippers_that_are_not_scaled_go_from_0_to_1(opened, closed):
    gripper = dataclasses.replace(CONTRACT.grippers[0], open=opened, closed=closed)
    contract = dataclasses.replace(CONTRACT, grippers=(gripper,))
    (at,) = contract.gripper_places
    rows = made_rows(4)
    action = np.zeros((len(rows.weight), len(contract.action_names)))
    action[:, 0] = np.linspace(-1, 1, len(action))
    action[:, at] = np.where(np.arange(len(action)) % 2, opened, closed)
    rows = dataclasses.replace(rows, action=action, state=np.zeros((len(action), 11)), contract=contract)
    scaled = compute_statistics("set", rows, contract).action
    kept = compute_statistics("set", rows, contract, scale_grippers=False).action
    for kind in ("q01_q99", "min_max", "mean_std"):
        values = normalize(action, kept, kind)
        assert set(np.unique(values[:, at].round(6))) == {0.0, 1.0}
        np.testing.assert_allclose(unnormalize(values, kept, kind), action, atol=1e-6)
        np.testing.assert_array_equal(values[:, 0], normalize(action, scaled, kind)[:, 0])
    assert bool(kept.mask[at]) == ({opened, closed} != {0.0, 1.0}) and kept.mask[:at].all()
