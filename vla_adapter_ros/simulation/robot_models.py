"""The robots that can be simulated: joints, grippers, tool points, cameras and where cubes may lie.

The meshes come from installed wheels (`meshes.py`), whose files are used without importing their code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from vla_adapter_ros.errors import SimulationError

Range = tuple[float, float]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class GripperModel:
    """One gripper.

    Attributes:
        joints: Its joints in MuJoCo; the first is the one that is commanded and measured.
        names: What joint states call them.
        actuator: The actuator in MuJoCo.
        input_scale: Actuator input per position of the joint.
        open_position, closed_position: Of the joint [rad or m].
        closing: Opening, as a fraction of open to closed, below which it has begun to close.
        held: Opening below which nothing can be between the fingers.
        approach_m: Where the tool point comes down beside an object, along the hand's y axis [m]: a jaw that
            stands still must pass it as well.
    """

    joints: tuple[str, ...]
    names: tuple[str, ...]
    actuator: str
    input_scale: float
    open_position: float
    closed_position: float = 0.0
    closing: float = 0.875
    held: float = 0.3
    approach_m: float = 0.0

    @property
    def name(self) -> str:
        """What joint states call the joint that is commanded."""
        return self.names[0]

    def opening(self, position: float) -> float:
        """Position of the joint as a fraction of the stroke: 0 closed, 1 open."""
        return (position - self.closed_position) / (self.open_position - self.closed_position)

    def clip(self, position: float) -> float:
        """The nearest position between open and closed."""
        low, high = sorted((self.open_position, self.closed_position))
        return min(max(position, low), high)


@dataclass(frozen=True)
class ArmModel:
    """One arm with its gripper.

    Attributes:
        joints: In kinematic order, as MuJoCo and joint states call them (J,).
        gripper: Its gripper.
        ready: Posture with the tool pointing down (J,) [rad]; start of every inverse solution.
        tool: Site of the tool point in MuJoCo: z points away from the hand, fingers close along y.
        tool_body: Body that it is fixed to.
        tool_point: Tool point in that body [m].
        tool_rotation: Orientation of the site in that body, quaternion wxyz.
        redundant: Joint that stays at 0 in inverse solutions, so that a pose has one posture.
        base: Place on the table (x, y) [m].
        prefix: Of all names in MuJoCo, and of the joints.
    """

    joints: tuple[str, ...]
    gripper: GripperModel
    ready: tuple[float, ...]
    tool_body: str
    tool_point: Point
    tool_rotation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    tool: str = "tool"
    redundant: int | None = None
    base: tuple[float, float] = (0.0, 0.0)
    prefix: str = ""


@dataclass(frozen=True)
class CameraView:
    """A camera in the world, or in `body` of an arm, that looks at `target`; `fovy` is upright [degrees]."""

    position: Point
    target: Point
    fovy: float
    up: Point = (0.0, 0.0, 1.0)
    body: str = ""


@dataclass(frozen=True)
class TaskArea:
    """Where cubes lie and where the tool starts, in the base frame of the robot [m].

    Attributes:
        cube_side: Of each cube.
        cube_x, cube_y: Range of their centers.
        cube_distance: Between centers, at least.
        start_x, start_y, start_z: Range of the tool point at the start, relative to the arm's base.
        grasp_z, travel_z, lift_z: Heights of the tool while it grasps, travels and lifts.
        lift_height: How far above its rest a held cube counts as lifted.
        step: Farthest target from the tool point per 0.1 s.
    """

    cube_side: float = 0.04
    cube_x: Range = (0.36, 0.62)
    cube_y: Range = (-0.20, 0.20)
    cube_distance: float = 0.10
    start_x: Range = (0.35, 0.55)
    start_y: Range = (-0.15, 0.15)
    start_z: Range = (0.18, 0.30)
    grasp_z: float = 0.02
    travel_z: float = 0.14
    lift_z: float = 0.16
    lift_height: float = 0.06
    step: float = 0.035

    @property
    def rest_height(self) -> float:
        """Height of a cube's center on the table [m]."""
        return self.cube_side / 2


@dataclass(frozen=True)
class RobotModel:
    """A robot that can be simulated.

    Attributes:
        name: For messages.
        source: Which meshes it is built from: a key of `meshes.LOADERS`.
        arms: Its arms.
        cameras: Its cameras by name, in order.
        base_frame: What its driver calls the frame of all poses.
        area: Where its task takes place.
    """

    name: str
    source: str
    arms: tuple[ArmModel, ...]
    cameras: tuple[tuple[str, CameraView], ...]
    base_frame: str
    area: TaskArea = TaskArea()

    @property
    def joints(self) -> tuple[str, ...]:
        """Joints of all arms, in order (J,); those of the grippers are not among them."""
        return tuple(joint for arm in self.arms for joint in arm.joints)

    @property
    def grippers(self) -> tuple[GripperModel, ...]:
        """The gripper of each arm (G,)."""
        return tuple(arm.gripper for arm in self.arms)

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the cameras, in order."""
        return tuple(name for name, _ in self.cameras)


_FR3_ARM = ArmModel(
    joints=tuple(f"fr3_joint{i}" for i in range(1, 8)),
    # Joint states call the fingers as franka_ros2 does.
    gripper=GripperModel(
        ("finger_joint1", "finger_joint2"), ("fr3_finger_joint1", "fr3_finger_joint2"), "hand",
        input_scale=255.0 / 0.04, open_position=0.04,
    ),
    ready=(0.0, -0.6, 0.0, -2.4, 0.0, 1.8, 0.785398),
    tool_body="hand",
    tool_point=(0.0, 0.0, 0.1034),  # as in Franka's own description
    redundant=2,
)  # fmt: skip
_FR3_HAND_VIEW = CameraView((0.08, 0.0, -0.005), (0.035, 0.0, 0.12), 75.0, (1.0, 0.0, 0.0), "hand")

FR3 = RobotModel(
    "Franka Research 3", "fr3", (_FR3_ARM,),
    (
        ("third_view", CameraView((1.05, 0.0, 0.62), (0.45, 0.0, 0.03), 45.0)),
        ("gripper", _FR3_HAND_VIEW),
    ),
    "fr3_link0",
)  # fmt: skip


def _prefixed(arm: ArmModel, prefix: str, base: tuple[float, float]) -> ArmModel:
    """A further arm of the same kind: all its names begin with `prefix`."""
    gripper = replace(
        arm.gripper,
        joints=tuple(prefix + joint for joint in arm.gripper.joints),
        names=tuple(prefix + name for name in arm.gripper.names),
        actuator=prefix + arm.gripper.actuator,
    )
    return replace(
        arm, gripper=gripper, joints=tuple(prefix + joint for joint in arm.joints), tool=prefix + arm.tool,
        tool_body=prefix + arm.tool_body, base=base, prefix=prefix,
    )  # fmt: skip


FR3_DUO = RobotModel(
    "two Franka Research 3", "fr3",
    (_prefixed(_FR3_ARM, "left_", (0.0, 0.3)), _prefixed(_FR3_ARM, "right_", (0.0, -0.3))),
    (
        ("third_view", CameraView((1.40, 0.0, 0.85), (0.38, 0.0, 0.12), 48.0)),
        ("left_gripper", replace(_FR3_HAND_VIEW, body="left_hand")),
        ("right_gripper", replace(_FR3_HAND_VIEW, body="right_hand")),
    ),
    "world",
    TaskArea(cube_y=(-0.34, 0.34), cube_x=(0.36, 0.58), start_x=(0.35, 0.45), start_y=(-0.05, 0.05)),
)  # fmt: skip

UR5E = RobotModel(
    "UR5e with a Robotiq 2F-85", "ur5e_2f85",
    (
        ArmModel(
            joints=("shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint",
                    "wrist_1_joint", "wrist_2_joint", "wrist_3_joint"),
            gripper=GripperModel(
                ("hand_left_driver_joint", "hand_right_driver_joint"), ("robotiq_85_left_knuckle_joint",),
                "hand_fingers_actuator", input_scale=255.0 / 0.8, open_position=0.0, closed_position=0.8,
                closing=0.9, held=0.25,
            ),
            ready=(0.0, -1.5708, 1.5708, -1.5708, -1.5708, 0.0),
            tool_body="hand_base",
            tool_point=(0.0, 0.0, 0.145),  # between the pads, the model's own site "pinch"
        ),
    ),
    (
        ("third_view", CameraView((1.25, 0.0, 0.70), (0.42, 0.0, 0.12), 45.0)),
        ("gripper", CameraView((0.09, 0.0, 0.02), (0.02, 0.0, 0.16), 75.0, (1.0, 0.0, 0.0), "hand_base")),
    ),
    "base_link",
)  # fmt: skip

SO101 = RobotModel(
    "SO-101", "so101",
    (
        ArmModel(
            joints=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
            gripper=GripperModel(
                ("gripper",), ("gripper",), "gripper", input_scale=1.0,
                open_position=1.2, closed_position=-0.1, closing=0.85, held=0.12, approach_m=-0.010,
            ),
            ready=(0.0, -0.3, 0.3, 1.5, 0.0),
            tool_body="gripper",
            tool_point=(0.0125, 0.0, -0.092),  # between the jaws when they hold a cube of 3 cm
            tool_rotation=(0.0, 0.70710678, 0.70710678, 0.0),  # the jaws close along the body's x
        ),
    ),
    (
        ("third_view", CameraView((0.55, 0.0, 0.30), (0.12, 0.0, 0.07), 45.0)),
        ("gripper", CameraView((0.0, 0.07, -0.01), (0.01, 0.0, -0.10), 75.0, (0.0, 1.0, 0.0), "gripper")),
    ),
    "base_link",
    TaskArea(
        cube_side=0.03, cube_x=(0.16, 0.235), cube_y=(-0.10, 0.10), cube_distance=0.065,
        start_x=(0.18, 0.23), start_y=(-0.06, 0.06), start_z=(0.065, 0.08),
        grasp_z=0.018, travel_z=0.065, lift_z=0.075, lift_height=0.04, step=0.02,
    ),
)  # fmt: skip

ROBOTS = (FR3, FR3_DUO, UR5E, SO101)
"""Every robot that can be simulated."""


def robot_model(joints: Iterable[str], contract: str) -> RobotModel:
    """The robot with the given arm joints, whose grippers' joints may be among them.

    Args:
        joints: The contract's arm joints, in any order.
        contract: Its name, for the message.

    Raises:
        SimulationError: no robot has these joints.
    """
    names = set(joints)
    for model in ROBOTS:
        if set(model.joints) <= names <= {*model.joints, *(gripper.name for gripper in model.grippers)}:
            return model
    known = "; ".join(f"{model.name}: {', '.join(model.joints)}" for model in ROBOTS)
    raise SimulationError(
        f"contract '{contract}' has the arm joints {sorted(names)}; these robots can be simulated: {known}"
    )
