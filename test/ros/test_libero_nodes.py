"""LIBERO behind the real nodes: the same simulator states as without them. Needs `make libero`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vla_adapter_ros.choices import SuiteName
from vla_adapter_ros.cli.world_through_nodes import WorldBridge, world_nodes
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control import Chunk
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.evaluation.conditions import conditions
from vla_adapter_ros.evaluation.libero import adopt, load_policy, open_world, run_episode
from vla_adapter_ros.evaluation.libero_suite import LiberoSuite
from vla_adapter_ros.msg import ActionChunk
from vla_adapter_ros.nodes.conversions import chunk_message
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.nodes.topics import CHUNK_TOPIC, NEWEST

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
CONTRACT = read_contract("libero")
OFFICIAL = next((Path(__file__).resolve().parents[1] / "data/golden/pro").glob("*_chkpt"))


@pytest.fixture(scope="module")
def world():
    try:
        world = open_world()
    except SimulationError as error:
        pytest.skip(str(error))
    with world:
        yield world


class Watched:
    """A world that remembers its states after each step."""

    def __init__(self, world):
        self._world, self.states, self.rows = world, [], []

    def step(self, actions):
        known = self._world.step(actions)
        self.states.append(self._world.physics())
        self.rows += [np.array(action) for action in actions][: known.taken]
        return known

    def __getattr__(self, name):
        return getattr(self._world, name)


class ScriptBridge(WorldBridge):
    """The scripted expert decides in place of a policy node: a chunk of one row per picture."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._publisher = self.node.create_publisher(ActionChunk, CHUNK_TOPIC, NEWEST)
        self._sent = 0
        self._lock_step.acknowledge("policy", 0.0, 0, 0)

    def _instruct(self, text, state):
        for _ in range(20):  # until the controller listens
            self._tick(state)
        self._going = bool(text)

    _going = False

    def _think(self, seen):
        if seen and self._going:
            self._sent += 1
            row = self._world.expert()
            chunk = Chunk(
                self.now, row[None], CONTRACT.action_names, CONTRACT.rate_hz, "script", 1, self._sent,
                CONTRACT.action.space,
            )  # fmt: skip
            self._publisher.publish(chunk_message(chunk, 1, self.now, 0.0))
            self._chunks = self._sent
        self._lock_step.acknowledge("policy", self.now, 0, self._sent)


def directly(world, task: str, most: int):
    """The script without nodes."""
    watched = Watched(world)
    known = watched.reset(task, 0)
    while not known.over and len(watched.rows) < most:
        known = watched.step(watched.expert()[None])
    return known.success, watched


@pytest.mark.parametrize("task", ["libero_object_0", "libero_spatial_0", "libero_goal_1"])
def test_a_script_gives_the_same_states_through_the_controller(world, tmp_path, task):
    suite = LiberoSuite(SuiteName(task.rsplit("_", 1)[0]))
    plan = next(plan for plan in suite.plans(suite.episodes, 0) if plan.task == task)
    success, expected = directly(world, task, 300)
    watched = Watched(world)
    controller = world_nodes(conditions(suite.name, "x"), "libero", "cpu")[0]
    with (
        GraphRunner([controller], tmp_path / "logs", simulate=True) as graph,
        ScriptBridge(CONTRACT, watched, suite, graph.check_alive) as bridge,
    ):
        driven = bridge.run(plan, 300)
    assert success and driven.judge.ending()[0] == "success"
    np.testing.assert_array_equal(driven.rows, expected.rows)
    np.testing.assert_array_equal(watched.states, expected.states)


def test_rows_of_random_weights_lead_where_they_lead_directly(world, tmp_path):
    suite = LiberoSuite(SuiteName.LIBERO_GOAL)
    plan = suite.plans(1, 0)[0]
    policy = load_policy(str(OFFICIAL), suite.name)
    direct, watched = Watched(world), Watched(world)
    run_episode(direct, policy, plan, 8, 24, on_step=lambda time: None)
    horizon = adopt(str(OFFICIAL), suite.name, tmp_path / "adopted")
    nodes: list[NodeSpec] = world_nodes(
        conditions(suite.name, tmp_path / "adopted"), suite.contract_name, "cpu", horizon
    )
    with (
        GraphRunner(nodes, tmp_path / "logs", simulate=True) as graph,
        WorldBridge(CONTRACT, watched, suite, graph.check_alive) as bridge,
    ):
        driven = bridge.run(plan, 24)
    assert driven.instruction == "open the middle drawer of the cabinet"
    # The first chunk is that of the direct evaluation; the node asks for the next one a row earlier.
    np.testing.assert_allclose(driven.rows[:7], direct.rows[:7], atol=1e-6)
    replayed = Watched(world)
    replayed.reset(plan.task, plan.scene)
    for row in driven.rows:
        replayed.step(row[None])
    np.testing.assert_array_equal(watched.states, replayed.states)
