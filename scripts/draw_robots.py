"""Draw docs/how-to/robots/NAME.png: each simulated robot while a script lifts a cube, without ROS.

`python scripts/draw_robots.py [NAME ...]`. The pictures are larger views of the robot's own cameras.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.simulation.expert import PickExpert
from vla_adapter_ros.simulation.render import make_renderer
from vla_adapter_ros.simulation.robot import SimulatedRobot

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "robots"
NAMES = ("fr3_sim", "fr3_duo_sim", "ur5e_sim", "so101_sim")
WIDTH, HEIGHT = 400, 300
SCENE, PERIOD_S, LONGEST_S = 1, 0.01, 10.0


def pick(contract: Contract, robot: SimulatedRobot, color: str, longest_s: float) -> PickExpert:
    """Let the script pick a cube up: its commands go to the drivers, without a controller's limits."""
    expert, begun = PickExpert(robot, color), robot.time
    columns = {joint: column for column, joint in enumerate(contract.action_joints) if joint}
    while not expert.done and robot.time < begun + longest_s:
        command = expert.command(robot.time)
        for number, group in enumerate(contract.command_groups):
            wanted = command[[columns[joint] for joint in group.joints]]
            if contract.command.type == "joint_trajectory":
                robot.accept_trajectory(group.joints, robot.time, [0.1], [wanted], group=number)
            else:
                here = robot.joint_positions()[[robot.joint_names.index(joint) for joint in group.joints]]
                robot.accept_forward(here + (wanted - here) / 2, group=number)
        for number, gripper in enumerate(contract.grippers):
            opened = command[contract.gripper_places[number]] == gripper.open
            robot.accept_gripper(gripper.open_position if opened else gripper.closed_position, number)
        robot.advance(PERIOD_S)
    return expert


def main(names: list[str]) -> None:
    """Write a picture per robot."""
    for name in names:
        contract = read_contract(name)
        robot = SimulatedRobot(contract, "raycast")
        pick(contract, robot, robot.reset(SCENE).names[0], LONGEST_S)
        print(f"{contract.name}: lifted {robot.lifted() or 'nothing'} after {robot.time:.1f} s")
        large = make_renderer(robot.world.model, WIDTH, HEIGHT, "raycast")
        views = [large.render(robot.world.data, camera) for camera in contract.camera_names]
        picture = Image.fromarray(np.hstack(views)).quantize(128, dither=Image.Dither.NONE)
        picture.save(FOLDER / f"{name}.png", optimize=True)
        print(f"{FOLDER / name}.png: {(FOLDER / f'{name}.png').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:] or list(NAMES))
