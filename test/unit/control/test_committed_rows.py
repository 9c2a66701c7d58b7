"""What the controller carries out anyway, as rows."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control.committed_rows import committed_rows, resting_rows
from vla_adapter_ros.control.look_ahead import MotionAhead

CONTRACT = read_contract("franka_sim")  # 10 Hz; a command is reached 0.1 s later; gripper: 1 open, 0 closed


def motion(until: float) -> MotionAhead:
    """Joint n is at (n + 1) * t; the gripper is told to close at 5.25 s."""
    times = np.arange(5.0, until + 1e-9, 0.01)
    positions = times[:, None] * np.arange(1, 8)
    return MotionAhead(times, positions, np.ones_like(positions), np.where(times < 5.25, 0.04, 0.0)[:, None])


def test_a_row_is_what_brings_the_arm_where_it_will_be():
    rows = committed_rows(CONTRACT, motion(6.0), [0.04], 5.3, 3)
    reached = np.array([5.1, 5.2, 5.3])
    np.testing.assert_allclose(rows[:, :7], reached[:, None] * np.arange(1, 8), atol=1e-9)
    np.testing.assert_allclose(rows[:, 7], [1.0, 1.0, 0.0])  # a gripper is told when the arm gets there


def test_where_the_arm_is_slower_rows_are_farther_apart():
    rows = committed_rows(CONTRACT, motion(6.0), [0.04], 5.4, 2, row_s=0.2)
    np.testing.assert_allclose(rows[:, 0], [5.1, 5.3])


def test_beyond_what_is_known_the_arm_is_taken_to_stay():
    rows = committed_rows(CONTRACT, motion(5.15), [0.04], 5.4, 4)
    np.testing.assert_allclose(rows[1:, 0], 5.15)
    assert committed_rows(CONTRACT, motion(5.15), [0.04], 5.0, 0).shape == (0, 8)


def test_an_arm_that_rests_is_told_to_stay_with_its_gripper_as_it_is():
    joints = np.linspace(-1.0, 1.0, 7)
    rows = resting_rows(CONTRACT, joints, [0.002], 2)
    np.testing.assert_allclose(rows, np.tile(np.append(joints, 0.0), (2, 1)))
    assert resting_rows(CONTRACT, joints, [None], 1)[0, 7] == 1.0


def test_a_gripper_that_is_told_nothing_stays_as_it_is():
    silent = motion(6.0)
    silent = MotionAhead(silent.times, silent.positions, silent.velocities, np.zeros((len(silent.times), 0)))
    assert committed_rows(CONTRACT, silent, [0.001], 5.2, 2)[:, 7].tolist() == [0.0, 0.0]
    assert committed_rows(CONTRACT, silent, [None], 5.2, 2)[:, 7].tolist() == [1.0, 1.0]
