"""Demonstrations without ROS nodes: what the data set holds, and a policy that leads before the expert."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated arm needs mujoco: pip install mujoco")

from vla_adapter_ros.cli.collect_directly import collect_directly
from vla_adapter_ros.cli.seen_scenes import first_scene
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import DatasetError, ParameterError
from vla_adapter_ros.evaluation.demonstrations import DemonstrationLoop
from vla_adapter_ros.model.checkpoint_location import find_checkpoint

CONTRACT = read_contract("franka_sim")
GRIPPER = CONTRACT.gripper_places[0]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    root = tmp_path_factory.mktemp("direct") / "set"
    return root, collect_directly(root, 3, seed=20_000)


def test_the_data_set_holds_what_a_recorder_would_have_recorded(recorded):
    root, result = recorded
    reader = DatasetReader(root)
    assert result.episodes == len(reader.episodes) == 3
    assert first_scene(root, None) == 20_000 + result.episodes + result.discarded
    for number in range(3):
        rows = reader.rows(number)
        stamps = np.asarray(rows["capture.stamp"])
        assert np.diff(stamps) == pytest.approx(0.1)
        actions = np.asarray(rows["action"])
        gripper = CONTRACT.grippers[0]
        assert actions[0, GRIPPER] == gripper.open and actions[-1, GRIPPER] == gripper.closed
        assert set(np.asarray(rows["control_source"])) == {1}
        # the arm comes one lead time later to where it is told to
        arm = CONTRACT.arm_places
        behind = np.abs(np.asarray(rows["observation.state"])[1:, : len(arm)] - actions[:-1, arm])
        assert behind.max() < 0.15 and behind.mean() < 0.02


def test_scenes_that_are_there_are_refused_and_others_are_added(recorded):
    root, _ = recorded
    with pytest.raises(DatasetError, match="may show the scenes"):
        collect_directly(root, 1, seed=20_000)
    with pytest.raises(ParameterError, match="suite"):
        collect_directly(root, 1, suite="nonsense")


def test_after_a_policy_the_expert_goes_on_from_where_it_stands():
    loop = DemonstrationLoop(CONTRACT, "pick", 30_000, checkpoint=find_checkpoint("franka_sim_tiny_delayed"))
    alone = DemonstrationLoop(CONTRACT, "pick", 30_000)
    try:
        found = [tried for number in range(5) for tried in loop.run(number)]
        assert 2 <= len(found) and all(tried.done for tried in found)
        for tried in found:
            (fresh,) = alone.run(tried.plan.number)
            moved = tried.frames[0].state - fresh.frames[0].state
            assert np.abs(moved).max() > 0.05, "the policy has led"
            assert tried.frames[0].stamp > 0.4
    finally:
        loop.close()
        alone.close()


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_data(tmp_path):
    for jobs in (1, 2):
        collect_directly(tmp_path / str(jobs), 4, suite="tabletop", seed=40_000, jobs=jobs)
    one, two = (DatasetReader(tmp_path / jobs) for jobs in ("1", "2"))
    for number in range(4):
        first, second = one.rows(number), two.rows(number)
        assert one.episodes[number].tasks == two.episodes[number].tasks
        assert np.abs(np.asarray(first["action"][:20]) - np.asarray(second["action"][:20])).max() < 1e-5
