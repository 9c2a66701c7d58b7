"""The robot contract: what a robot gives and takes, as frozen dataclasses.

One YAML file per robot is read into `Contract` (see `read.py`). The same
object drives recording, training and deployment, and is stored in every data
set and checkpoint. Units are SI and radians, axes follow REP 103.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SCHEMA = 1
ACTION_SPACES = ("joint_position",)
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


@dataclass(frozen=True)
class Camera:
    """One camera. `rotation` [degrees, counter-clockwise] is applied right after decoding."""

    topic: str
    width: int = field(metadata={"min": 8})
    height: int = field(metadata={"min": 8})
    transport: str = field(default="raw", metadata={"choices": TRANSPORTS})
    rotation: int = field(default=0, metadata={"choices": ROTATIONS})
    max_age_s: float = field(default=0.1, metadata={"above": 0.0})
    time: str = field(default="header", metadata={"choices": TIMES})


@dataclass(frozen=True)
class Topic:
    """An input topic that carries no images. `time` says which clock stamps its samples."""

    type: str = field(metadata={"choices": TOPIC_TYPES})
    max_age_s: float = field(default=0.1, metadata={"above": 0.0})
    time: str = field(default="header", metadata={"choices": TIMES})


@dataclass(frozen=True)
class StateDimension:
    """One value of the proprioception: a field of a topic; `joint` picks by name in joint states."""

    name: str
    topic: str
    field: str
    unit: str = field(metadata={"choices": UNITS})
    joint: str = ""


@dataclass(frozen=True)
class ActionDimension:
    """One value of the action."""

    name: str
    unit: str = field(metadata={"choices": UNITS})


@dataclass(frozen=True)
class Action:
    """What a row of a chunk, a recorded action and a teleoperation command consist of."""

    space: str = field(metadata={"choices": ACTION_SPACES})
    topic: str
    dimensions: tuple[ActionDimension, ...]
    max_age_s: float = field(default=0.1, metadata={"above": 0.0})


@dataclass(frozen=True)
class Gripper:
    """What opening and closing mean in the action, and on the joint that is commanded."""

    dimension: str
    joint: str
    open_position: float
    closed_position: float
    open: float = 1.0
    closed: float = 0.0
    mode: str = field(default="binary", metadata={"choices": ("binary", "continuous")})
    hysteresis: float = field(default=0.2, metadata={"min": 0.0})


@dataclass(frozen=True)
class Teleop:
    """Where a human's commands come in, and whether they pass through the controller."""

    topic: str
    route: str = field(default="through_controller", metadata={"choices": ROUTES})
    timeout_s: float = field(default=0.3, metadata={"above": 0.0})


@dataclass(frozen=True)
class Command:
    """What the controller sends to the robot. `lead_s`: a command for time s is reached at s + lead_s."""

    type: str = field(metadata={"choices": ("joint_trajectory",)})
    topic: str
    gripper_topic: str
    lead_s: float = field(metadata={"min": 0.02, "max": 0.5})


@dataclass(frozen=True)
class JointLimits:
    """Limits of one joint: position (low, high) [rad or m], velocity [/s], acceleration [/s^2]."""

    position: tuple[float, ...]
    velocity: float = field(metadata={"above": 0.0})
    acceleration: float = field(metadata={"above": 0.0})


@dataclass(frozen=True)
class Safety:
    """When the controller refuses or stops. Software measures, no safety functions."""

    joint_state_timeout_s: float = field(default=0.2, metadata={"above": 0.0})
    first_target_max_distance: float = field(default=0.3, metadata={"above": 0.0})


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
    gripper: Gripper
    teleop: Teleop
    command: Command
    limits: dict[str, JointLimits]
    safety: Safety = field(default_factory=Safety)
    settle_s: float = field(default=0.05, metadata={"min": 0.0, "max": 1.0})

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Camera names in the order in which the model sees them."""
        return tuple(self.cameras)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the proprioception values, in order (S,)."""
        return tuple(dimension.name for dimension in self.state)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the action values, in order (A,)."""
        return tuple(dimension.name for dimension in self.action.dimensions)

    @property
    def arm_joints(self) -> tuple[str, ...]:
        """Action names that are joints of the arm (all but the gripper), in order (J,)."""
        return tuple(name for name in self.action_names if name != self.gripper.dimension)

    @property
    def joint_state_topic(self) -> str:
        """Topic of the joint states that measure the arm."""
        return next(d.topic for d in self.state if d.joint == self.arm_joints[0])
