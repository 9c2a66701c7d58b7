"""The robot contract: what a robot gives and takes, as frozen dataclasses.

One YAML file per robot is read into `Contract` (see `read.py`). The same
object drives recording, training and deployment, and is stored in every data
set and checkpoint. Units are SI and radians, axes follow REP 103.
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
ROTATIONS = (0, 90, 180, 270)
ROUTES = ("through_controller", "direct")
TAKEOVERS = ("command", "motion", "topic")
HAND_BACKS = ("auto", "instruct")


@dataclass(frozen=True)
class Camera:
    """One camera. `rotation` [degrees, counter-clockwise] is applied right after decoding.

    `encoding` says what raw images are whose messages do not: 8UC3 may be rgb8 or bgr8. Messages that say
    something else are refused.
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


@dataclass(frozen=True)
class Contract:
    """Everything that recording, training and deployment must agree on for one robot."""

    schema: int = field(metadata={"choices": (SCHEMA,)})
    name: str
    robot_type: str
    rate_hz: float = field(metadata={"above": 0.0, "max": 200.0})
    reference_camera: str
    cameras: dict[str, Camera]
    topics: dict[str, Topic]
    state: tuple[StateDimension, ...]
    action: Action
    teleop: Teleop
    command: Command
    limits: dict[str, JointLimits]
    grippers: tuple[Gripper, ...] = field(default=(), metadata={"may_be_empty": True})
    kinematics: Kinematics | None = None
    workspace: Workspace | None = None
    safety: Safety = field(default_factory=Safety)
    settle_s: float = field(default=0.05, metadata={"min": 0.0, "max": 1.0})
    depth_cameras: dict[str, Camera] = field(default_factory=dict, metadata={"may_be_empty": True})
    """Recorded beside the cameras; no input of a model."""

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Camera names in the order in which the model sees them."""
        return tuple(self.cameras)

    @property
    def recorded_cameras(self) -> dict[str, Camera]:
        """All cameras, those of depth last."""
        return self.cameras | self.depth_cameras

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the proprioception values, in order (S,)."""
        return tuple(dimension.name for dimension in self.state)

    @property
    def state_joints(self) -> tuple[str, ...]:
        """What the contract calls the joint of each proprioception value (S,); empty on pose topics."""
        positions = {(d.topic, d.joint): d.name for d in self.state if d.joint and d.field == "position"}
        joints = [joint for _, joint in positions]
        return tuple(
            positions.get((d.topic, d.joint), d.name) if joints.count(d.joint) > 1 else d.joint
            for d in self.state
        )

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the action values, in order (A,)."""
        return tuple(dimension.name for dimension in self.action.dimensions)

    @property
    def arm_joints(self) -> tuple[str, ...]:
        """Joints of the arm, or of both arms, in order (J,): the action's in joint spaces, else those with
        limits."""
        if self.action.space.startswith("ee_"):
            return tuple(self.limits)
        return tuple(joint for joint in self.action_joints if joint)

    @property
    def action_joints(self) -> tuple[str, ...]:
        """Joint that each action value drives, in order (A,); empty for grippers, and in the ee spaces."""
        if self.action.space.startswith("ee_"):
            return ("",) * len(self.action.dimensions)
        grippers = {gripper.dimension for gripper in self.grippers}
        return tuple("" if d.name in grippers else d.joint or d.name for d in self.action.dimensions)

    @property
    def driven_state(self) -> tuple[str, ...]:
        """State value that measures the joint of each action value (A,); empty where none does."""
        joints = zip(self.state_joints, self.state, strict=True)
        measured = {joint: d.name for joint, d in joints if joint and d.field == "position"}
        return tuple(measured.get(joint, "") for joint in self.action_joints)

    @property
    def arm_columns(self) -> tuple[str, ...]:
        """Action names that move the arm (all but the grippers), in order."""
        return tuple(self.action_names[n] for n in self.arm_places)

    @property
    def arm_places(self) -> list[int]:
        """Places in the action of what moves the arm, in order."""
        grippers = set(self.gripper_places)
        return [n for n in range(len(self.action_names)) if n not in grippers]

    @property
    def gripper_places(self) -> list[int]:
        """Place in the action of each gripper (G,), in the order of `grippers`."""
        return [self.action_names.index(gripper.dimension) for gripper in self.grippers]

    @property
    def joint_state_topic(self) -> str:
        """Topic of the joint states that measure the arm's first joint."""
        joints = zip(self.state, self.state_joints, strict=True)
        return next(d.topic for d, joint in joints if joint == self.arm_joints[0])

    @property
    def joint_state_topics(self) -> tuple[str, ...]:
        """Topics of all joint states: joints of arms and grippers may come from several drivers."""
        return tuple(topic for topic, entry in self.topics.items() if entry.type == "joint_state")

    def joints_on(self, topic: str) -> dict[str, str]:
        """Joints of the state on a topic: what its messages call them -> what the contract does."""
        joints = zip(self.state, self.state_joints, strict=True)
        return {d.joint: joint for d, joint in joints if d.topic == topic}

    def joint_in_messages(self, joint: str) -> str:
        """What the robot's messages call a joint."""
        return dict(zip(self.state_joints, (d.joint for d in self.state), strict=True)).get(joint, joint)

    def max_age_s(self, stream: str) -> float:
        """How old a sample of a camera, or of a topic, may be when a frame uses it [s]."""
        return self._input(stream).max_age_s

    def time_source(self, stream: str) -> str:
        """Which clock stamps a camera, or a topic: "header" or "receive"."""
        return self._input(stream).time

    def _input(self, stream: str) -> Camera | Topic | Action:
        return self.recorded_cameras.get(stream) or self.topics.get(stream) or self.action

    def stream_title(self, stream: str) -> str:
        """A camera with its topic, or a topic, for people."""
        camera = self.recorded_cameras.get(stream)
        return f"camera {stream} ({camera.topic})" if camera else stream

    @property
    def driven_topics(self) -> tuple[str, ...]:
        """Topics that nobody but the arm's one controller should publish."""
        grippers = (gripper.topic for gripper in self.grippers if gripper.type != "gripper_command")
        return (self.command.topic, *grippers, self.action.topic)
