"""The parts of a robot contract and what each may say, as frozen dataclasses; `contract.py` is the whole.

Units are SI and radians, axes follow REP 103.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vla_adapter_ros.contract.encodings import PIXELS

SCHEMA = 1
ACTION_SPACES = ("joint_position", "joint_delta", "ee_delta", "ee_pose")
TOOL_COLUMNS = ("x", "y", "z", "rx", "ry", "rz")
"""Columns of the ee spaces: translation [m] and rotation vector (axis times angle) [rad]."""
DELTA_REFERENCES = ("measured", "commanded", "chunk_start")
FRAMES = ("base", "tool")
COMMANDS = ("joint_trajectory", "forward_position", "forward_velocity", "cartesian_pose", "cartesian_twist")
GRIPPER_COMMANDS = ("forward_position", "joint_trajectory", "gripper_command")
JERK_PER_ACCELERATION = 30.0
"""Jerk limit where none is given, as a multiple of the acceleration limit [1/s]."""
TRANSPORTS = ("raw", "compressed")
TOPIC_TYPES = ("joint_state", "pose")
FIELDS = {
    "joint_state": ("position", "velocity", "effort"),
    "pose": (
        "position.x", "position.y", "position.z",
        "orientation.x", "orientation.y", "orientation.z", "orientation.w",
    ),
}  # fmt: skip
UNITS = ("rad", "m", "rad/s", "m/s", "Nm", "N", "1")
TIMES = ("header", "receive")
FITS = ("", "crop", "pad")
ROTATIONS = (0, 90, 180, 270)
ROUTES = ("through_controller", "direct")
TAKEOVERS = ("command", "motion", "topic")
HAND_BACKS = ("auto", "instruct")


@dataclass(frozen=True)
class Camera:
    """One camera. `rotation` [degrees, counter-clockwise] is applied right after decoding.

    `encoding` says what raw images are whose messages do not: 8UC3 may be rgb8 or bgr8. Messages that say
    something else are refused.
    `fit` says what becomes of images of another size, after the turn: refused if empty; `crop` cuts larger
    ones around their middle, `pad` puts smaller ones into the middle of a black image.
    `sync_tolerance_s`: an image stamped at most so far from that of the reference camera is of the same time
    [s]. Without an entry it is the smaller of 5 ms and a quarter of the camera's measured period.
    """

    topic: str
    width: int = field(metadata={"min": 8, "max": 16384})
    height: int = field(metadata={"min": 8, "max": 16384})
    transport: str = field(default="raw", metadata={"choices": TRANSPORTS})
    rotation: int = field(default=0, metadata={"choices": ROTATIONS})
    max_age_s: float = field(default=0.1, metadata={"above": 0.0})
    time: str = field(default="header", metadata={"choices": TIMES})
    encoding: str = field(default="", metadata={"choices": ("", *PIXELS)})
    fit: str = field(default="", metadata={"choices": FITS})
    sync_tolerance_s: float | None = field(default=None, metadata={"min": 0.0, "max": 0.5})

    @property
    def size(self) -> tuple[int, int]:
        """Width and height [px], after the turn."""
        return self.width, self.height


@dataclass(frozen=True)
class Topic:
    """An input topic that carries no images. `time` says which clock stamps its samples."""

    type: str = field(metadata={"choices": TOPIC_TYPES})
    max_age_s: float = field(default=0.1, metadata={"above": 0.0})
    time: str = field(default="header", metadata={"choices": TIMES})


@dataclass(frozen=True)
class StateDimension:
    """One value of the proprioception: a field of a topic; `joint` picks by name in joint states.

    Everywhere else in the contract a joint is called by that name, or, where joint states on several topics
    have a joint of the same name (two arms of one kind), by the `name` of its position here.
    """

    name: str
    topic: str
    field: str
    unit: str = field(metadata={"choices": UNITS})
    joint: str = ""


@dataclass(frozen=True)
class ActionDimension:
    """One value of the action; times `scale` it has this unit.

    `name` is what chunks, recordings and a leader's messages call it. `joint` is the robot's joint that it
    drives, where that has another name; a gripper's joint is named with the gripper.
    """

    name: str
    unit: str = field(metadata={"choices": UNITS})
    scale: float = field(default=1.0, metadata={"above": 0.0})
    joint: str = ""


@dataclass(frozen=True)
class Action:
    """What a row of a chunk, a recorded action and a teleoperation command consist of.

    `field` says in which part of the JointState messages on `topic` and on the teleoperation topic the
    values stand: some drivers send velocity commands as velocities. `time` says which clock stamps the
    messages on `topic`.
    Only for deltas: `delta_reference` says what the first row is added to: the arm as `measured` at
    the chunk's stamp, as `commanded` then, or `chunk_start`: as measured, and every row is relative to
    it, not to the row before. Only for ee_delta: `frame` is what its axes belong to.
    """

    space: str = field(metadata={"choices": ACTION_SPACES})
    topic: str
    dimensions: tuple[ActionDimension, ...]
    max_age_s: float = field(default=0.1, metadata={"above": 0.0})
    delta_reference: str = field(default="commanded", metadata={"choices": DELTA_REFERENCES})
    frame: str = field(default="base", metadata={"choices": FRAMES})
    time: str = field(default="header", metadata={"choices": TIMES})
    field: str = field(default="position", metadata={"choices": FIELDS["joint_state"]})


@dataclass(frozen=True)
class Gripper:
    """One gripper: the action dimension that moves it, what open and closed mean, and where it is told.

    `open` and `closed` are values of `dimension`; `open_position` and `closed_position` those of `joint`
    [rad or m]. `topic` is the name of the action server where `type` is gripper_command.
    """

    dimension: str
    joint: str
    open_position: float
    closed_position: float
    topic: str
    type: str = field(default="forward_position", metadata={"choices": GRIPPER_COMMANDS})
    open: float = 1.0
    closed: float = 0.0
    mode: str = field(default="binary", metadata={"choices": ("binary", "continuous")})
    hysteresis: float = field(default=0.2, metadata={"min": 0.0})
    min_dwell_s: float = field(default=0.0, metadata={"min": 0.0})
    """Binary: shortest time between two switches [s]."""


@dataclass(frozen=True)
class Teleop:
    """Where a human's commands come in, how a human takes over, and how the policy gets the arm back.

    `takeover`: with `command` whoever sends commands leads; with `motion` a leader arm that streams always
    leads once it has moved by more than `takeover_threshold` in any joint since the policy took over; with
    `topic` a human leads while a clutch (std_msgs/Bool on `takeover_topic`) is true.
    `hand_back`: with `auto` the policy goes on after a human has let go; with `instruct` it needs a new
    instruction. Without an entry: auto with `command`, else instruct.
    `publishers`: on the route `direct`, the nodes that may publish on the topics that the controller
    publishes, such as `/leader_node`.
    """

    topic: str
    route: str = field(default="through_controller", metadata={"choices": ROUTES})
    timeout_s: float = field(default=0.3, metadata={"above": 0.0})
    time: str = field(default="header", metadata={"choices": TIMES})
    takeover: str = field(default="command", metadata={"choices": TAKEOVERS})
    takeover_threshold: float = field(default=0.05, metadata={"above": 0.0})
    """Way of an action dimension, times its scale, that counts as motion of the leader [rad or m]."""
    takeover_topic: str = ""
    hand_back: str | None = field(default=None, metadata={"choices": HAND_BACKS})
    publishers: tuple[str, ...] = field(default=(), metadata={"may_be_empty": True})

    @property
    def hands_back(self) -> bool:
        """Whether the policy goes on by itself after a human has let go."""
        return (self.hand_back or ("auto" if self.takeover == "command" else "instruct")) == "auto"


@dataclass(frozen=True)
class Command:
    """What the controller sends to the arm. `lead_s`: a command for time s is reached at s + lead_s."""

    type: str = field(metadata={"choices": COMMANDS})
    topic: str
    lead_s: float = field(metadata={"min": 0.02, "max": 0.5})


@dataclass(frozen=True)
class JointLimits:
    """Limits of one joint: position (low, high) [rad or m], velocity [/s], acceleration [/s^2], jerk [/s^3].

    Without a jerk limit it is `JERK_PER_ACCELERATION` times the acceleration.
    """

    position: tuple[float, ...]
    velocity: float = field(metadata={"above": 0.0})
    acceleration: float = field(metadata={"above": 0.0})
    jerk: float | None = field(default=None, metadata={"above": 0.0})


@dataclass(frozen=True)
class Kinematics:
    """Where the arm's URDF comes from: the topic `robot_description`, or a file's path.

    Needed for the ee spaces, for Cartesian commands and for a workspace box. `base_link` is the frame
    of all poses, `tool_link` carries the tool point.
    """

    urdf: str
    base_link: str
    tool_link: str


@dataclass(frozen=True)
class Workspace:
    """Box for the tool point alone, in `base_link`: lowest and highest (x, y, z) [m]."""

    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Safety:
    """When the controller refuses or stops. Software measures, no safety functions."""

    joint_state_timeout_s: float = field(default=0.2, metadata={"above": 0.0})
    resume_within_s: float = field(default=0.5, metadata={"min": 0.0})
    """A stream that is silent this much longer than its maximal age ends the instruction [s]."""
    first_target_max_distance: float = field(default=0.3, metadata={"above": 0.0})
    """Largest distance of a first target from the arm, in any joint [rad or m]."""
    first_target: str = field(default="refuse", metadata={"choices": ("refuse", "ramp")})
    """What happens to a farther one: refused, or approached slowly within the limits."""
    tracking_error_max: float = field(default=0.3, metadata={"above": 0.0})
    """Largest distance between what is due and what is measured, in any joint [rad or m]."""
    deadman_topic: str = ""
    """std_msgs/Bool that must be true, again and again, for motion; empty: none."""
    deadman_timeout_s: float = field(default=0.3, metadata={"above": 0.0})
