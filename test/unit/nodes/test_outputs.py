"""Outputs by themselves: what they send, when they are silent, how they end."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager

import numpy as np
import pytest
import two_hands

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from vla_adapter_ros.contract import parse_contract, read_contract
from vla_adapter_ros.contract.read import plain_contract
from vla_adapter_ros.contract.schema import CommandGroup, Kinematics
from vla_adapter_ros.control.motion import Setpoint, Trajectory
from vla_adapter_ros.control.urdf import contract_kinematics
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.nodes.grippers import GripperAction, gripper_outputs
from vla_adapter_ros.nodes.outputs import REST_S, Outgoing, arm_outputs
from vla_adapter_ros.observation.messages import pose_values, twist_values
from vla_adapter_ros.simulation.cartesian_controllers import rotation_of

SHIPPED = read_contract("franka_sim")
HOME = np.array([0.0, -0.2, 0.0, -2.0, 0.0, 1.8, 0.8])
SPEED = np.array([0.2, -0.1, 0.0, 0.1, 0.0, 0.0, 0.3])
ZERO = np.zeros(7)


class Listener:
    """Stands where a node stands: keeps what its publishers are given."""

    def __init__(self) -> None:
        self.heard, self.topics = [], []

    def publish_on(self, kind, topic, qos):
        listener = self

        class Publisher:
            def publish(self, message):
                assert type(message) is kind
                listener.topics.append(topic)
                listener.heard.append(message)

        return Publisher()


def contract(command: str = "joint_trajectory"):
    return dataclasses.replace(
        SHIPPED,
        command=dataclasses.replace(SHIPPED.command, type=command),
        kinematics=Kinematics("package:franky_sim/assets/fr3.urdf", "fr3_link0", "fr3_hand_tcp"),
    )


def gripper_of(kind: str):
    return dataclasses.replace(SHIPPED.grippers[0], type=kind)


def gripper_output(node, gripper):
    (made,) = gripper_outputs(node, dataclasses.replace(SHIPPED, grippers=(gripper,)), 0.0)
    return made


def output(command: str, feedback: float = 2.0):
    node, robot = Listener(), contract(command)
    (made,) = arm_outputs(node, robot, feedback)
    if command.startswith("cartesian"):
        made.kinematics = contract_kinematics(robot)
    return node.heard, made


def outgoing(now=1.0, velocity=SPEED, acceleration=ZERO, measured=HOME, at=None, **changes) -> Outgoing:
    setpoint = Setpoint(HOME, velocity, acceleration, 0.04)
    values = {
        "setpoint": setpoint,
        "trajectory": None,
        "measured": measured,
        "measured_at": now if at is None else at,
    }
    return Outgoing(now, **(values | changes))


def test_positions_are_those_that_are_due():
    heard, out = output("forward_position")
    assert out.send(outgoing()) == 1 and list(heard[0].data) == HOME.tolist()
    assert out.send(outgoing(setpoint=None)) == 0 and out.send(outgoing(released=True)) == 0
    assert out.end(2.0) == 0 and len(heard) == 1


def test_joint_states_name_the_joints_and_say_no_velocity():
    heard, out = output("joint_state")
    assert out.send(outgoing()) == 1 and out.send(outgoing(setpoint=None)) == 0
    assert tuple(heard[0].name) == SHIPPED.arm_joints and list(heard[0].position) == HOME.tolist()
    assert len(heard[0].velocity) == len(heard[0].effort) == 0 and len(heard) == 1


def test_a_trajectory_is_sent_when_there_is_one():
    heard, out = output("joint_trajectory")
    rows = np.zeros((3, 2, 7))
    path = Trajectory(SHIPPED.arm_joints, np.array([1.01, 1.02]), *rows)
    assert out.send(outgoing()) == 0
    assert out.send(outgoing(trajectory=path)) == 1 and len(heard[0].points) == 2
    assert out.send(outgoing(trajectory=path, released=True)) == 0


@pytest.mark.parametrize("kind", ["joint_trajectory", "forward_position", "joint_state", "forward_velocity"])
def test_each_controller_is_told_its_own_joints_of_one_motion(kind):
    """The groups are not in the order of the arm, and each has an order of its own."""
    joints = SHIPPED.arm_joints
    groups = (CommandGroup("/wrist", joints[:3:-1]), CommandGroup("/base", joints[:4]))
    command = dataclasses.replace(SHIPPED.command, type=kind, topic="", groups=groups)
    node = Listener()
    made = arm_outputs(node, dataclasses.replace(SHIPPED, command=command), 0.0)
    rows = np.arange(3 * 2 * 7.0).reshape(3, 2, 7)
    out = outgoing(trajectory=Trajectory(joints, np.array([1.01, 1.02]), *rows))
    assert [arm.send(out) for arm in made] == [1, 1] and node.topics == ["/wrist", "/base"]
    wrist, base = node.heard
    if kind == "joint_trajectory":
        assert tuple(wrist.joint_names) == joints[:3:-1] and tuple(base.joint_names) == joints[:4]
        point = wrist.points[1]
        assert [list(point.positions), list(point.velocities), list(point.accelerations)] == [
            [13.0, 12.0, 11.0], [27.0, 26.0, 25.0], [41.0, 40.0, 39.0],
        ]  # fmt: skip
        assert list(base.points[0].positions) == [0.0, 1.0, 2.0, 3.0]
    else:
        values = SPEED if kind == "forward_velocity" else HOME
        told = [list(m.position if kind == "joint_state" else m.data) for m in (wrist, base)]
        assert told == [values[:3:-1].tolist(), values[:4].tolist()]
    if kind == "forward_velocity":
        assert [arm.end(2.0) for arm in made] == [1, 1]
        assert list(node.heard[2].data) == [0.0] * 3 and list(node.heard[3].data) == [0.0] * 4


def test_a_controller_hears_its_joints_as_its_own_messages_call_them():
    joints = two_hands.CONTRACT.arm_joints
    groups = (CommandGroup("/left", joints[:2]), CommandGroup("/right", joints[2:]))
    command = dataclasses.replace(two_hands.CONTRACT.command, topic="", groups=groups)
    node = Listener()
    rows = np.zeros((3, 2, 4))
    for arm in arm_outputs(node, dataclasses.replace(two_hands.CONTRACT, command=command), 0.0):
        arm.send(outgoing(trajectory=Trajectory(joints, np.array([1.01, 1.02]), *rows)))
    assert [tuple(message.joint_names) for message in node.heard] == [("waist", "elbow")] * 2


def test_velocities_bring_a_late_arm_back():
    heard, out = output("forward_velocity")
    out.send(outgoing())
    np.testing.assert_allclose(heard[-1].data, SPEED)
    out.send(outgoing(1.01, measured=HOME - 0.01))
    np.testing.assert_allclose(heard[-1].data, SPEED + 0.02)
    # Measured 20 ms ago, exactly where it was due then: no correction.
    out.send(outgoing(1.02, measured=HOME - 0.02 * SPEED, at=1.0))
    np.testing.assert_allclose(heard[-1].data, SPEED, atol=1e-12)
    # The velocity of the middle of the tick.
    out.send(outgoing(1.03, acceleration=np.full(7, 2.0)))
    np.testing.assert_allclose(heard[-1].data, SPEED + 0.01)
    out.send(outgoing(1.04, measured=HOME - 9.0))
    np.testing.assert_allclose(heard[-1].data, [SHIPPED.limits[j].velocity for j in SHIPPED.arm_joints])


@pytest.mark.parametrize("command", ["forward_velocity", "cartesian_twist"])
def test_velocities_end_with_one_zero(command):
    heard, out = output(command)

    def value(message):
        return np.array(message.data if command == "forward_velocity" else twist_values(message))

    assert out.send(outgoing(0.5, velocity=ZERO)) == 0  # never moved
    out.send(outgoing(1.0))
    out.send(outgoing(1.0 + REST_S / 2, velocity=ZERO, measured=HOME - 0.001))
    assert value(heard[-1]).any()  # still corrects
    assert out.send(outgoing(1.1 + REST_S, velocity=ZERO, measured=HOME - 0.001)) == 1
    assert not value(heard[-1]).any()
    assert out.send(outgoing(1.2 + REST_S, velocity=ZERO)) == 0
    for ending in (lambda: out.end(3.0), lambda: out.send(outgoing(3.0, setpoint=None))):
        out.send(outgoing(2.9))
        assert ending() == 1 and not value(heard[-1]).any()
        assert ending() == 0


def test_a_released_arm_hears_nothing_not_even_a_zero():
    heard, out = output("forward_velocity")
    out.send(outgoing(1.0))
    assert out.send(outgoing(1.01, released=True)) == 0
    assert out.send(outgoing(1.02, setpoint=None)) == 0 and out.end(1.03) == 0
    assert len(heard) == 1


def test_poses_and_twists_are_those_of_the_due_motion():
    heard, out = output("cartesian_pose")
    out.send(outgoing())
    values = pose_values(heard[0])
    wanted = out.kinematics.pose(HOME)
    np.testing.assert_allclose(values[:3], wanted.position, atol=1e-12)
    np.testing.assert_allclose(rotation_of(np.array(values[3:])), wanted.rotation, atol=1e-9)
    assert heard[0].header.frame_id == "fr3_link0"
    heard, out = output("cartesian_twist", feedback=2.0)
    out.send(outgoing())
    np.testing.assert_allclose(twist_values(heard[0]), out.kinematics.jacobian(HOME) @ SPEED, atol=1e-9)
    behind = HOME - 1e-4 * SPEED
    out.send(outgoing(1.01, measured=behind))
    correction = np.subtract(twist_values(heard[1]), twist_values(heard[0]))
    np.testing.assert_allclose(correction, 2e-4 * out.kinematics.jacobian(HOME) @ SPEED, atol=1e-7)


def test_without_kinematics_cartesian_outputs_are_silent():
    for command in ("cartesian_pose", "cartesian_twist"):
        heard, out = output(command)
        out.kinematics = None
        assert out.send(outgoing()) == 0 and out.end(2.0) == 0 and not heard


def test_the_gripper_is_told_when_something_changes():
    node = Listener()
    gripper = gripper_output(node, gripper_of("forward_position"))
    assert [gripper.send(0.04, 1.0, False) for _ in range(2)] == [1, 0]
    assert gripper.send(0.04, 1.1, True) == 1 and gripper.send(0.0, 1.2, False) == 1
    assert [list(message.data) for message in node.heard] == [[0.04], [0.04], [0.0]]


def test_a_gripper_trajectory_takes_its_time():
    node = Listener()
    gripper = gripper_output(node, gripper_of("joint_trajectory"))
    gripper.send(0.04, 1.0, True)
    assert gripper.send(0.04, 1.1, True) == 0  # a repetition would begin the way anew
    gripper.send(0.03, 1.2, False)
    points = [message.points[0] for message in node.heard]
    assert [list(point.positions) for point in points] == [[0.04], [0.03]]
    assert [point.time_from_start.nanosec for point in points] == [500_000_000, 125_000_000]
    assert list(node.heard[0].joint_names) == [SHIPPED.grippers[0].joint]


def test_the_gripper_action_names_what_is_missing():
    try:
        import control_msgs.action  # noqa: F401
    except ImportError:
        with pytest.raises(ParameterError, match="needs the package control_msgs"):
            gripper_output(Listener(), gripper_of("gripper_command"))
    else:
        pytest.skip("control_msgs is installed")


class Answered:
    """A future of an action client that has its answer, or an error in place of it."""

    def __init__(self, accepted: bool | None) -> None:
        self.accepted = accepted

    def cancelled(self) -> bool:
        return False

    def result(self):
        if self.accepted is None:
            raise RuntimeError("the server died")
        return self


@pytest.mark.parametrize(("accepted", "told", "again"), [(True, 0, False), (False, 1, True), (None, 1, True)])
def test_an_answer_of_the_gripper_never_fails_a_callback(accepted, told, again, monkeypatch):
    told_of = []

    class Node(Listener):
        @contextmanager
        def boundary(self, what):
            try:
                yield
            except Exception as error:
                told_of.append(f"{what}: {error}")

    monkeypatch.setattr(GripperAction, "_open", lambda self: None)
    gripper = GripperAction(Node(), gripper_of("gripper_command"), 0.0)
    gripper._last = 0.04
    gripper._on_answer(Answered(accepted))
    assert len(told_of) == told and (gripper._last is None) == again


def in_degrees(command: str):
    """The contract of an arm whose driver counts in degrees, its gripper in percent."""
    raw = plain_contract(contract(command))
    for dimension in raw["state"]:
        if dimension["joint"]:
            dimension["unit"] = "percent" if "finger" in dimension["joint"] else "degree"
    return parse_contract(raw)


@pytest.mark.parametrize(
    "command", ["joint_trajectory", "forward_position", "forward_velocity", "joint_state"]
)
def test_commands_have_the_units_of_the_joint_states(command):
    node, robot = Listener(), in_degrees(command)
    (made,) = arm_outputs(node, robot, 0.0)
    times = np.array([0.0, 0.1])
    path = Trajectory(SHIPPED.arm_joints, times, np.stack([HOME, HOME]), np.stack([SPEED, ZERO]), None)
    made.send(outgoing(trajectory=path))
    (message,) = node.heard
    if command == "joint_trajectory":
        np.testing.assert_allclose(message.points[0].positions, np.degrees(HOME))
        np.testing.assert_allclose(message.points[0].velocities, np.degrees(SPEED))
    elif command == "joint_state":
        np.testing.assert_allclose(message.position, np.degrees(HOME))
    else:
        np.testing.assert_allclose(message.data, np.degrees(HOME if command == "forward_position" else SPEED))


def test_a_gripper_in_percent_is_told_in_percent():
    node, robot = Listener(), in_degrees("joint_trajectory")
    hand = dataclasses.replace(robot.grippers[0], open_position=1.0, type="joint_trajectory")
    (made,) = gripper_outputs(node, dataclasses.replace(robot, grippers=(hand,)), 0.0)
    assert made.send(0.0, 1.0, repeat=False) == 1 and made.send(0.5, 2.0, repeat=False) == 1
    assert made.send(0.5, 3.0, repeat=True) == 0, "told again, though nothing changed"
    points = [message.points[0] for message in node.heard]
    assert [list(point.positions) for point in points] == [[0.0], [50.0]]
    assert points[1].time_from_start.nanosec == 250_000_000  # half the stroke
