"""Rows that count from the joints' positions: what is learned, what is predicted, what survives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ModelConfigError, TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.relative_rows import relative_columns, with_relative_rows

CONTRACT = read_contract("franka_sim")
TASK = "pick up the red cube"


def test_each_joint_counts_from_its_own_position_and_the_gripper_is_absolute():
    columns = relative_columns(CONTRACT)
    named = [CONTRACT.state_names[n] if n >= 0 else None for n in columns]
    assert named == [*CONTRACT.arm_joints, None]
    scrambled = dataclasses.replace(CONTRACT, state=CONTRACT.state[::-1])
    places = relative_columns(scrambled)
    assert [scrambled.state_names[n] for n in places[:7]] == list(CONTRACT.arm_joints)


def test_a_prediction_moves_with_the_state_it_counts_from(tiny_policy, images):
    relative, state = with_relative_rows(tiny_policy, CONTRACT, True), np.full(11, 0.2)
    plain, moved = (policy.predict(images, TASK, state) for policy in (tiny_policy, relative))
    origin = tiny_policy.unnormalize_actions(relative.row_origin(state))
    zero = tiny_policy.unnormalize_actions(np.zeros(8))
    np.testing.assert_allclose(moved - plain, np.broadcast_to(origin - zero, (8, 8)), atol=1e-9)
    np.testing.assert_allclose(origin[:7], 0.2, atol=1e-9)  # the gripper's is not moved
    assert (moved - plain)[:, 7].max() == 0.0


def test_a_joint_that_hardly_moves_in_the_data_stays_absolute(tiny_policy):
    """Its normalized range is so small that what it measures beside it would be thousands."""
    relative = with_relative_rows(tiny_policy, CONTRACT, True)
    action = relative.statistics.action
    still = dataclasses.replace(action, q01=action.q01.copy(), q99=action.q01 + 1e-7 + (np.arange(8) != 2))
    relative = relative.replace(statistics=dataclasses.replace(relative.statistics, action=still))
    origin = relative.row_origin(np.full(11, 0.2))
    assert origin[2] == 0.0 and (origin[[0, 1, 3, 4, 5, 6]] != 0.0).all()


def test_it_survives_a_checkpoint_and_is_undone(tiny_policy, images, tmp_path):
    relative, state = with_relative_rows(tiny_policy, CONTRACT, True), np.full(11, 0.2)
    relative.save_pretrained(tmp_path / "relative")
    again = VlaAdapterPolicy.from_pretrained(tmp_path / "relative")
    assert again.config == relative.config
    close = relative.predict(images, TASK, state)
    assert np.abs(again.predict(images, TASK, state) - close).max() < 0.05  # bf16
    back = with_relative_rows(relative, CONTRACT, False)
    np.testing.assert_array_equal(back.predict(images, TASK, state), tiny_policy.predict(images, TASK, state))


def test_other_action_spaces_and_bad_places_are_refused(tiny_policy):
    robot = read_contract("franka_sim_ee")
    with pytest.raises(TrainingError, match=r"relative_rows with an action of ee_.*joint_position"):
        with_relative_rows(tiny_policy, robot, True)
    for places in ((0,), (11,) * 8, (-2,) * 8):
        with pytest.raises(ModelConfigError, match=r"relative_to = .*nothing, or 8 places from -1 to 10"):
            dataclasses.replace(tiny_policy.config, relative_to=places)
