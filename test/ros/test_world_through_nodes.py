"""A world of others behind policy and controller: rows pass through, and lead where they lead directly."""

from __future__ import annotations

import numpy as np
import pytest
from stand_in_world import use_stand_in

from vla_adapter_ros.cli.world_through_nodes import WorldBridge, world_nodes
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.evaluation.conditions import conditions
from vla_adapter_ros.evaluation.metaworld import MetaWorldSuite
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.simulation.worlds.environments import world_python
from vla_adapter_ros.simulation.worlds.process import WorldProcess

CONTRACT, SUITE = read_contract("metaworld"), MetaWorldSuite()
SIZES = {name: camera.size for name, camera in CONTRACT.cameras.items()}
STEPS = 50


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A policy with random weights for the world's arm."""
    import torch

    from vla_adapter_ros.model import Statistics, Tokenizer, VlaAdapter, VlaAdapterPolicy, preset

    torch.manual_seed(0)
    config = preset("tiny", num_images=2, action_dim=4, proprio_dim=4)
    backbone = VlaAdapterPolicy(VlaAdapter(config), config, Tokenizer.from_words())
    plain = {"mean": 0.0, "std": 0.5, "min": -1.0, "max": 1.0, "q01": -1.0, "q99": 1.0}
    entry = {key: [value] * 4 for key, value in plain.items()}
    statistics = Statistics.from_dict("plain", {"action": entry, "proprio": entry})
    policy = backbone.with_new_head(
        action_dim=4, proprio_dim=4, chunk=8, statistics=statistics, contract=CONTRACT
    )
    path = tmp_path_factory.mktemp("checkpoint") / "random_metaworld"
    policy.save_pretrained(path)
    return path


@pytest.mark.parametrize("real", [False, True], ids=["stand-in", "Meta-World"])
def test_rows_that_passed_through_the_nodes_lead_where_they_lead_directly(
    real, checkpoint, tmp_path, monkeypatch
):
    if real:
        try:
            python, child = world_python("metaworld"), SUITE.child
        except SimulationError as error:
            pytest.skip(str(error))
    else:
        python, child = use_stand_in(monkeypatch), "stand_in_world"
    wanted = conditions("metaworld", checkpoint, episodes=2)
    nodes = world_nodes(wanted, str(checkpoint / "contract.yaml"), "cpu")
    with (
        WorldProcess(python, child, SIZES) as world,
        GraphRunner(nodes, tmp_path / "logs", simulate=True) as graph,
        WorldBridge(CONTRACT, world, SUITE, graph.check_alive) as bridge,
    ):
        for plan in SUITE.plans(2, 0):
            driven = bridge.run(plan, STEPS)
            assert driven.steps == STEPS and driven.rows.shape == (-(-STEPS // SUITE.steps_per_row), 4)
            assert driven.chunks >= 3 and np.abs(np.diff(driven.rows, axis=0)).max() > 1e-4
            ended = world.physics()
            world.reset(SUITE.world_task(plan), plan.scene)
            now = world.step(np.repeat(driven.rows, SUITE.steps_per_row, axis=0)[:STEPS])
            assert now.taken == STEPS and np.array_equal(world.physics(), ended)
