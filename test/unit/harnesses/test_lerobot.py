"""The real LeRobot runs our checkpoints: run by `make lerobot-policy`, in an environment of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lerobot", reason="LeRobot is not installed: `make lerobot-policy` has it")
pytest.importorskip(
    "lerobot_policy_vla_adapter", reason="the plug-in is not installed: `make lerobot-policy`"
)

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.factory import make_env, make_env_config
from lerobot.envs.utils import preprocess_observation
from lerobot.policies import get_policy_class, make_policy, make_pre_post_processors
from lerobot_policy_vla_adapter import VlaAdapterConfig
from lerobot_policy_vla_adapter.__main__ import write_folder

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.evaluation.stepped import SteppedArm
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_location import find_checkpoint

CHECKPOINT = "franka_sim_tiny"
SEED = 1000
COMMAND = Path(sys.executable).parent / "lerobot-eval"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    write_folder(CHECKPOINT, folder)
    return folder


def directly(seed: int) -> tuple[bool, list[np.ndarray]]:
    """Success and rows of an episode, without LeRobot."""
    arm = SteppedArm(read_contract("franka_sim"))
    policy = VlaAdapterPolicy.from_pretrained(find_checkpoint(CHECKPOINT))
    plan = arm.suite.demonstration(seed, seed)
    arm.begin(plan)
    sent: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    while not arm.over and arm.steps < arm.most_steps:
        if not rows:
            state = arm.state().astype(np.float32)  # LeRobot's type, also of the rows
            chunk = policy.predict(list(arm.images().values()), plan.instruction, state)
            rows = list(chunk[:4].astype(np.float32))
        sent.append(rows.pop(0))
        arm.step(sent[-1])
    arm.close()
    return arm.result().success, sent


def test_lerobot_finds_the_policy_and_the_folder_says_what_it_takes(folder):
    config = PreTrainedConfig.from_pretrained(folder)
    assert isinstance(config, VlaAdapterConfig) and config.n_action_steps == 4
    assert set(config.image_features) == {"observation.images.third_view", "observation.images.gripper"}
    assert config.robot_state_feature.shape == (11,) and config.action_feature.shape == (8,)
    assert get_policy_class("vla_adapter").name == "vla_adapter"
    assert {path.name for path in folder.iterdir()} >= {
        "config.json", "vla_adapter", "policy_preprocessor.json", "policy_postprocessor.json"
    }  # fmt: skip


def test_the_rows_are_those_without_lerobot(folder):
    """Through LeRobot's own pipelines, from its environment."""
    environment = make_env_config("vla_adapter_sim")
    config = PreTrainedConfig.from_pretrained(folder)
    config.pretrained_path = folder
    policy = make_policy(config, env_cfg=environment)
    before, after = make_pre_post_processors(config, folder)
    (env,) = make_env(environment)["pick"].values()
    expected = directly(SEED)[1]
    observation, _ = env.reset(seed=[SEED])
    policy.reset()
    for row in expected[:10]:
        seen = preprocess_observation(observation) | {"task": list(env.call("task_description"))}
        action = after(policy.select_action(before(seen))).numpy()
        np.testing.assert_allclose(action[0], row, atol=1e-6)
        observation, *_ = env.step(action)
    env.close()


def test_a_batch_is_answered_one_by_one(folder):
    policy = get_policy_class("vla_adapter").from_pretrained(folder)
    torch.manual_seed(0)
    batch = {key: torch.rand(2, 3, 112, 112) for key in policy.config.image_features}
    batch |= {"observation.state": torch.rand(2, 11), "task": ["pick up the red cube", "lift the blue cube"]}
    both = policy.predict_action_chunk(batch)
    assert both.shape == (2, 8, 8) and both.dtype == torch.float32
    second = {key: value[1:] for key, value in batch.items()}
    torch.testing.assert_close(policy.predict_action_chunk(second)[0], both[1])


def test_training_is_not_lerobots(folder):
    policy = get_policy_class("vla_adapter").from_pretrained(folder)
    with pytest.raises(NotImplementedError, match="vla-adapter finetune"):
        policy.forward({})
    with pytest.raises(ValueError, match="allowed is 1 to 8"):
        config = VlaAdapterConfig(checkpoint=CHECKPOINT, n_action_steps=9, device="cpu")
        get_policy_class("vla_adapter")(config)


@pytest.mark.slow
@pytest.mark.parametrize("recording", [False, True])
def test_the_command_evaluates_and_records(folder, tmp_path, recording):
    """`lerobot-eval` as a user types it; LeRobot records the episodes of one batch alone."""
    output = tmp_path / "out"
    done = subprocess.run(
        [
            COMMAND, f"--policy.path={folder}", "--policy.device=cpu", "--env.type=vla_adapter_sim",
            "--eval.n_episodes=2", f"--eval.batch_size={1 + recording}",
            f"--eval.recording={str(recording).lower()}",
            f"--seed={SEED}", f"--output_dir={output}",
        ],
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((output / "eval_info.json").read_text())
    expected = [directly(SEED + k)[0] for k in range(2)]
    assert found["overall"]["pc_success"] == 100 * np.mean(expected)
    if recording:
        assert list(output.rglob("meta/info.json"))


@pytest.mark.skipif(shutil.which("lerobot-rollout", path=COMMAND.parent) is None, reason="no lerobot-rollout")
def test_rollout_takes_the_folder(folder):
    """Its configuration is read as the command does; a robot is not moved here."""
    from lerobot.rollout.context import _load_pretrained_policy

    config = PreTrainedConfig.from_pretrained(folder)
    config.pretrained_path = str(folder)
    assert _load_pretrained_policy(config).config.n_action_steps == 4
