"""The closed sets of a contract: every value that a key may have, with what it means for the code."""

from __future__ import annotations

import math

from vla_adapter_ros.choices import Choice


class ActionSpace(Choice):
    """What a row of a chunk is: joint values or the tool's pose, absolute or as a difference."""

    JOINT_POSITION = "joint_position"
    JOINT_DELTA = "joint_delta"
    EE_DELTA = "ee_delta"
    EE_POSE = "ee_pose"

    @property
    def is_cartesian(self) -> bool:
        """Whether rows are about the tool: kinematics are needed."""
        return self in (ActionSpace.EE_DELTA, ActionSpace.EE_POSE)

    @property
    def is_delta(self) -> bool:
        """Whether rows are displacements."""
        return self in (ActionSpace.JOINT_DELTA, ActionSpace.EE_DELTA)


class ActionSource(Choice):
    """Where the action of a recorded row comes from."""

    COMMAND = "command"
    NEXT_STATE = "next_state"


class DeltaReference(Choice):
    """What the first row of a delta chunk is added to."""

    MEASURED = "measured"
    COMMANDED = "commanded"
    CHUNK_START = "chunk_start"


class Frame(Choice):
    """Whose axes an ee_delta is along."""

    BASE = "base"
    TOOL = "tool"


class CommandType(Choice):
    """What the arm's controller is told."""

    JOINT_TRAJECTORY = "joint_trajectory"
    FORWARD_POSITION = "forward_position"
    FORWARD_VELOCITY = "forward_velocity"
    JOINT_STATE = "joint_state"
    CARTESIAN_POSE = "cartesian_pose"
    CARTESIAN_TWIST = "cartesian_twist"

    @property
    def is_cartesian(self) -> bool:
        """Whether it is about the tool: kinematics are needed."""
        return self in (CommandType.CARTESIAN_POSE, CommandType.CARTESIAN_TWIST)


class GripperCommandType(Choice):
    """What a gripper's controller is told."""

    FORWARD_POSITION = "forward_position"
    JOINT_TRAJECTORY = "joint_trajectory"
    GRIPPER_COMMAND = "gripper_command"


class GripperMode(Choice):
    """Whether a gripper opens and closes, or follows a position."""

    BINARY = "binary"
    CONTINUOUS = "continuous"


class Transport(Choice):
    """How images come: sensor_msgs Image, or CompressedImage."""

    RAW = "raw"
    COMPRESSED = "compressed"


class Fit(Choice):
    """What is done with images of another size than the contract says."""

    EXACT = ""
    CROP = "crop"
    PAD = "pad"


class TopicType(Choice):
    """What a topic carries, with the fields that a state value may read.

    JointState, PoseStamped, JointTrajectory, Float64MultiArray, TwistStamped and WrenchStamped. The values of
    a Float64MultiArray are named by the contract; a JointTrajectory carries commands only.
    """

    JOINT_STATE = "joint_state"
    POSE = "pose"
    JOINT_TRAJECTORY = "joint_trajectory"
    FLOAT64_ARRAY = "float64_array"
    TWIST = "twist"
    WRENCH = "wrench"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields."""
        return _FIELDS.get(self, ())


class JointField(Choice):
    """Parts of a JointState message."""

    POSITION = "position"
    VELOCITY = "velocity"
    EFFORT = "effort"


_FIELDS = {
    TopicType.JOINT_STATE: tuple(JointField.words()),
    TopicType.POSE: (
        "position.x", "position.y", "position.z",
        "orientation.x", "orientation.y", "orientation.z", "orientation.w",
    ),
    TopicType.TWIST: ("linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"),
    TopicType.WRENCH: ("force.x", "force.y", "force.z", "torque.x", "torque.y", "torque.z"),
}  # fmt: skip


class Unit(Choice):
    """Units of state and action values in the robot's messages; `1` has none.

    Values in another unit than SI are converted when a message is read, and back when one is sent.
    """

    RAD = "rad"
    M = "m"
    RAD_PER_S = "rad/s"
    M_PER_S = "m/s"
    NM = "Nm"
    N = "N"
    ONE = "1"
    DEGREE = "degree"
    DEGREE_PER_S = "degree/s"
    PERCENT = "percent"

    @property
    def si(self) -> Unit:
        """The unit after the conversion: in data sets, chunks, limits and everywhere else."""
        return _SI.get(self, (self, 1.0))[0]

    @property
    def factor(self) -> float:
        """A value times this is in `si`."""
        return _SI.get(self, (self, 1.0))[1]


_SI = {
    Unit.DEGREE: (Unit.RAD, math.pi / 180),
    Unit.DEGREE_PER_S: (Unit.RAD_PER_S, math.pi / 180),
    Unit.PERCENT: (Unit.ONE, 0.01),
}


class TimeSource(Choice):
    """Which clock stamps samples: the message's header, or the moment at which it is received."""

    HEADER = "header"
    RECEIVE = "receive"


class Route(Choice):
    """How a human's commands reach the arm."""

    THROUGH_CONTROLLER = "through_controller"
    DIRECT = "direct"


class TakeoverKind(Choice):
    """How a human takes the arm over."""

    COMMAND = "command"
    MOTION = "motion"
    TOPIC = "topic"


class HandBack(Choice):
    """How the policy gets the arm back."""

    AUTO = "auto"
    INSTRUCT = "instruct"


class FirstTarget(Choice):
    """What happens to a first target that is far away."""

    REFUSE = "refuse"
    RAMP = "ramp"


class SceneCheck(Choice):
    """What happens to an instruction when the scene has changed since the demonstrations."""

    WARN = "warn"
    REFUSE = "refuse"
    OFF = "off"
