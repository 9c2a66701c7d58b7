"""How often a policy succeeds while a camera stands elsewhere than in its demonstrations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context

import numpy as np
import torch

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.harness import run_plan
from vla_adapter_ros.evaluation.pick import CUBES, UNSEEN_SEED, PickSuite
from vla_adapter_ros.evaluation.suite import Result
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.simulation.robot import SimulatedRobot

SHIFTS_CM = (0.0, 0.5, 1.0, 2.0, 5.0)
TURNS_DEG = (0.5, 1.0, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Displacement:
    """How far a camera stands from where it stood in the demonstrations.

    The direction is drawn by the scene's seed, the same at every size, so that the sizes can be compared.
    """

    camera: str
    shift_cm: float = 0.0
    turn_deg: float = 0.0

    def apply(self, robot: SimulatedRobot, seed: int) -> None:
        """Displace the camera of a robot for the scene of a seed; all others stand where they belong."""
        restore_cameras(robot)
        directions = np.random.default_rng([seed, 1]).normal(size=(2, 3))
        shift, turn = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        robot.world.displace_camera(
            self.camera, self.shift_cm / 100 * shift, float(np.radians(self.turn_deg)) * turn
        )


def restore_cameras(robot: SimulatedRobot) -> None:
    """Put all cameras of a robot where they belong."""
    for camera in robot.contract.camera_names:
        robot.world.displace_camera(camera, np.zeros(3), np.zeros(3))


def displacements(
    camera: str, shifts_cm: Sequence[float] = SHIFTS_CM, turns_deg: Sequence[float] = TURNS_DEG
) -> list[Displacement]:
    """Those that are measured: none, shifts, turns."""
    shifts = [Displacement(camera, shift_cm=size) for size in dict.fromkeys((0.0, *shifts_cm))]
    return shifts + [Displacement(camera, turn_deg=size) for size in dict.fromkeys(turns_deg) if size]


class _Loop:
    """What a process needs: policy and robot, made once."""

    def __init__(self, checkpoint: str) -> None:
        self.policy = VlaAdapterPolicy.from_pretrained(checkpoint, device="cpu")
        if self.policy.contract is None:
            raise ParameterError(f"checkpoint {checkpoint} carries no contract: allowed is one that does")
        self.contract = self.policy.contract
        self.robot = SimulatedRobot(self.contract, "raycast")

    def run(self, displacement: Displacement, seed: int) -> list[Result]:
        displacement.apply(self.robot, seed)
        suite = PickSuite(self.robot.model)
        plans = suite.plans(CUBES, seed)
        return [run_plan(self.contract, self.robot, self.policy, suite, plan)[0] for plan in plans]


_loop: _Loop | None = None  # of a worker process


def _prepare(checkpoint: str) -> None:
    global _loop
    torch.set_num_threads(1)
    _loop = _Loop(checkpoint)


def _run(displacement: Displacement, seed: int) -> list[Result]:
    assert _loop is not None
    return _loop.run(displacement, seed)


def measure_success(
    checkpoint: str, wanted: list[Displacement], scenes: int, jobs: int
) -> Iterator[tuple[Displacement, list[Result]]]:
    """Let the policy lift each cube of unseen scenes, for each displacement.

    Args:
        checkpoint: Directory of a checkpoint with a contract of a simulated robot.
        wanted: Displacements, measured in this order.
        scenes: For each, at least 1.
        jobs: Processes, each with one thread.

    Raises:
        ParameterError: the checkpoint carries no contract.
        CheckpointError, SimulationError: the checkpoint or the simulator cannot be had.
    """
    seeds = range(UNSEEN_SEED, UNSEEN_SEED + scenes)
    with ProcessPoolExecutor(jobs, get_context("spawn"), _prepare, (checkpoint,)) as pool:
        for displacement in wanted:
            trials = pool.map(_run, repeat(displacement, scenes), seeds)
            yield displacement, [trial for found in trials for trial in found]
