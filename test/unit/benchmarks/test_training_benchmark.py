"""The training benchmark: both ways compute the same loss, and its figures fit together."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from vla_adapter_ros.benchmarks import training
from vla_adapter_ros.cli.main import main
from vla_adapter_ros.errors import ModelConfigError, ParameterError


def test_both_ways_are_measured_and_learn_from_the_same_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "ROWS", 16)
    monkeypatch.setattr(training, "EPISODE", 8)
    file = tmp_path / "figures.json"
    threads = torch.get_num_threads()
    arguments = ["benchmark", "training", "--batch-size", "2", "--lora-rank", "2", "--steps", "2"]
    assert main([*arguments, "--json", str(file)]) == 0
    torch.set_num_threads(threads)
    result = json.loads(file.read_text())
    figures = result["batches"]["2"]
    for way in ("reference", "loop"):
        part = figures[way]
        assert part["samples_per_s"] == pytest.approx(2e3 / part["step_p50_ms"], rel=1e-2)
        hours = 1e5 / part["samples_per_s"] / 3600
        assert part["hours_per_100k_samples"] == pytest.approx(hours, rel=1e-2, abs=1e-3)
        assert part["peak_memory_gb"] > 0
    ratio = figures["loop"]["samples_per_s"] / figures["reference"]["samples_per_s"]
    assert figures["speedup"] == pytest.approx(ratio, rel=1e-2)
    assert 0 <= figures["loop"]["waiting_for_data"] < 1
    table = capsys.readouterr().out
    assert "tiny, LoRA rank 2, " in table and "speed-up" in table


def test_refusals():
    with pytest.raises(
        ModelConfigError, match=r"preset = '7b': allowed is one of \['tiny', 'small', '0.5b'\]"
    ):
        training.run_training_benchmark("7b")
    if not torch.cuda.is_available():
        with pytest.raises(ParameterError, match="torch sees no GPU"):
            training.run_training_benchmark(device="cuda")


def test_the_published_way_gives_the_loss_of_our_network(monkeypatch):
    """Same rows, no augmentation: the baseline does more work, and not another one."""
    monkeypatch.setattr(training, "ROWS", 8)
    monkeypatch.setattr(training, "EPISODE", 8)
    contract = training.read_contract("franka_sim")
    frames, rows = training.made_data(contract, "pick up the red cube")
    config = training.preset("tiny")
    network = training.random_network(config, torch.device("cpu"), torch.float32).requires_grad_(True)
    statistics = training.compute_statistics("made", rows, contract)
    policy = training.VlaAdapterPolicy(network, config, training.Tokenizer.from_words(), statistics, contract)
    settings = training.FinetuneSettings(steps=1, precision="fp32", lr=1e-9)
    chunks, chosen = rows.chunks(np.arange(8), config.chunk), np.array([1, 5])
    module = training.TrainingModule(policy)
    reference = training.ReferenceTraining(
        module, policy, policy.resize_images, frames, [rows.tasks[0]] * 8, rows.state,
        chunks, "none", settings,
    )  # fmt: skip
    images = np.stack(
        [[policy.resize_images(training.decode(data)) for data in frames[row]] for row in chosen]
    )
    ids, mask = policy.tokenize([rows.tasks[0]] * 2)
    proprio = torch.from_numpy(policy.normalize_proprio(rows.state[chosen])).float()
    target = torch.from_numpy(policy.normalize_actions(chunks[chosen])).float()
    with torch.no_grad():
        expected = network.loss(ids, mask, policy.pixel_values(images), proprio, target)
    assert reference.step(chosen) == pytest.approx(expected.item(), rel=1e-5)
