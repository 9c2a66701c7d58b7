"""A suite whose episodes are harder than the demonstrations were, each in one way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.choices import Perturbation
from vla_adapter_ros.evaluation.policy_loop import Policy
from vla_adapter_ros.evaluation.suite import Judge, Plan, TableSuite
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.scene import Scene
from vla_adapter_ros.simulation.things import FORMS, ROOM, Thing

CAMERA_M = 0.02
LIGHT = (0.55, 1.45)  # gain of all colors: darker or brighter
LATENCY_S = 0.1
DROPPED = 0.3  # of the frames
SLIPS_PER_S = 0.4
_GRAYS = ((0.25, 0.25, 0.25), (0.75, 0.75, 0.75))
_ROOM_X, _ROOM_Y, _APART_M = (0.36, 0.62), (-0.20, 0.20), 0.085
_MOST_TRIES = 200


class PerturbedSuite:
    """Another suite's episodes; the ways in which they are harder come in turn and are its tasks.

    Args:
        suite: The other one.
    """

    def __init__(self, suite: TableSuite) -> None:
        self._suite = suite
        self.name, self.table = f"{suite.name}_perturbed", suite.table
        self.longest_s, self.episodes, self.seed = suite.longest_s, suite.episodes, suite.seed
        self.renderers, self.groups = suite.renderers, suite.groups
        mean = float(np.mean(list(suite.chance.values())))
        self.chance: Mapping[str, float] = {str(kind): mean for kind in Perturbation}

    def plans(self, episodes: int, seed: int) -> Sequence[Plan]:
        """The episodes."""
        return [self._harder(plan) for plan in self._suite.plans(episodes, seed)]

    def demonstration(self, number: int, scene: int) -> Plan:
        """As in the other suite: what is shown is not harder."""
        return self._suite.demonstration(number, scene)

    def judge(self, plan: Plan) -> Judge:
        """As in the other suite."""
        return self._suite.judge(plan)

    def _harder(self, plan: Plan) -> Plan:
        kinds = list(Perturbation)
        # Not by the number alone, with which the verbs come in turn, too.
        kind = kinds[(plan.number + plan.number // len(kinds)) % len(kinds)]
        return dataclasses.replace(plan, task=str(kind), perturbation=kind)


def put_up(robot: SimulatedRobot, plan: Plan) -> None:
    """Put up a plan's scene, with what makes it harder."""
    scene = robot.reset(plan.scene)
    if plan.perturbation is None:
        return
    rng = np.random.default_rng([plan.scene, 3])
    for camera in robot.contract.camera_names:
        robot.world.displace_camera(camera, np.zeros(3), np.zeros(3))
    if plan.perturbation is Perturbation.CAMERA:
        shift = rng.normal(size=3)
        camera = robot.contract.reference_camera
        robot.world.displace_camera(camera, CAMERA_M * shift / np.linalg.norm(shift), np.zeros(3))
    elif plan.perturbation is Perturbation.LIGHT:
        robot.reset_scene(_lit(scene, float(rng.choice(LIGHT))))
    elif plan.perturbation is Perturbation.DISTRACTORS:
        robot.reset_scene(_with_more(scene, robot, rng))
    elif plan.perturbation is Perturbation.SLIP:
        robot.set_disturbance(0.0, plan.scene, SLIPS_PER_S)


def latency_of(plan: Plan) -> float:
    """What is added to the latency [s]."""
    return LATENCY_S if plan.perturbation is Perturbation.LATENCY else 0.0


def seeing(policy: Policy, plan: Plan) -> Policy:
    """The policy, which gets some frames not anew where frames are lost."""
    return _Loses(policy, plan.scene) if plan.perturbation is Perturbation.FRAMES else policy


class _Loses:
    """Of each frame that is lost, the policy sees the images before."""

    def __init__(self, policy: Policy, seed: int) -> None:
        self.config, self._policy = policy.config, policy
        self._rng = np.random.default_rng([seed, 4])
        self._images: list[np.ndarray] | None = None

    def predict(self, images: list[np.ndarray], *others: Any) -> np.ndarray:
        if self._images is None or self._rng.random() >= DROPPED:
            self._images = images
        return self._policy.predict(self._images, *others)


def _lit(scene: Scene, gain: float) -> Scene:
    def lit(thing: Thing) -> Thing:
        red, green, blue = np.clip(gain * np.array(thing.rgb), 0.0, 1.0).tolist()
        return dataclasses.replace(thing, rgb=(red, green, blue))

    return dataclasses.replace(
        scene, things=tuple(map(lit, scene.things)), table_shade=gain * scene.table_shade
    )


def _with_more(scene: Scene, robot: SimulatedRobot, rng: np.random.Generator) -> Scene:
    """The scene with up to two gray things more, where there is room."""
    things = list(scene.things)
    for gray in _GRAYS:
        room = ROOM[robot.table]
        shapes = [s for s in room if FORMS[s].movable and sum(t.shape is s for t in things) < room[s]]
        if not shapes:
            break
        shape, yaw = shapes[rng.integers(len(shapes))], float(rng.uniform(-1.0, 1.0))
        for _ in range(_MOST_TRIES):
            place = float(rng.uniform(*_ROOM_X)), float(rng.uniform(*_ROOM_Y)), FORMS[shape].half[2]
            if min(np.linalg.norm(np.subtract(place, t.position)[:2]) for t in things) >= _APART_M:
                things.append(Thing(f"gray {shape} {len(things)}", shape, place, yaw, gray))
                break
    return dataclasses.replace(scene, things=tuple(things))
