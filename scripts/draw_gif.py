"""Draw docs/demo.gif: the shipped policy obeys two instructions on the same scene, in the simulator.

`python scripts/draw_gif.py [SCENE]`. The policy sees its own cameras' images; the pictures are larger views
of the same two cameras. Simulated time, no ROS, no latency, as in `vla-adapter evaluate closed-loop`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vla_adapter_ros.contract.resources import checkpoints_folder
from vla_adapter_ros.evaluation.policy_loop import run_policy
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.simulation.cube_instructions import cube_instruction
from vla_adapter_ros.simulation.render import make_renderer
from vla_adapter_ros.simulation.robot import SimulatedRobot

TARGET = Path(__file__).resolve().parents[1] / "docs" / "demo.gif"
SIDE, CAPTION, FRAMES_PER_S = 360, 44, 10


class FilmedRobot(SimulatedRobot):
    """A simulated robot of which a picture is kept ten times per second."""

    def film(self, text: str, pictures: list[np.ndarray]) -> None:
        """From now on draw into `pictures`, under this text."""
        self._text, self._pictures = text, pictures
        self._large = make_renderer(self.world.model, SIDE, SIDE, "raycast")

    def advance(self, seconds: float) -> None:
        """As the robot's own, with a picture where one is due."""
        if round(self.time * 1000) % (1000 // FRAMES_PER_S) == 0:
            views = [self._large.render(self.world.data, name) for name in self.contract.camera_names]
            strip = np.full((CAPTION, 2 * SIDE, 3), 24, np.uint8)
            cv2.putText(strip, self._text, (14, 29), cv2.FONT_HERSHEY_DUPLEX, 0.7, (240,) * 3, 1, cv2.LINE_AA)
            self._pictures.append(np.vstack([np.hstack(views), strip]))
        super().advance(seconds)


def main(scene: int) -> None:
    """Write the animation and say what was lifted."""
    policy = VlaAdapterPolicy.from_pretrained(checkpoints_folder() / "franka_sim_tiny")
    robot = FilmedRobot(policy.contract, "raycast")
    colors = robot.reset(scene).names
    pictures: list[np.ndarray] = []
    for color in colors[:2]:
        robot.reset(scene)
        text = cube_instruction(color, 0)
        robot.film(f"> {text}", pictures)
        run = run_policy(policy.contract, robot, policy, text, longest_s=10.0, after_lift_s=0.8)
        print(f"scene {scene}, {text!r}: lifted {run.lifted or 'nothing'} after {run.duration_s:.1f} s")
    frames = [Image.fromarray(picture).quantize(64, dither=Image.Dither.NONE) for picture in pictures]
    frames[0].save(TARGET, save_all=True, append_images=frames[1:], duration=1000 // FRAMES_PER_S, loop=0)
    print(f"{TARGET}: {len(frames)} pictures, {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 900_003)
