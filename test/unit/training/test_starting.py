"""Where a training starts, and what the command line makes of its options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
import torch
from training_samples import CONTRACT, make_backbone

from vla_adapter_ros.cli.finetune_command import add_finetune_command, chosen_settings
from vla_adapter_ros.errors import CheckpointError, TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training import starting
from vla_adapter_ros.training.settings import FinetuneSettings
from vla_adapter_ros.training.starting import Start, open_start


def test_from_scratch_the_words_of_the_data_are_known():
    torch.manual_seed(0)
    instructions = ("stack the Zirconium nut", "pick up the cube")
    policy = open_start(Start(preset="tiny"), CONTRACT, instructions)
    assert policy.tokenizer.unknown_words("stack the zirconium nut") == ()
    assert policy.statistics is None and policy.config.name == "tiny"
    assert policy.config.action_dim == len(CONTRACT.action_names)
    assert policy.config.llm.vocab_size == policy.tokenizer.vocab_size
    assert Start(preset="tiny").name == "scratch tiny"
    for name, message in (("0.5b", "needs a tokenizer"), ("openvla-7b", "allowed from scratch is one of")):
        with pytest.raises(TrainingError, match=message):
            open_start(Start(preset=name), CONTRACT, instructions)


def test_a_folder_of_ours_a_published_file_and_a_missing_one(tmp_path, monkeypatch):
    backbone = make_backbone(tmp_path / "ours")
    policy = open_start(Start(backbone), CONTRACT, ())
    assert isinstance(policy, VlaAdapterPolicy) and policy.network.dtype == torch.float32
    assert Start(backbone).name == "ours"
    with pytest.raises(CheckpointError, match="no checkpoint directory"):
        open_start(Start(tmp_path / "nothing"), CONTRACT, ())
    asked = []

    def read_backbone(path: Path, config, *, tokenizer, dtype) -> VlaAdapterPolicy:
        asked.append((path.name, config.name, config.num_images, tokenizer, dtype))
        return policy

    monkeypatch.setattr(starting, "read_backbone", read_backbone)
    (tmp_path / "prism.pt").write_bytes(b"")
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "latest-checkpoint.pt").write_bytes(b"")
    (tmp_path / "openvla").mkdir()
    open_start(Start(tmp_path / "prism.pt", tokenizer="words"), CONTRACT, ())
    open_start(Start(run, tokenizer="words"), CONTRACT, ())
    open_start(Start(tmp_path / "openvla", preset="openvla-7b"), CONTRACT, ())
    assert asked == [
        ("prism.pt", "0.5b", 2, "words", torch.float32),
        ("run", "0.5b", 2, "words", torch.float32),
        ("openvla", "openvla-7b", 2, None, torch.float32),
    ]


def test_the_published_backbone_by_its_first_name(tmp_path, monkeypatch):
    hub = pytest.importorskip(
        "huggingface_hub", reason="huggingface_hub is not installed: pip install huggingface_hub"
    )
    fetched, read = [], []

    def snapshot_download(name, **options):
        fetched.append((name, options["allow_patterns"]))
        folder = tmp_path / name
        (folder / "checkpoints").mkdir(parents=True)
        if "Qwen" not in name:
            (folder / "checkpoints" / "latest-checkpoint.pt").write_bytes(b"")
        return str(folder)

    policy = open_start(Start(make_backbone(tmp_path / "ours")), CONTRACT, ())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(
        starting,
        "read_backbone",
        lambda path, config, *, tokenizer, dtype: read.append((path, tokenizer)) or policy,
    )
    open_start(Start("prismatic"), CONTRACT, ())
    (model, files), (words, word_files) = fetched
    assert model.startswith("Stanford-ILIAD/prism-qwen25") and words == "Qwen/Qwen2.5-0.5B"
    assert files == ["config.json", "checkpoints/latest-checkpoint.pt"] and word_files == ["tokenizer*.json"]
    assert read == [(tmp_path / model, tmp_path / words)]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"not installed.*hf download Stanford-ILIAD"):
        open_start(Start("prismatic"), CONTRACT, ())


def parsed(*arguments: str) -> dict:
    parser = argparse.ArgumentParser()
    add_finetune_command(parser.add_subparsers())
    return chosen_settings(parser.parse_args(["finetune", "--dataset", "d", "--output", "o", *arguments]))


def test_options_go_over_the_memory_preset_and_that_over_the_defaults():
    plain = FinetuneSettings(**parsed())
    assert (plain.steps, plain.batch_size, plain.lr) == (1600, 32, 1e-3)
    published = ("--init", "prismatic", "--memory", "10")
    preset = FinetuneSettings(**parsed(*published, "--no-gradient-checkpointing", "--lr", "1e-4"))
    assert (preset.lora_rank, preset.lr) == (64, 1e-4)
    assert (preset.gradient_accumulation_steps, preset.gradient_checkpointing) == (8, False)
    named = FinetuneSettings(**parsed("--lora-rank", "4", "--lora-targets", "a,b", "--freeze", "action_head"))
    assert named.lora_targets == ("a", "b") and named.freeze == ("action_head",)
