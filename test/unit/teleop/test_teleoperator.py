"""A hand drives the arm through the core of the controller: with a clutch, without a jump, and no longer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import two_hands
from receiver import CONTRACT, HOME, LIMITS, Arm

from vla_adapter_ros.choices import JogSpace
from vla_adapter_ros.contract import parse_contract, read_contract
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.urdf import read_urdf
from vla_adapter_ros.errors import ContractError, KinematicsError, ParameterError
from vla_adapter_ros.teleop.arm_part import arm_part, part_kinematics, require_drivable
from vla_adapter_ros.teleop.hand import HandState
from vla_adapter_ros.teleop.teleoperator import LET_GO, STOP_S, MotionSettings, Teleoperator

DT = 0.02
REST = HandState()
HELD = HandState(clutch=True)
FRANKA_URDF = "package:franky_sim/assets/fr3.urdf"


def push(*motion: float, **more) -> HandState:
    return HandState(np.array([*motion, *[0.0] * (6 - len(motion))]), clutch=True, **more)


class Robot:
    """The controller's core with its arm, a teleoperator, and what went from one to the other."""

    def __init__(self, contract=CONTRACT, settings=None, kinematics=False, group=0, sag=0.0) -> None:
        pytest.importorskip("pinocchio") if kinematics else None
        self.part = arm_part(contract, group)
        self.operator = Teleoperator(contract, self.part, settings or MotionSettings())
        self.arm = Arm(MotionCore(contract), sag=sag)
        self.contract, self.sent = contract, []
        if kinematics:
            text = read_urdf(FRANKA_URDF)
            self.operator.set_kinematics(part_kinematics(contract, self.part, text))
            self.arm.core.set_kinematics(part_kinematics(contract, self.part, text))
            self.kinematics = part_kinematics(contract, self.part, text)
        self.run(0.1, REST)

    def run(self, seconds: float, hand: HandState | None) -> None:
        for _ in range(round(seconds / DT)):
            self.arm.run(DT)
            names = self.contract.arm_joints
            measured = dict(zip(names, self.arm.position - self.arm.sag, strict=True))
            if self.arm.joint_states:
                self.operator.measure(measured | {"fr3_finger_joint1": 0.04}, self.arm.now)
            if self.arm.tick.command is not None:
                self.operator.note_command(self.arm.tick.command, self.arm.now)
            row = self.operator.advance(hand, self.arm.now)
            self.sent.append(row)
            if row is not None:
                self.arm.core.accept_teleop(row, self.arm.now)

    @property
    def rows(self) -> np.ndarray:
        return np.array([row for row in self.sent if row is not None])


def test_without_the_clutch_nothing_is_sent_and_nothing_moves():
    robot = Robot()
    robot.run(1.0, dataclasses.replace(push(1, 1, 1, 1, 1, 1), clutch=False))
    assert not len(robot.rows) and robot.arm.tick.source == "none"
    np.testing.assert_array_equal(robot.arm.position, HOME)


def test_taking_the_clutch_moves_nothing_and_letting_go_brings_the_arm_to_rest():
    robot = Robot(kinematics=True)
    robot.run(0.5, HELD)
    np.testing.assert_allclose(robot.rows[:, :7], np.tile(HOME, (len(robot.rows), 1)), atol=1e-9)
    assert robot.arm.tick.source == "human"
    robot.run(1.0, push(1.0))
    moved = robot.kinematics.pose(robot.arm.position).position - robot.kinematics.pose(HOME).position
    assert 0.09 < moved[0] < 0.15 and np.abs(moved[1:]).max() < 2e-3
    sent = len(robot.rows)
    released = robot.arm.position.copy()
    robot.run(1.0, REST)
    assert len(robot.rows) - sent == round(STOP_S / DT), "afterwards nothing is sent"
    assert robot.arm.tick.source == "none"
    # 0.15 m/s were on their way for the command delay of 0.1 s; nothing moves beyond.
    ended = robot.kinematics.pose(robot.arm.position).position
    assert np.linalg.norm(ended - robot.kinematics.pose(released).position) < 0.035
    rest = robot.arm.position.copy()
    robot.run(0.5, dataclasses.replace(push(1.0), clutch=False))
    np.testing.assert_allclose(robot.arm.position, rest, atol=1e-5)
    robot.arm.check()


def test_the_arm_starts_again_where_it_was_left_however_far_it_sags():
    robot = Robot(sag=0.01)
    robot.run(0.3, HELD)  # nothing was commanded before: the arm is held where it is measured
    robot.run(0.6, REST)
    first = robot.arm.position.copy()
    for _ in range(3):
        robot.run(0.3, HELD)
        robot.run(0.6, REST)
    np.testing.assert_allclose(robot.arm.position, first, atol=1e-6, err_msg="it sinks by each press")


def test_a_clutch_that_was_held_before_anything_could_move_does_not_count():
    robot = Robot()
    for silence in (None, None):
        robot.run(0.1, silence)
        robot.run(0.3, push(1.0))
        assert not len(robot.rows) and robot.operator.problem == LET_GO
    robot.run(0.1, REST)
    robot.run(0.3, push(1.0))
    assert len(robot.rows) and not robot.operator.problem


def test_a_silent_device_is_let_go_and_must_take_the_clutch_anew():
    robot = Robot()
    robot.run(0.5, push(1.0))
    sent = len(robot.rows)
    robot.run(0.5, None)
    assert len(robot.rows) - sent == round(STOP_S / DT) and robot.arm.tick.source == "none"
    rest = robot.arm.position.copy()
    robot.run(0.5, push(1.0))
    np.testing.assert_allclose(robot.arm.position, rest, atol=1e-5)
    assert robot.operator.problem == LET_GO
    robot.arm.check()


def test_without_joint_states_nothing_is_sent():
    robot = Robot()
    robot.run(0.3, push(1.0))
    robot.arm.joint_states = False
    robot.run(1.0, push(1.0))
    assert robot.sent[-1] is None and "joint states" in robot.operator.problem
    robot.arm.joint_states = True
    robot.run(0.5, push(1.0))
    assert robot.sent[-1] is None and robot.operator.problem == LET_GO
    robot.run(0.1, REST)
    robot.run(0.5, push(1.0))
    assert robot.sent[-1] is not None


def test_an_arm_that_is_held_fast_is_not_wound_up():
    robot = Robot(kinematics=True)
    robot.run(0.1, HELD)
    for n in range(200):
        robot.operator.measure(dict(zip(CONTRACT.arm_joints, HOME, strict=True)), robot.arm.now + n * DT)
        row = robot.operator.advance(push(1.0), robot.arm.now + n * DT)
    assert np.abs(row[:7] - HOME).max() <= 0.3 * LIMITS.velocity.max() * 0.35 + 1e-9
    assert np.abs(row[:7] - HOME).max() < 0.8 * CONTRACT.safety.first_target_max_distance


def test_without_a_urdf_joints_are_moved_one_by_one_and_the_seventh_with_a_button():
    robot = Robot()
    robot.run(0.1, REST)
    robot.run(1.0, push(0, 0, 0, 1.0))
    assert not robot.operator.moves_tool
    moved = robot.arm.position - HOME
    assert moved[3] > 0.3 and np.abs(np.delete(moved, 3)).max() < 1e-6
    robot.run(0.5, REST)
    before = robot.arm.position.copy()
    robot.run(0.5, push(-1.0, 1.0, next_joints=True))
    moved = robot.arm.position - before
    assert moved[6] < -0.1 and np.abs(moved[:6]).max() < 1e-4
    robot.arm.check()


def test_joints_can_be_jogged_by_name_between_motions_of_the_tool():
    robot = Robot(kinematics=True)
    robot.run(0.5, push(1.0))
    before = robot.rows[-1][:7].copy()
    robot.run(0.6, HandState(clutch=True, joint_velocities={"fr3_joint7": 9.0}))
    moved = robot.rows[-1][:7] - before
    assert 0.2 < moved[6] < 0.6 * 0.3 * LIMITS.velocity[6] + 1e-9 and np.abs(moved[:6]).max() < 1e-9
    robot.run(0.6, push(-1.0))
    robot.arm.check()


def test_slow_is_slow():
    steps = []
    for slow in (False, True):
        robot = Robot()
        robot.run(0.4, push(0, 1.0, slow=slow))
        steps.append(np.diff(robot.rows[-2:, 1])[0])
    assert steps[0] == pytest.approx(0.3 * LIMITS.velocity[1] * DT) and steps[1] == pytest.approx(
        0.25 * steps[0]
    )


def test_speed_comes_and_goes_along_a_ramp():
    robot = Robot(settings=MotionSettings(ramp_s=0.4))
    robot.run(0.06, HELD)
    robot.run(1.0, push(1.0))
    robot.run(0.6, HELD)
    speed = np.diff(robot.rows[:, 0]) / DT
    assert speed.max() == pytest.approx(0.3 * LIMITS.velocity[0])
    assert np.abs(np.diff(speed)).max() <= speed.max() * DT / 0.4 * 1.01


def test_the_gripper_stays_until_it_is_asked():
    robot = Robot()
    robot.run(0.1, HELD)
    assert set(robot.rows[:, 7]) == {1.0}
    robot.run(0.3, push(gripper_presses=1))
    assert robot.rows[-1][7] == 0.0
    robot.run(0.6, dataclasses.replace(push(gripper_presses=2), clutch=False))
    robot.run(0.2, push(gripper_presses=2))  # it was pressed while the clutch was released
    assert robot.rows[-1][7] == 0.0, "closed as the controller holds it, though the finger is measured open"
    robot.run(0.06, push(gripper_presses=3))
    assert robot.rows[-1][7] == 1.0
    robot.run(0.06, push(gripper_presses=5))
    assert robot.rows[-1][7] == 1.0, "twice is once to and once fro"


def test_a_gripper_that_must_be_held_closes_while_it_is():
    robot = Robot()
    closed = []
    for held in (True, False, True, False):
        robot.run(0.1, push(gripper_held=held))
        closed.append(robot.rows[-1][7] == 0.0)
    assert closed == [False, False, True, False], "taking the clutch changes nothing"


def test_a_continuous_gripper_follows_a_trigger_once_it_moves():
    data = two_hands.raw()
    contract = parse_contract(data)
    part = arm_part(contract, 0)
    operator = Teleoperator(contract, part, MotionSettings())
    measured = {
        "left_waist": 0.1,
        "left_elbow": 0.2,
        "right_waist": 0.3,
        "right_elbow": 0.4,
        "right_finger": 0.02,
    }

    def row(n: int, closed: float):
        operator.measure(measured, n * DT)
        return operator.advance(HandState(clutch=n > 0, gripper_closed=closed), n * DT)

    assert row(0, 0.0) is None
    rows = [row(n, 0.0) for n in range(1, 20)]
    assert {r[5] for r in rows} == {1.0}, "closed, as it was measured"
    rows = [row(n, 0.5) for n in range(20, 60)]
    assert (
        rows[-1][5] == pytest.approx(0.5) and rows[-1][2] == 1.0
    )  # the other one is binary: open up to there
    assert np.abs(np.diff([r[5] for r in rows])).max() <= DT / 0.7 + 1e-9


def hand_in_the_arm() -> dict:
    data = two_hands.raw()
    del data["grippers"]
    names = ("left_waist", "left_elbow", "left_finger")
    data["action"]["dimensions"] = [{"name": name, "unit": "rad"} for name in names]
    data["limits"] = {name: {"position": [-0.2, 1.7], "velocity": 2.0, "acceleration": 8.0} for name in names}
    return data


def test_a_gripper_that_is_a_joint_of_the_arm_is_opened_and_closed():
    contract = parse_contract(hand_in_the_arm())
    part = arm_part(contract, 0)
    assert part.joints == (0, 1) and part.hands == (2,)
    operator = Teleoperator(contract, part, MotionSettings())

    def run(hand, begin, count):
        rows = []
        for n in range(begin, begin + count):
            operator.measure({"left_waist": 0.0, "left_elbow": 0.0, "left_finger": 1.0}, n * DT)
            rows.append(operator.advance(hand, n * DT))
        return rows

    run(REST, 0, 2)
    assert run(HELD, 2, 5)[-1][2] == pytest.approx(1.0)  # as it is measured
    rows = run(push(gripper_presses=1), 7, 100)
    assert rows[-1][2] == pytest.approx(-0.2)
    assert np.abs(np.diff([row[2] for row in rows])).max() <= 2.0 * DT + 1e-9
    assert np.abs(np.array(rows)[:, :2]).max() < 1e-12


def pushed_about(contract) -> Robot:
    robot = Robot(contract, kinematics=True)
    robot.run(0.2, HELD)
    robot.run(0.6, push(0, 0.5, 0.5, 0, 0, 0.4))
    robot.run(0.5, REST)
    return robot


@pytest.fixture(scope="module")
def by_joint_positions() -> Robot:
    return pushed_about(CONTRACT)


@pytest.mark.parametrize("space", ["joint_delta", "ee_delta", "ee_pose", "tool_delta"])
def test_every_action_space_says_the_same_motion(space, by_joint_positions):
    contract = read_contract("franka_sim_ee")
    action = contract.action
    if space == "joint_delta":
        contract = CONTRACT
        changed = dataclasses.replace(contract.action, space="joint_delta")
    elif space == "tool_delta":
        changed = dataclasses.replace(action, frame="tool")
    else:
        changed = dataclasses.replace(action, space=space)
    changed = dataclasses.replace(
        changed, dimensions=tuple(dataclasses.replace(d, scale=0.5) for d in changed.dimensions)
    )
    robot = pushed_about(dataclasses.replace(contract, action=changed))
    there = robot.kinematics.pose(robot.arm.position)
    wanted = robot.kinematics.pose(by_joint_positions.arm.position)
    np.testing.assert_allclose(there.position, wanted.position, atol=4e-3)
    np.testing.assert_allclose(there.rotation, wanted.rotation, atol=0.02)
    robot.arm.check()


def test_one_arm_of_two_is_driven_and_the_other_rests():
    data = two_hands.with_two_controllers()
    contract = parse_contract(data)
    left, right = arm_part(contract, 1), arm_part(contract, 2)
    assert (left.joints, left.grippers) == ((0, 1), (0,)) and (right.joints, right.grippers) == ((2, 3), (1,))
    assert right.dimensions == ("lead_right_waist", "lead_right_elbow", "right_grip")
    operator = Teleoperator(contract, right, MotionSettings())
    start = {"left_waist": 0.1, "left_elbow": 0.2, "right_waist": 0.3, "right_elbow": 0.4}
    rows = []
    for n in range(20):
        operator.measure(start, n * DT)
        rows.append(operator.advance(push(0, 1.0, gripper_presses=int(n > 1)) if n else REST, n * DT))
    rows = np.array(rows[1:])
    np.testing.assert_array_equal(rows[:, [0, 1, 2, 3]], np.tile([0.1, 0.2, 1.0, 0.3], (19, 1)))
    assert rows[-1, 4] > 0.45
    with pytest.raises(ParameterError, match="group = 3: allowed is 0 for all joints, or 1 to 2"):
        arm_part(contract, 3)
    with pytest.raises(ParameterError, match="as the contract has no groups"):
        arm_part(CONTRACT, 1)


def test_devices_of_the_contract_are_the_groups_where_there_are_some():
    data = two_hands.raw()
    names = list(two_hands.CONTRACT.action_names)
    data["teleop"] = {
        "groups": [{"topic": "/a", "dimensions": names[:3]}, {"topic": "/b", "dimensions": names[3:]}]
    }
    part = arm_part(parse_contract(data), 2)
    assert part.dimensions == tuple(names[3:]) and part.joints == (2, 3) and part.grippers == (1,)


def test_a_robot_that_commands_do_not_reach_is_refused():
    teleop = CONTRACT.teleop
    require_drivable(CONTRACT)
    for changed, said in (
        (dataclasses.replace(teleop, route="direct"), r"route = direct: .* is through_controller"),
        (dataclasses.replace(teleop, topic=""), r"teleop\.topic = none"),
    ):
        with pytest.raises(ContractError, match=said):
            require_drivable(dataclasses.replace(CONTRACT, teleop=changed))


def test_what_the_urdf_lacks_is_named():
    part = arm_part(two_hands.CONTRACT, 0)
    pytest.importorskip("pinocchio")
    with pytest.raises(KinematicsError, match=r"joints \['left_waist'.* are not in the URDF"):
        part_kinematics(two_hands.CONTRACT, part, read_urdf(FRANKA_URDF))


def test_motion_of_the_tool_waits_for_the_urdf():
    robot = Robot(settings=MotionSettings(space=JogSpace.TOOL))
    robot.run(0.5, push(1.0))
    assert not len(robot.rows) and "URDF is not known yet" in robot.operator.problem


def test_a_urdf_that_comes_while_the_clutch_is_held_counts_from_the_next_press_on():
    robot = Robot()
    robot.run(0.3, push(1.0))
    text = read_urdf(FRANKA_URDF)
    pytest.importorskip("pinocchio")
    robot.operator.set_kinematics(part_kinematics(CONTRACT, robot.part, text))
    robot.run(0.3, push(1.0))
    assert np.abs(np.diff(robot.rows[:, 0])).max() <= 0.3 * LIMITS.velocity[0] * DT + 1e-9
    assert np.abs(robot.rows[-1][1:7] - HOME[1:]).max() < 1e-9
    robot.run(0.6, REST)
    robot.run(0.3, push(1.0))
    assert robot.operator.moves_tool and np.abs(robot.rows[-1][1:7] - HOME[1:]).max() > 1e-3
