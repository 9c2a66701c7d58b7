"""The real vla-eval drives our checkpoints: run by `make vla-eval`, in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("vla_eval", reason="vla-eval is not installed: `make vla-eval` has it in an environment")

import vla_eval
from vla_eval.benchmarks.libero.benchmark import LIBEROBenchmark
from vla_eval.model_servers.base import SessionContext
from vla_eval.specs import check_specs

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ObservationError, ParameterError
from vla_adapter_ros.evaluation.stepped import SteppedArm
from vla_adapter_ros.harnesses.vla_eval_server import VlaAdapterModelServer
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_location import find_checkpoint

CHECKPOINT = "franka_sim_tiny"
OFFICIAL = next((Path(__file__).resolve().parents[2] / "data/golden/pro").glob("*_chkpt"))
"""In the official layout, small and with random weights."""
BENCHMARK = "vla_adapter_ros.harnesses.vla_eval_benchmark:SimulatedArmBenchmark"
CONFIG = {"benchmarks": [{"benchmark": BENCHMARK, "episodes_per_task": 2}]}


def directly(episodes: int) -> list[tuple[bool, int]]:
    """Success and steps of the same episodes, without vla-eval."""
    arm = SteppedArm(read_contract("franka_sim"))
    policy = VlaAdapterPolicy.from_pretrained(find_checkpoint(CHECKPOINT))
    found = []
    for plan in arm.suite.plans(episodes, arm.suite.seed):
        arm.begin(plan)
        rows: list[np.ndarray] = []
        while not arm.over and arm.steps < arm.most_steps:
            if not rows:
                chunk = policy.predict(list(arm.images().values()), plan.instruction, arm.state())
                rows = list(chunk[:4].astype(np.float32))  # what is sent is float32
            arm.step(rows.pop(0))
        found.append((arm.result().success, arm.steps))
    arm.close()
    return found


def test_vla_eval_gets_the_same_episodes_as_without_it(tmp_path):
    results = vla_eval.evaluate(
        VlaAdapterModelServer(CHECKPOINT, device="cpu"), CONFIG, output_dir=tmp_path, docker=False
    )
    (task,) = results[0]["tasks"]
    found = [(e["metrics"]["success"], e["steps"]) for e in task["episodes"]]
    assert found == directly(2)
    assert results[0]["mean_success"] == 1.0


@pytest.mark.slow
def test_the_commands_of_both_sides(tmp_path):
    """`vla-adapter serve` in one process, `vla-eval run` in another."""
    config = tmp_path / "pick.json"
    config.write_text(json.dumps(CONFIG | {"output_dir": str(tmp_path / "results")}))
    serve = [sys.executable, "-m", "vla_adapter_ros.cli.main", "serve", "--device", "cpu", "--port", "8765"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            for line in server.stdout:
                if line.startswith("ready"):
                    break
            command = shutil.which("vla-eval", path=str(Path(sys.executable).parent))
            run = [
                command,
                "run",
                "--no-docker",
                "--config",
                str(config),
                "--server-url",
                "ws://127.0.0.1:8765",
            ]
            done = subprocess.run(run, capture_output=True, text=True, timeout=280, env=dict(os.environ))
        finally:
            server.terminate()
    assert done.returncode == 0, done.stderr
    assert "2/2" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def libero():
    return VlaAdapterModelServer(str(OFFICIAL), platform="libero", device="cpu")


def test_libero_is_asked_for_as_published_and_its_specs_fit(libero):
    params = libero.get_observation_params()
    assert params == {
        "send_state": True, "send_wrist_image": True, "env_seed": 0, "quat_no_antipodal": True
    }  # fmt: skip
    benchmark = LIBEROBenchmark(**params)
    specs = libero.get_action_spec(), benchmark.get_action_spec()
    assert check_specs(*specs, libero.get_observation_spec(), benchmark.get_observation_spec()) == []


def test_libero_rows_are_those_of_the_published_evaluation(libero):
    """Upright images of the harness are what the official evaluation sees after its turn."""
    rng = np.random.default_rng(0)
    raw = {name: rng.integers(0, 255, (256, 256, 3), np.uint8) for name in ("agentview", "wrist")}
    state = rng.normal(size=8) * 0.1
    sent = {
        "images": {name: np.ascontiguousarray(image[::-1, ::-1]) for name, image in raw.items()},
        "states": state,
        "task_description": "pick up the black bowl",
    }
    rows = libero.predict(sent, SessionContext("s", "e"))["actions"]
    official = VlaAdapterPolicy.from_pretrained(OFFICIAL, platform="libero")
    expected = official.predict(list(raw.values()), "pick up the black bowl", state)
    np.testing.assert_allclose(rows[:, :6], expected[:, :6], atol=1e-6)
    np.testing.assert_array_equal(rows[:, 6], -np.sign(2 * expected[:, 6] - 1))
    assert libero.chunk_size == 8


def test_what_cannot_be_answered_is_refused(libero):
    with pytest.raises(ObservationError, match="no state"):
        libero.predict({"images": dict.fromkeys("ab", np.zeros((8, 8, 3), np.uint8))}, None)
    with pytest.raises(ParameterError, match="allowed is 1 to 8"):
        VlaAdapterModelServer(CHECKPOINT, device="cpu", rows=9)
