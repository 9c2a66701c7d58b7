"""Write what the shipped checkpoint knows of the scenes that its demonstrations began with.

`collect-demos` records the scenes from number 10 000 on, and its episodes begin as these scenes stand: they
are put up anew here, since the demonstrations are not kept. Checkpoints that `vla-adapter finetune` makes
have all this from their data sets.
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import checkpoints_folder, read_contract
from vla_adapter_ros.dataset.start_pose import start_pose, write_start_pose
from vla_adapter_ros.evaluation.policy_loop import measured_state
from vla_adapter_ros.scene_check.reference import MOST_VIEWS, make_reference
from vla_adapter_ros.scene_check.store import write_references
from vla_adapter_ros.simulation.robot import SimulatedRobot

FIRST_SCENE, DEMONSTRATIONS = 10_000, 300


def main() -> None:
    """Put the scenes up, and write their views and start poses into the checkpoint."""
    folder = checkpoints_folder() / "franka_sim_tiny"
    robot = SimulatedRobot(read_contract(folder / "contract.yaml"), "raycast")
    images: dict[str, list[np.ndarray]] = {name: [] for name in robot.contract.camera_names}
    states = []
    for number in range(DEMONSTRATIONS):
        robot.reset(FIRST_SCENE + number)
        states.append(measured_state(robot.contract, robot))
        if number % (DEMONSTRATIONS // MOST_VIEWS) == 0:
            for name, views in images.items():
                views.append(robot.render(name))
    write_references(folder, {name: make_reference(views) for name, views in images.items()})
    write_start_pose(folder, start_pose(np.array(states), robot.contract.state_names))


if __name__ == "__main__":
    main()
