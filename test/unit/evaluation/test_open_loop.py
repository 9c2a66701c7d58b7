"""Open-loop evaluation of stored checkpoints: which episodes and mean, what is refused and written."""

from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from training.training_samples import CONTRACT, make_backbone, make_dataset

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import write_contract
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import (
    CheckpointError,
    ContractMismatch,
    MappingError,
    ParameterError,
    TrainingError,
)
from vla_adapter_ros.evaluation.open_loop import evaluate_open_loop, pick_episodes, require_match
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.samples import compute_statistics, load_samples


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("set") / "demonstrations", episodes=5)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return make_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


@pytest.fixture(scope="module")
def checkpoint(dataset, backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "policy"
    policy = VlaAdapterPolicy.from_pretrained(backbone)
    samples = load_samples(
        DatasetReader(dataset), CONTRACT, policy.resize_images, policy.config.preprocessing.size
    )
    torch.manual_seed(0)
    statistics = compute_statistics("demonstrations", samples, CONTRACT)
    policy = policy.with_new_head(
        action_dim=8, proprio_dim=11, chunk=8, statistics=statistics, contract=CONTRACT
    )
    policy.save_pretrained(folder, dtype=torch.float32)
    return folder


def with_record(checkpoint, folder, *, validated: bool, frames: int = 50, old: bool = False):
    shutil.copytree(checkpoint, folder)
    record = {
        "settings": {"episodes": 5, "frames": frames},
        "report": (  # the names of 0.1, or those of today
            {"held_out": validated, "judged": {"episodes": [1, 3]}}
            if old
            else {"is_validation": validated, "evaluated": {"episodes": [1, 3]}}
        ),
    }
    (folder / "training.json").write_text(json.dumps(record))
    return folder


def test_all_episodes_and_the_checkpoints_own_statistics_where_its_training_is_not_known(checkpoint, dataset):
    found = evaluate_open_loop(checkpoint, dataset)
    assert found.report.evaluated.episodes == (0, 1, 2, 3, 4)
    assert found.report.rows == 50
    assert not found.report.is_validation and found.report.trained is None
    assert found.facts["trained_on_this_data_set"] == "not known"
    action = DatasetReader(dataset)
    stacked = np.concatenate([action.rows(n)["action"] for n in range(5)])
    np.testing.assert_allclose(found.report.std, stacked.std(axis=0), atol=1e-6)
    assert found.report.units == ("rad",) * 7 + ("1",)
    chosen = evaluate_open_loop(checkpoint, dataset, episodes="0,3:")
    assert chosen.report.evaluated.episodes == (0, 3, 4)


def test_a_data_set_with_its_mapping_is_named_as_finetune_takes_it(checkpoint, dataset, tmp_path, capsys):
    mapping = tmp_path / "names.yaml"
    mapping.write_text("schema: 1\nstate: observation.state\naction: action\n")
    words = ["evaluate", "open-loop", "--checkpoint", str(checkpoint), "--device", "cpu", "--episodes", "0"]
    figures = tmp_path / "figures.json"
    assert main([*words, "--dataset", f"{dataset},mapping={mapping}", "--json", str(figures)]) in (0, 3)
    assert json.loads(figures.read_text())["evaluated"]["episodes"] == [0]
    mapping.write_text("schema: 1\nstate: state\n")
    assert main([*words, "--dataset", f"{dataset},weight=2,mapping={mapping}"]) == 1
    assert "no column 'state'" in capsys.readouterr().err
    assert main([*words, "--dataset", f"{dataset},mapping={mapping}", "--mapping", str(mapping)]) == 2
    assert main([*words, "--dataset", f"{dataset},map={mapping}"]) == 2


def test_episodes_that_training_kept_for_validation_are_evaluated(checkpoint, dataset, tmp_path):
    held = with_record(checkpoint, tmp_path / "a", validated=True)
    found = evaluate_open_loop(held, dataset)
    assert found.report.evaluated.episodes == (1, 3) and found.report.trained.episodes == (0, 2, 4)
    assert found.report.is_validation
    mixed = evaluate_open_loop(held, dataset, episodes="1,2").report
    assert mixed.evaluated.episodes == (1, 2) and not mixed.is_validation
    old = with_record(checkpoint, tmp_path / "old", validated=True, old=True)
    assert evaluate_open_loop(old, dataset).report.evaluated.episodes == (1, 3)
    without = with_record(checkpoint, tmp_path / "b", validated=False)
    assert not evaluate_open_loop(without, dataset, episodes="1").report.is_validation
    other_set = with_record(checkpoint, tmp_path / "c", validated=True, frames=51)
    assert evaluate_open_loop(other_set, dataset).report.evaluated.episodes == (0, 1, 2, 3, 4)


def test_episodes_are_picked_by_number_and_range():
    assert pick_episodes("", 5) == []
    assert pick_episodes("0:2,4", 5) == [0, 1, 4]
    assert pick_episodes(":", 3) == pick_episodes("0:", 3) == [0, 1, 2]
    for wrong in ("5", "-1", "a", "2:2", "0:6", "1:0", "1:2:3"):
        with pytest.raises(ParameterError, match="allowed are numbers from 0 to 4"):
            pick_episodes(wrong, 5)


def test_refusals(checkpoint, backbone, dataset, tmp_path):
    with pytest.raises(CheckpointError, match="backbone without a trained head"):
        evaluate_open_loop(backbone, dataset)
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    write_contract(replace(CONTRACT, rate_hz=20.0), other / "meta/contract.yaml")
    with pytest.raises(ContractMismatch, match="rate_hz"):
        evaluate_open_loop(checkpoint, other)
    bare, plain = tmp_path / "bare", tmp_path / "plain"
    shutil.copytree(dataset, bare)
    (bare / "meta/contract.yaml").unlink()
    shutil.copytree(checkpoint, plain)
    (plain / "contract.yaml").unlink()
    with pytest.raises(ParameterError, match="carries a contract: name the robot's"):
        evaluate_open_loop(plain, bare)
    with pytest.raises(MappingError, match="action has 8 values, the contract's action 7"):
        evaluate_open_loop(plain, bare, contract="franka_sim_ee")
    narrow = SimpleNamespace(
        contract=None, config=SimpleNamespace(num_images=2, proprio_dim=len(CONTRACT.state), action_dim=7)
    )
    with pytest.raises(TrainingError, match="plain takes 7 action values, bare has 8"):
        require_match(narrow, CONTRACT, Path("plain"), "bare")
    assert evaluate_open_loop(checkpoint, bare, episodes="0").report.rows == 10


@pytest.mark.slow
def test_the_command_writes_figures_and_a_page_that_needs_nothing_else(checkpoint, dataset, tmp_path, capsys):
    page, figures, folder = tmp_path / "page.html", tmp_path / "figures.json", tmp_path / "pictures"
    status = main([
        "evaluate", "open-loop", "--checkpoint", str(checkpoint), "--dataset", str(dataset), "--threads", "1",
        "--html", str(page), "--json", str(figures), "--pictures", str(folder), "--episodes", "0:4",
    ])  # fmt: skip
    facts = json.loads(figures.read_text())
    assert status == (3 if facts["language_blind"] else 0)
    assert facts["beats_baselines"] is False  # it has learned nothing
    printed = capsys.readouterr().out
    assert "DOES NOT BEAT BOTH BASELINES" in printed
    assert set(facts["comparisons"]) == set(CONTRACT.action_names)
    text = page.read_text()
    assert all(line.split(":")[0].split("(")[0] in text for line in facts["conclusions"])
    assert "conclusion bad" in text
    assert not re.search(r"(?:src|href)=['\"](?!data:)|url\(|@import|<script|http", text)
    pictures = re.findall(r"data:image/png;base64,([^\"]+)\"", text)
    assert len(pictures) == len(list(folder.iterdir())) == 4  # by step, and three episodes
    for picture in pictures:
        image = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR)
        assert min(image.shape[:2]) > 200 and image.std() > 5
    assert (folder / "episode_000000.png").is_file() and (folder / "episode_000003.png").is_file()
