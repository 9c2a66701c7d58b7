"""Two processes on the CPU train as one does: DDP, and weights spread over both."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_samples import make_backbone, make_dataset

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.evaluation.finetuning import finetune_and_evaluate
from vla_adapter_ros.training.distributed import Processes
from vla_adapter_ros.training.starting import Start

REPOSITORY = Path(__file__).resolve().parents[3]
COMMON = {
    "batch_size": 8, "steps": 3, "warmup_steps": 2, "save_every": 2, "holdout": 0.25, "precision": "fp32",
    "seed": 1,
    "gradient_accumulation_steps": 2, "ema_decay": 0.5,
}  # fmt: skip
SCRIPT = """
import json, os, sys
import torch
from vla_adapter_ros.evaluation.finetuning import finetune_and_evaluate
from vla_adapter_ros.training import distributed
from vla_adapter_ros.training.starting import Start
for name, more in json.loads(sys.argv[4]).items():
    os.environ["ACCELERATE_USE_FSDP"] = str(more.pop("spread", False)).lower()
    more |= {"progress": False, "pages": False}
    result, _ = finetune_and_evaluate(sys.argv[1], f"{sys.argv[3]}/{name}", start=Start(sys.argv[2]), **more)
    kind = distributed.Processes("cpu")
    if os.environ["RANK"] == "0":
        print(json.dumps([name, kind.count, kind.sharded, result.losses]), flush=True)
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    make_dataset(folder / "set")
    make_backbone(folder / "tiny")
    return folder


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def run_two(folder: Path, runs: dict[str, dict]) -> dict[str, tuple]:
    """What `accelerate launch` does, without its own process."""
    paths = [str(folder / name) for name in ("set", "tiny", "two")]
    port, started = free_port(), []
    for rank in range(2):
        world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        env = os.environ | {name: str(value) for name, value in world.items()}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": str(REPOSITORY)}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, *paths, json.dumps(runs)],
                env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    out, errors = zip(*(process.communicate(timeout=240) for process in started), strict=True)
    assert [process.returncode for process in started] == [0, 0], "\n".join(errors)[-3000:]
    lines = [json.loads(line) for line in out[0].splitlines() if line.startswith("[")]
    return {name: (count, sharded, losses) for name, count, sharded, losses in lines}


def run_one(folder: Path, name: str, more: dict, **others):
    output = folder / name
    return finetune_and_evaluate(
        folder / "set", output, start=Start(folder / "tiny"), progress=False, pages=False, **more, **others
    )[0]


def require_same(two: Path, losses: list[float], one) -> None:
    """Losses, weights (stored as fp16) and the report of two runs agree up to rounding."""
    np.testing.assert_allclose(losses, one.losses, rtol=1e-5)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (two, one.output))
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, atol=1e-3, rtol=1e-3)
    errors = [
        json.loads((folder / "training.json").read_text())["report"]["evaluated"]["policy"]
        for folder in (two, one.output)
    ]
    np.testing.assert_allclose(*errors, rtol=1e-2, atol=1e-4)


@pytest.mark.slow
def test_two_processes_train_as_one(folder):
    """The batch is that of both together, so one process with the same batch has twice their share."""
    runs = {
        "ddp": COMMON,
        "spread": {**COMMON, "lora_rank": 2, "gradient_checkpointing": True, "spread": True},
    }
    two = run_two(folder, runs)
    for name, settings in runs.items():
        alone = run_one(folder, f"one_{name}", {k: v for k, v in settings.items() if k != "spread"})
        count, spread, losses = two[name]
        assert (count, spread) == (2, name == "spread")
        require_same(folder / "two" / name, losses, alone)
        index = json.loads((folder / "two" / f"{name}.training/checkpoints/checkpoints.json").read_text())
        assert list(index["validation_loss"]) == ["2"]


@pytest.mark.slow
@pytest.mark.parametrize("spread", [False, True])
def test_what_one_process_began_two_can_end(folder, spread):
    def stop(step: int, loss: float) -> None:
        if step == 1:
            raise KeyboardInterrupt

    name = f"resumed_{spread}"
    whole = run_one(folder, f"one_{name}", COMMON)
    with pytest.raises(KeyboardInterrupt):
        run_one(folder, f"two/{name}", COMMON, on_step=stop)
    two = run_two(folder, {name: {**COMMON, "resume": True, "spread": spread}})
    require_same(folder / "two" / name, two[name][2], whole)


@pytest.mark.slow
def test_the_command_under_accelerate_launch(folder):
    paths = {name: str(folder / name) for name in ("set", "tiny", "launched")}
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--main_process_port", free_port(), "-m", "vla_adapter_ros.cli.main", "finetune"),
        *("--dataset", paths["set"], "--init", paths["tiny"], "--output", paths["launched"]),
        *("--steps", "3", "--batch-size", "8", "--warmup-steps", "1", "--precision", "fp32"),
    ]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert len(json.loads((folder / "launched/training.json").read_text())["losses"]) == 3


def test_shares_and_refusals(monkeypatch):
    alone = Processes()
    assert (alone.rank, alone.count, alone.is_first) == (0, 1, True)
    assert alone.split_batch(8, 2) == [slice(0, 4), slice(4, 8)]
    alone.rank, alone.count = 1, 2
    assert alone.split_batch(8, 2) == [slice(4, 6), slice(6, 8)]
    with pytest.raises(
        TrainingError, match="batch_size = 6 over 2 processes in 2 parts each: allowed is a mult"
    ):
        alone.split_batch(6, 2)
    for name in [name for name in os.environ if "_RANK" in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(TrainingError, match="started one process only"):
        Processes()
