"""A policy that knows where the cubes lie."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.simulation.cube_colors import COLORS
from vla_adapter_ros.simulation.robot import SimulatedRobot

CONTRACT = read_contract("franka_sim")
ROWS = 8


def color_in(instruction: str) -> str:
    """The one color that an instruction names."""
    (color,) = [color for color in COLORS if color in instruction.split()]
    return color


class Oracle:
    """Knows where the cubes lie: goes above the named one, down, closes, and up."""

    config = SimpleNamespace(chunk=ROWS, max_delay_rows=0)

    def __init__(self, robot: SimulatedRobot, choose=color_in) -> None:
        self.robot, self.choose = robot, choose
        self.texts, self.reset_at = [], None

    def predict(self, images, instruction, proprio, committed=None):
        assert [image.shape for image in images] == [(112, 112, 3)] * 2
        assert proprio.shape == (len(CONTRACT.state),)
        self.texts.append(instruction)
        cube = self.robot.object_positions()[self.choose(instruction)]
        tool, arm = proprio[8:11], proprio[:7]
        above = np.array([cube[0], cube[1], 0.15])
        held = self.robot.gripper_command() < 0.035
        if held:
            goal, gripper = above + np.array([0, 0, 0.1]), 0.0
        elif np.linalg.norm(tool[:2] - cube[:2]) > 0.012:
            goal, gripper = above, 1.0
        else:
            goal, gripper = np.array([cube[0], cube[1], 0.022]), float(tool[2] > 0.03)
        joints = self.robot.kinematics.inverse(goal)
        way = np.clip(joints - arm, -0.12, 0.12)
        steps = np.minimum(np.arange(1, ROWS + 1) / 4, 1.0)[:, None]
        return np.column_stack([arm + steps * way, np.full(ROWS, gripper)])
