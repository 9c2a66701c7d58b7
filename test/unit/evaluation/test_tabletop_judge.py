"""Who judges what is done on the table with more than cubes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated arm needs mujoco: pip install mujoco")

from vla_adapter_ros.choices import Perturbation
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.evaluation.perturbed import PerturbedSuite, put_up
from vla_adapter_ros.evaluation.pick import PickSuite
from vla_adapter_ros.evaluation.suite import Ending, Sight
from vla_adapter_ros.evaluation.suites import TABLE_SUITES, table_suite
from vla_adapter_ros.evaluation.tabletop import HeldOutSuite, TabletopJudge, TabletopSuite
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.tabletop_tasks import Verb
from vla_adapter_ros.simulation.things import Shape, Thing

RED, BLUE, BOWL, PLATE, ZONE = "red cube", "blue cylinder", "bowl", "green plate", "green zone"
START = {
    RED: (0.45, 0.0, 0.02), BLUE: (0.5, 0.12, 0.02), BOWL: (0.5, 0.29, 0.016), PLATE: (0.5, -0.29, 0.004),
    ZONE: (0.45, 0.29, 0.0005),
}  # fmt: skip
SHAPES = {
    RED: Shape.CUBE, BLUE: Shape.CYLINDER, BOWL: Shape.BOWL, PLATE: Shape.PLATE, ZONE: Shape.ZONE,
}  # fmt: skip
THINGS = {name: Thing(name, SHAPES[name], at, 0.0, (0.5, 0.5, 0.5)) for name, at in START.items()}


def judged(verb: Verb, place: str, *steps, each_s: float = 0.1, repeat: int = 15):
    """What a judge says of steps: (opening, lifted, {name: place}), each seen for a while."""
    judge = TabletopJudge(verb, RED, place, THINGS)
    positions, time = {name: np.array(at) for name, at in START.items()}, 0.0
    over = judge.look(Sight(0.0, "", dict(positions), 1.0))
    for opening, lifted, moved in steps:
        for name, at in moved.items():
            positions[name] = np.array(at)
        for _ in range(repeat):
            time += each_s
            over = judge.look(Sight(time, lifted, dict(positions), opening))
            if over:
                break
    return over, *judge.ending()


UP = (0.45, 0.0, 0.12)
HELD = (0.5, RED, {RED: UP})
IN_BOWL, ON_PLATE, ON_BLUE = (0.51, 0.28, 0.026), (0.5, -0.28, 0.028), (0.502, 0.121, 0.06)


@pytest.mark.parametrize(
    ("verb", "place", "steps", "over", "ending"),
    [
        (Verb.PICK, "", [HELD], True, Ending.SUCCESS),
        (Verb.PICK, "", [(0.5, BLUE, {BLUE: (0.5, 0.12, 0.12)})], True, Ending.WRONG_OBJECT),
        (Verb.PICK, "", [(1.0, "", {BLUE: (0.5, 0.15, 0.02)})], True, Ending.WRONG_OBJECT),
        (Verb.PICK, "", [(0.5, "", {RED: ON_BLUE}), (0.5, "", {RED: START[RED]})], False, Ending.DROPPED),
        (Verb.PICK, "", [(0.0, "", {})], False, Ending.MISSED_GRASP),
        (Verb.PICK, "", [(1.0, "", {})], False, Ending.TIMED_OUT),
        (Verb.PUT, BOWL, [HELD, (1.0, "", {RED: IN_BOWL})], True, Ending.SUCCESS),
        (Verb.PUT, BOWL, [HELD, (0.5, "", {RED: IN_BOWL})], False, Ending.DROPPED),
        (Verb.PUT, BOWL, [HELD, (1.0, "", {RED: (0.51, 0.20, 0.02)})], False, Ending.DROPPED),
        (Verb.PUT, BOWL, [(0.5, BLUE, {BLUE: (0.5, 0.12, 0.1)})], True, Ending.WRONG_OBJECT),
        (Verb.PUT, PLATE, [HELD, (1.0, "", {RED: ON_PLATE})], True, Ending.SUCCESS),
        (Verb.PUT, PLATE, [HELD, (1.0, "", {RED: (0.5, -0.22, 0.02)})], False, Ending.DROPPED),
        (Verb.PUSH, ZONE, [(0.0, "", {RED: (0.45, 0.25, 0.02)})], True, Ending.SUCCESS),
        (Verb.PUSH, ZONE, [(0.0, "", {RED: (0.45, 0.22, 0.02)})], False, Ending.MISSED_GRASP),
        (Verb.PUSH, ZONE, [(0.5, "", {RED: (0.45, 0.1, 0.06)}), (1.0, "", {RED: (0.45, 0.29, 0.02)})], True,
         Ending.DROPPED),
        (Verb.STACK, BLUE, [HELD, (1.0, "", {RED: ON_BLUE})], True, Ending.SUCCESS),
        (Verb.STACK, BLUE, [HELD, (0.4, "", {RED: ON_BLUE})], False, Ending.DROPPED),
        (Verb.STACK, BLUE, [HELD, (1.0, "", {RED: (0.55, 0.121, 0.02)})], False, Ending.DROPPED),
    ],
)  # fmt: skip
def test_the_judge_says_how_an_episode_ended(verb, place, steps, over, ending):
    assert judged(verb, place, *steps)[:2] == (over, ending)


def test_what_is_let_go_must_rest_for_a_second():
    steps = [HELD, (1.0, "", {RED: IN_BOWL})]
    assert judged(Verb.PUT, BOWL, *steps, repeat=8)[0] is False
    assert judged(Verb.PUT, BOWL, *steps, repeat=12)[0] is True
    rolling = [(1.0, "", {RED: (0.48 + 0.01 * n, 0.28, 0.026)}) for n in range(8)]
    assert judged(Verb.PUT, BOWL, HELD, *rolling, repeat=3)[0] is False


def test_every_suite_has_plans_of_its_own_and_scenes_that_no_training_has():
    for name in TABLE_SUITES:
        suite = table_suite(name)
        plans = suite.plans(24, suite.seed)
        assert suite.name == name and len(plans) == 24 and min(plan.scene for plan in plans) >= 900_000
        assert set(suite.chance) >= {plan.task for plan in plans}
        counts = [sum(plan.task == task for plan in plans) for task in {plan.task for plan in plans}]
        assert max(counts) - min(counts) <= 1
        assert suite.plans(5, suite.seed) == plans[:5]


def test_held_out_scenes_are_no_others():
    with pytest.raises(SimulationError, match="held out are 950000"):
        HeldOutSuite().plans(4, 900_000)


@pytest.mark.parametrize("base", [PickSuite, TabletopSuite])
def test_each_perturbation_changes_what_it_says(base):
    suite = PerturbedSuite(base())
    robot = SimulatedRobot(read_contract("franka_sim"), "raycast", table=suite.table)
    plans = {plan.perturbation: plan for plan in suite.plans(12, suite.seed)}
    assert set(plans) == set(Perturbation)
    for kind, plan in plans.items():
        robot.world.displace_camera("third_view", np.zeros(3), np.zeros(3))
        plain = robot.reset(plan.scene)
        before = robot.render("third_view").astype(float)
        put_up(robot, plan)
        changed = np.abs(robot.render("third_view") - before).mean()
        scene = robot.scene
        if kind in (Perturbation.CAMERA, Perturbation.LIGHT):
            assert changed > 2.0 and scene.names == plain.names
        elif kind is Perturbation.DISTRACTORS:
            assert scene.names[: len(plain.names)] == plain.names and len(scene.names) > len(plain.names)
        else:
            assert changed == 0.0 and scene == plain
    put_up(robot, plans[Perturbation.CAMERA])
    put_up(robot, plans[Perturbation.LATENCY])  # the camera is back
    robot.reset(plans[Perturbation.CAMERA].scene)
    again = robot.render("third_view")
    put_up(robot, plans[Perturbation.CAMERA])
    assert np.abs(robot.render("third_view").astype(float) - again).mean() > 2.0
    robot.close()
