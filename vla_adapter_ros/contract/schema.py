"""The parts of a robot contract and what each may say, as frozen dataclasses; `contract.py` is the whole.

Units are SI and radians, axes follow REP 103. Pydantic checks every value.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AllowInfNan, ConfigDict, Field, Strict
from pydantic.dataclasses import dataclass

from vla_adapter_ros.contract.encodings import PIXELS
from vla_adapter_ros.contract.enums import (
    ActionSpace,
    CommandType,
    DeltaReference,
    FirstTarget,
    Fit,
    Frame,
    GripperCommandType,
    GripperMode,
    HandBack,
    JointField,
    Route,
    TakeoverKind,
    TimeSource,
    TopicType,
    Transport,
    Unit,
)

TOOL_COLUMNS = ("x", "y", "z", "rx", "ry", "rz")
"""Columns of the ee spaces: translation [m] and rotation vector (axis times angle) [rad]."""
JERK_PER_ACCELERATION = 30.0
"""Jerk limit where none is given, as a multiple of the acceleration limit [1/s]."""

CHECKED = ConfigDict(extra="forbid")
Text = Annotated[str, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Pixels = Annotated[int, Strict(), Field(ge=8, le=16384)]
Turn = Literal[0, 90, 180, 270]
PixelEncoding = Annotated[Text, Field(json_schema_extra={"enum": ["", *PIXELS]})]


@dataclass(frozen=True, config=CHECKED)
class Camera:
    """One camera. `rotation` [degrees, counter-clockwise] is applied right after decoding.

    `encoding` says what raw images are whose messages do not: 8UC3 may be rgb8 or bgr8. Messages that say
    something else are refused.
    `fit` says what becomes of images of another size, after the turn: refused if empty; `crop` cuts larger
    ones around their middle, `pad` puts smaller ones into the middle of a black image.
    `sync_tolerance_s`: an image stamped at most so far from that of the reference camera is of the same time
    [s]. Without an entry it is the smaller of 5 ms and a quarter of the camera's measured period.
    """

    topic: Text
    width: Pixels
    height: Pixels
    transport: Transport = Transport.RAW
    rotation: Turn = 0
    max_age_s: Positive = 0.1
    time: TimeSource = TimeSource.HEADER
    encoding: PixelEncoding = ""
    fit: Fit = Fit.EXACT
    sync_tolerance_s: Annotated[Number, Field(ge=0, le=0.5)] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height [px], after the turn."""
        return self.width, self.height


@dataclass(frozen=True, config=CHECKED)
class Topic:
    """An input topic that carries no images. `time` says which clock stamps its samples.

    `joints` names the values of messages that carry no names, in their order.
    """

    type: TopicType
    max_age_s: Positive = 0.1
    time: TimeSource = TimeSource.HEADER
    joints: tuple[Text, ...] = ()


@dataclass(frozen=True, config=CHECKED)
class StateDimension:
    """One value of the proprioception: a field of a topic; `joint` picks by name in joint states.

    Everywhere else in the contract a joint is called by that name, or, where joint states on several topics
    have a joint of the same name (two arms of one kind), by the `name` of its position here.
    """

    name: Text
    topic: Text
    field: Text
    unit: Unit
    joint: Text = ""


@dataclass(frozen=True, config=CHECKED)
class ActionDimension:
    """One value of the action; times `scale` it has this unit.

    `name` is what chunks, recordings and a leader's messages call it. `joint` is the robot's joint that it
    drives, where that has another name; a gripper's joint is named with the gripper. `topic`, one of
    `topics`, is where its command is heard when it is recorded or imported, if not on the action's topic.
    """

    name: Text
    unit: Unit
    scale: Positive = 1.0
    joint: Text = ""
    topic: Text = ""


@dataclass(frozen=True, config=CHECKED)
class Action:
    """What a row of a chunk, a recorded action and a teleoperation command consist of.

    `type` says what the messages on `topic` are. The controller publishes joint states; the other types are
    for what others send, in recordings and bags.
    `field` says in which part of the JointState messages on `topic` and on the teleoperation topic the
    values stand: some drivers send velocity commands as velocities. `time` says which clock stamps the
    messages on `topic`.
    Only for deltas: `delta_reference` says what the first row is added to: the arm as `measured` at
    the chunk's stamp, as `commanded` then, or `chunk_start`: as measured, and every row is relative to
    it, not to the row before. Only for ee_delta: `frame` is what its axes belong to.
    """

    space: ActionSpace
    topic: Text
    dimensions: Annotated[tuple[ActionDimension, ...], Field(min_length=1)]
    max_age_s: Positive = 0.1
    delta_reference: DeltaReference = DeltaReference.COMMANDED
    frame: Frame = Frame.BASE
    time: TimeSource = TimeSource.HEADER
    field: JointField = JointField.POSITION
    type: TopicType = TopicType.JOINT_STATE


@dataclass(frozen=True, config=CHECKED)
class Gripper:
    """One gripper: the action dimension that moves it, what open and closed mean, and where it is told.

    `open` and `closed` are values of `dimension`; `open_position` and `closed_position` those of `joint`
    [rad or m]. `topic` is the name of the action server where `type` is gripper_command. Binary:
    `min_dwell_s` is the shortest time between two switches [s].
    """

    dimension: Text
    joint: Text
    open_position: Number
    closed_position: Number
    topic: Text
    type: GripperCommandType = GripperCommandType.FORWARD_POSITION
    open: Number = 1.0
    closed: Number = 0.0
    mode: GripperMode = GripperMode.BINARY
    hysteresis: NotNegative = 0.2
    min_dwell_s: NotNegative = 0.0


@dataclass(frozen=True, config=CHECKED)
class Teleop:
    """Where a human's commands come in, how a human takes over, and how the policy gets the arm back.

    `takeover`: with `command` whoever sends commands leads; with `motion` a leader arm that streams always
    leads once it has moved by more than `takeover_threshold` in any joint since the policy took over; with
    `topic` a human leads while a clutch (std_msgs/Bool on `takeover_topic`) is true.
    `takeover_threshold`: displacement of an action dimension, times its scale, that counts as motion of the
    leader [rad or m].
    `hand_back`: with `auto` the policy goes on after a human has let go; with `instruct` it needs a new
    instruction. Without an entry: auto with `command`, else instruct.
    `publishers`: on the route `direct`, the nodes that may publish on the topics that the controller
    publishes, such as `/leader_node`.
    """

    topic: Text
    route: Route = Route.THROUGH_CONTROLLER
    timeout_s: Positive = 0.3
    time: TimeSource = TimeSource.HEADER
    takeover: TakeoverKind = TakeoverKind.COMMAND
    takeover_threshold: Positive = 0.05
    takeover_topic: Text = ""
    hand_back: HandBack | None = None
    publishers: tuple[Text, ...] = ()

    @property
    def hands_back(self) -> bool:
        """Whether the policy goes on by itself after a human has let go."""
        if self.hand_back is None:
            return self.takeover is TakeoverKind.COMMAND
        return self.hand_back is HandBack.AUTO


@dataclass(frozen=True, config=CHECKED)
class Command:
    """What the controller sends to the arm: a command for time s is reached at s + `command_delay_s` [s]."""

    type: CommandType
    topic: Text
    command_delay_s: Annotated[Number, Field(ge=0.02, le=0.5)]


@dataclass(frozen=True, config=CHECKED)
class JointLimits:
    """Limits of one joint: position (low, high) [rad or m], velocity [/s], acceleration [/s^2], jerk [/s^3].

    Without a jerk limit it is `JERK_PER_ACCELERATION` times the acceleration.
    """

    position: Annotated[tuple[Number, ...], Field(min_length=1)]
    velocity: Positive
    acceleration: Positive
    jerk: Positive | None = None


@dataclass(frozen=True, config=CHECKED)
class Kinematics:
    """Where the arm's URDF comes from: the topic `robot_description`, or a file's path.

    Needed for the ee spaces, for Cartesian commands and for a workspace box. `base_link` is the frame
    of all poses, `tool_link` carries the tool point.
    """

    urdf: Text
    base_link: Text
    tool_link: Text


@dataclass(frozen=True, config=CHECKED)
class Workspace:
    """Box for the tool point alone, in `base_link`: lowest and highest (x, y, z) [m]."""

    low: Annotated[tuple[Number, ...], Field(min_length=1)]
    high: Annotated[tuple[Number, ...], Field(min_length=1)]


@dataclass(frozen=True, config=CHECKED)
class Safety:
    """When the controller refuses or stops. Software measures, no safety functions.

    `resume_within_s`: a stream that is silent this much longer than its maximal age ends the instruction [s].
    `first_target_max_distance`: largest distance of a first target from the arm, in any joint [rad or m];
    `first_target` says what happens to a farther one: refused, or approached slowly within the limits.
    `tracking_error_max`: largest distance between set-point and measurement, in any joint [rad or m].
    `deadman_topic`: std_msgs/Bool that must be true, again and again, for motion; empty: none.
    """

    joint_state_timeout_s: Positive = 0.2
    resume_within_s: NotNegative = 0.5
    first_target_max_distance: Positive = 0.3
    first_target: FirstTarget = FirstTarget.REFUSE
    tracking_error_max: Positive = 0.3
    deadman_topic: Text = ""
    deadman_timeout_s: Positive = 0.3
