"""The parts of a robot contract and what each may say, as frozen dataclasses; `contract.py` is the whole.

Units are SI and radians, axes follow REP 103. Pydantic checks every value.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from vla_adapter_ros.contract.enums import (
    ActionSource,
    ActionSpace,
    CommandType,
    DeltaReference,
    Frame,
    GripperCommandType,
    GripperMode,
    HandBack,
    JointField,
    Route,
    TakeoverKind,
    TimeSource,
    TopicType,
    Unit,
)
from vla_adapter_ros.settings import CHECKED, NotNegative, Number, Positive, Text

TOOL_COLUMNS = ("x", "y", "z", "rx", "ry", "rz")
"""Columns of the ee spaces: translation [m] and rotation vector (axis times angle) [rad]."""
JERK_PER_ACCELERATION = 30.0
"""Jerk limit where none is given, as a multiple of the acceleration limit [1/s]."""

_Opening = TypeVar("_Opening", float, np.ndarray)


@dataclass(frozen=True, config=CHECKED)
class Topic:
    """An input topic that carries no images."""

    type: TopicType
    """JointState, PoseStamped, TwistStamped, WrenchStamped, Float64MultiArray or JointTrajectory. Values of
    the state come from all but the last, which carries commands only."""
    max_age_s: Positive = 0.1
    """How old a value may be at t [s]."""
    time: TimeSource = TimeSource.HEADER
    """Which clock stamps the messages: their header, or the time of receipt."""
    joints: tuple[Text, ...] = ()
    """Names of the values of messages that carry no names, in their order."""


@dataclass(frozen=True, config=CHECKED)
class StateDimension:
    """One value of the proprioception.

    Everywhere else in the contract its joint is called by `joint`, or, where joint states on several topics
    have a joint of the same name (two arms of one kind), by the `name` of its position here.
    """

    name: Text
    """Name of the value in data sets and checkpoints."""
    topic: Text
    """Topic that carries it; one of `topics`."""
    field: Text
    """position, velocity or effort of a joint; of a pose position.x to position.z, orientation.x to
    orientation.w; of a twist linear.x to linear.z, angular.x to angular.z; of a wrench force.x to force.z,
    torque.x to torque.z; of a float64_array one of the names under `joints` of its topic."""
    unit: Unit
    """Its unit in the messages on `topic`. degree and degree/s are converted to rad and rad/s when a message
    comes in, percent to a fraction from 0 to 1: data sets, limits and the policy have SI units alone.
    Commands for its joint are converted back."""
    joint: Text = ""
    """Its joint, found by name in the joint states; none on topics of other types."""


@dataclass(frozen=True, config=CHECKED)
class ActionDimension:
    """One value of the action."""

    name: Text
    """What chunks, recordings and a leader's messages call it."""
    unit: Unit
    """Unit of the value times `scale`, in the messages of a human's device and on the action's topic. degree
    and percent are converted as for the state; they need a `scale` of 1."""
    scale: Positive = 1.0
    """Factor from the value to its unit, such as 0.05 where -1 to 1 means 5 cm."""
    joint: Text = ""
    """The robot's joint that it drives, where that has another name. A gripper's joint is named with the
    gripper."""
    topic: Text = ""
    """One of `topics`: where its command is heard when it is recorded or imported, if not on the action's
    topic."""


@dataclass(frozen=True, config=CHECKED)
class Action:
    """What a row of a chunk, a recorded action and a teleoperation command consist of."""

    space: ActionSpace
    """What a row means: joint positions or displacements, displacements or poses of the tool."""
    topic: Text
    """Topic of the action before limiting; the controller publishes it, the recorder records it."""
    dimensions: Annotated[tuple[ActionDimension, ...], Field(min_length=1)]
    """The values of a row, in order."""
    max_age_s: Positive = 0.1
    """How old the action may be at t [s]."""
    delta_reference: DeltaReference = DeltaReference.COMMANDED
    """Deltas only: what the first row is added to. measured: the arm at the chunk's stamp; commanded:
    where it was sent then; chunk_start: as measured, and every row is relative to it."""
    frame: Frame = Frame.BASE
    """ee_delta only: along whose axes a row is."""
    time: TimeSource = TimeSource.HEADER
    """Which clock stamps the messages on `topic`."""
    field: JointField = JointField.POSITION
    """Where the values stand in JointState messages on `topic` and on the teleoperation topic."""
    type: TopicType = TopicType.JOINT_STATE
    """What the messages on `topic` are. The controller publishes joint states; the other types are what
    others send, in recordings and bags."""
    source: ActionSource = ActionSource.COMMAND
    """Where the action of a recorded row comes from. command: what was commanded; next_state: what the state
    says one row later, for hand guiding, where a human moves the arm itself and nobody commands it. Values
    with a `topic` of their own are heard there all the same. Checkpoints do not differ in it."""


@dataclass(frozen=True, config=CHECKED)
class Gripper:
    """One gripper: the action dimension that moves it, what open and closed mean, where it is commanded."""

    dimension: Text
    """The action dimension that moves it."""
    joint: Text
    """Its joint, by its name in the joint states."""
    open_position: Number
    """Position of the joint when open [rad or m]."""
    closed_position: Number
    """Position of the joint when closed [rad or m]."""
    topic: Text
    """Where it is commanded; with gripper_command the name of the action server."""
    type: GripperCommandType = GripperCommandType.FORWARD_POSITION
    """What it is sent."""
    open: Number = 1.0
    """Value of the dimension when open."""
    closed: Number = 0.0
    """Value of the dimension when closed."""
    mode: GripperMode = GripperMode.BINARY
    """binary: open or closed; continuous: linear between both."""
    hysteresis: NotNegative = 0.2
    """binary: how far around the middle nothing switches, as a fraction of open to closed."""
    min_dwell_s: NotNegative = 0.0
    """binary: shortest time between two switches [s]."""

    def opening(self, position: _Opening) -> _Opening:
        """How far open a position of the joint is [rad or m]: 0 closed, 1 open; 0 where both are the same."""
        stroke = self.open_position - self.closed_position
        return (position - self.closed_position) / stroke if stroke else 0.0 * position

    def value(self, opening: _Opening) -> _Opening:
        """The value of the dimension that asks for an opening: 0 closed, 1 open."""
        return self.closed + opening * (self.open - self.closed)


@dataclass(frozen=True, config=CHECKED)
class TeleopGroup:
    """The values of the action that one device of a human gives, such as the leader of the left arm."""

    topic: Text
    """Topic of its commands, `sensor_msgs/JointState`."""
    dimensions: Annotated[tuple[Text, ...], Field(min_length=1)]
    """The action dimensions that it gives."""
    names: tuple[Text, ...] = ()
    """What its messages call them, in the same order; without an entry as the contract does."""

    @property
    def names_in_messages(self) -> tuple[str, ...]:
        """What the device's messages call the dimensions, in order."""
        return self.names or self.dimensions


@dataclass(frozen=True, config=CHECKED)
class Teleop:
    """Where a human's commands come in, how a human takes over, and how the policy gets the arm back."""

    topic: Text = ""
    """Topic of a human's commands, `sensor_msgs/JointState`, if one device gives all of them."""
    groups: tuple[TeleopGroup, ...] = ()
    """Instead of `topic`: the devices that give a part of the action each, such as the leaders of a left and
    a right arm. A command is whole once each has sent its part anew."""
    route: Route = Route.THROUGH_CONTROLLER
    """through_controller: the commands are followed within the limits; direct: the human's device drives
    the arm itself."""
    timeout_s: Positive = 0.3
    """A human leads for so long after the last command [s]."""
    time: TimeSource = TimeSource.HEADER
    """Which clock stamps the commands."""
    takeover: TakeoverKind = TakeoverKind.COMMAND
    """command: whoever sends commands leads; motion: a leader that streams always leads once it has
    moved; topic: a clutch."""
    takeover_threshold: Positive = 0.05
    """Motion of an action dimension, times its scale, that counts as motion of the leader [rad or m]."""
    takeover_topic: Text = ""
    """The clutch, `std_msgs/Bool`; only with takeover topic."""
    hand_back: HandBack | None = None
    """auto: the policy goes on when the human lets go; instruct: it needs a new instruction. Without an
    entry: auto with takeover command, else instruct."""
    publishers: tuple[Text, ...] = ()
    """Route direct: nodes that may publish on the controller's topics, such as /leader_node."""

    @property
    def hands_back(self) -> bool:
        """Whether the policy goes on by itself after a human has let go."""
        if self.hand_back is None:
            return self.takeover is TakeoverKind.COMMAND
        return self.hand_back is HandBack.AUTO


@dataclass(frozen=True, config=CHECKED)
class CommandGroup:
    """The joints that one controller of the robot drives, and where it is told."""

    topic: Text
    """Where their command is sent."""
    joints: Annotated[tuple[Text, ...], Field(min_length=1)]
    """The joints, as `limits` names them; a forward controller is sent their values in this order."""


@dataclass(frozen=True, config=CHECKED)
class Command:
    """What is sent to the controller of the arm, or to several: one per group of joints."""

    type: CommandType
    """What the controllers are sent."""
    command_delay_s: Annotated[Number, Field(ge=0.02, le=0.5)]
    """A command for time s is reached at s plus this [s]."""
    topic: Text = ""
    """Where the command is sent, if one controller drives all joints."""
    groups: tuple[CommandGroup, ...] = ()
    """Instead of `topic`: the controllers that drive a part of the joints each, such as those of a left and
    a right arm. All follow one motion, so that both arms start and stop together."""


@dataclass(frozen=True, config=CHECKED)
class JointLimits:
    """Limits of one joint."""

    position: Annotated[tuple[Number, ...], Field(min_length=1)]
    """Lowest and highest position [rad or m]."""
    velocity: Positive
    """Largest velocity [rad/s or m/s]."""
    acceleration: Positive
    """Largest acceleration [rad/s^2 or m/s^2]."""
    jerk: Positive | None = None
    """Largest jerk [rad/s^3 or m/s^3]. Without an entry: 30 times the acceleration."""


@dataclass(frozen=True, config=CHECKED)
class Kinematics:
    """The arm's URDF and its frames: needed for Cartesian spaces and commands, and for a workspace."""

    urdf: Text
    """`robot_description` (the topic), an absolute path, or package:NAME/PATH in a Python package."""
    base_link: Text
    """Frame of all poses."""
    tool_link: Text
    """Frame of the tool point."""


@dataclass(frozen=True, config=CHECKED)
class Workspace:
    """Box for the tool point alone."""

    low: Annotated[tuple[Number, ...], Field(min_length=1)]
    """Lowest x, y, z in `base_link` [m]."""
    high: Annotated[tuple[Number, ...], Field(min_length=1)]
    """Highest x, y, z in `base_link` [m]."""
