"""Two arms with a gripper each, and arms without any, through the core: every tick, holds, stops, a human."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import two_hands
from receiver import DT, Arm

from vla_adapter_ros.contract import parse_contract
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.spaces import absolute_chunk
from vla_adapter_ros.errors import ChunkValueError, CommandError

CONTRACT = two_hands.CONTRACT
START = np.array([0.1, -0.2, 0.3, 0.4])
LEFT = np.array([1.0, 1.0, 0.45, 0.3, 0.55, 0.7, 0.7, 0.7])  # closes at row 3, opens at row 5
RIGHT = np.linspace(0.0, 1.4, 8)  # closes bit by bit, and asks for more than closed at the end
LEFT_POSITIONS = np.array([0.04, 0.04, 0.04, 0.0, 0.0, 0.04, 0.04, 0.04])
RIGHT_POSITIONS = 0.08 - 0.06 * np.minimum(RIGHT, 1.0)


def make_chunk(stamp: float, contract=CONTRACT, speed: float = 0.2, **changes) -> Chunk:
    rows = np.zeros((8, 6))
    rows[:, [0, 1, 3, 4]] = START + np.arange(8)[:, None] * speed / 10 * np.array([1, -1, -1, 1])
    rows[:, 2], rows[:, 5] = LEFT, RIGHT
    if not contract.grippers:
        rows = rows[:, [0, 1, 3, 4]]
    chunk = Chunk(stamp, rows, contract.action_names, contract.rate_hz, "session", 1, 0)
    return dataclasses.replace(chunk, **changes)


def make_arm(contract=CONTRACT) -> Arm:
    arm = Arm(MotionCore(contract), START)
    arm.run(0.1)
    return arm


def positions(arm: Arm, seconds: float) -> np.ndarray:
    """Positions of both grippers due at each tick: (T, 2)."""
    told = []
    for _ in range(round(seconds / DT)):
        arm.run(DT)
        told.append(arm.core.gripper_positions)
    return np.array(told)


def test_each_gripper_is_at_its_own_place_at_every_tick():
    arm = make_arm()
    begin = arm.now
    arm.core.accept_chunk(make_chunk(begin), begin)
    arm.run(0.2)  # a motion begins with a rest
    told = positions(arm, 0.8)
    decided = np.arange(1, 81) * DT + 0.2 - CONTRACT.command.command_delay_s  # after the stamp of row 0
    rows = np.minimum(np.floor(decided * CONTRACT.rate_hz + 1e-6).astype(int), 7)
    np.testing.assert_array_equal(told[:, 0], LEFT_POSITIONS[rows])
    np.testing.assert_allclose(told[:, 1], RIGHT_POSITIONS[rows], atol=1e-12)
    assert len(set(told[:, 0])) == 2 and len(set(told[:, 1])) > 5
    arm.check(Limits.of(CONTRACT))


def test_what_is_recorded_has_every_value_in_its_column():
    arm = make_arm()
    arm.core.accept_chunk(make_chunk(arm.now), arm.now)
    arm.run(0.45)
    command = dict(zip(CONTRACT.action_names, arm.tick.command, strict=True))
    assert (command["left_grip"], command["right_grip"]) == (LEFT[4], RIGHT[4])
    assert command["lead_left_waist"] > START[0] and command["lead_right_waist"] < START[2]
    trajectory = arm.core.trajectory(arm.now)
    assert trajectory.joints == ("left_waist", "left_elbow", "right_waist", "right_elbow")


@pytest.mark.parametrize("call", ["hold", "stop"])
@pytest.mark.parametrize(("at", "row"), [(0.43, 3), (0.46, 4)])
def test_a_hold_and_a_stop_leave_both_grippers_where_they_were_told_to_be_last(call, at, row):
    """Row 4 is due 0.5 s after the stamp: beyond the margin of the first stop, within that of the second."""
    arm = make_arm()
    arm.core.accept_chunk(make_chunk(arm.now), arm.now)
    arm.run(at)
    assert arm.core.gripper_positions == (0.0, pytest.approx(RIGHT_POSITIONS[3]))
    getattr(arm.core, call)()
    told = positions(arm, 2.0)
    assert (told[:, 0] == 0.0).all()
    np.testing.assert_allclose(told[5:, 1], RIGHT_POSITIONS[row])
    assert arm.resting
    held = dict(zip(CONTRACT.action_names, arm.tick.command, strict=True))
    assert held["left_grip"] == LEFT[4] and held["right_grip"] == RIGHT[4]
    np.testing.assert_allclose(arm.tick.command[CONTRACT.arm_places], arm.position, atol=1e-9)


def test_at_rest_each_gripper_is_taken_as_it_is_measured():
    core = MotionCore(CONTRACT)
    arms = dict(zip(CONTRACT.arm_joints, START, strict=True))
    core.measure(arms | {"left_finger": 0.001, "right_finger": 0.075}, 0.0, 0.0)
    assert core.tick(0.0).command[CONTRACT.gripper_places].tolist() == [0.0, 0.0]  # closed, open
    core.measure(arms | {"left_finger": 0.039, "right_finger": 0.021}, 0.01, 0.01)
    assert core.tick(0.01).command[CONTRACT.gripper_places].tolist() == [1.0, 1.0]  # open, closed


def test_a_human_drives_both_hands_by_the_leaders_names():
    arm = make_arm()
    for _ in range(60):
        command = np.array([START[0] + 0.1, START[1], 0.0, START[2], START[3], 0.5])
        arm.core.accept_teleop(command, arm.now, arm.now)
        arm.run(DT)
    assert arm.core.gripper_positions == (0.0, pytest.approx(0.05))
    assert arm.tick.source == "human" and arm.position[0] > START[0] + 0.05


def test_a_value_that_no_gripper_has_is_refused_by_its_name():
    arm = make_arm()
    rows = make_chunk(0.0).rows.copy()
    rows[2, 5] = 50.0
    with pytest.raises(ChunkValueError, match="row 2, right_grip = 50: 0 opens, 1 closes"):
        arm.core.accept_chunk(make_chunk(arm.now, rows=rows), arm.now)
    with pytest.raises(CommandError, match="right_grip = -70"):
        arm.core.accept_teleop(np.array([*START[:2], 1.0, *START[2:], -70.0]), arm.now, arm.now)


def test_deltas_leave_the_columns_of_grippers_alone():
    data = two_hands.raw()
    data["action"]["space"] = "joint_delta"
    contract = parse_contract(data)
    chunk = make_chunk(0.0, contract, space="joint_delta")
    result = absolute_chunk(chunk, contract, START, None)
    assert result.names == (*contract.arm_joints, "left_grip", "right_grip")
    np.testing.assert_array_equal(result.rows[:, 4], [*LEFT, LEFT[-1]])
    np.testing.assert_array_equal(result.rows[:, 5], [*RIGHT, RIGHT[-1]])
    np.testing.assert_allclose(result.rows[1, :4] - START, chunk.rows[0, [0, 1, 3, 4]])


def test_arms_without_grippers_move_and_hold():
    contract = two_hands.without_hands()
    arm = make_arm(contract)
    assert arm.tick.command.shape == (4,)
    arm.core.accept_chunk(make_chunk(arm.now, contract), arm.now)
    arm.run(0.6)
    assert arm.core.gripper_positions == () and arm.tick.command.shape == (4,)
    assert arm.position[0] > START[0] + 0.03 and arm.position[2] < START[2] - 0.03
    arm.core.hold()
    arm.run(1.0)
    assert arm.resting and arm.core.state == "holding"
    np.testing.assert_allclose(arm.tick.command, arm.position, atol=1e-9)
    arm.check(Limits.of(contract))
