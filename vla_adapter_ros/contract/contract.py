"""The robot contract: what a robot gives and takes.

One YAML file per robot is read into `Contract` (see `read.py`). The same
object drives recording, training and deployment, and is stored in every data
set and checkpoint.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from vla_adapter_ros.contract.camera import Camera
from vla_adapter_ros.contract.enums import ActionSource, GripperCommandType, TimeSource, TopicType
from vla_adapter_ros.contract.migration import SCHEMA
from vla_adapter_ros.contract.safety import Safety
from vla_adapter_ros.contract.schema import (
    Action,
    Command,
    CommandGroup,
    Gripper,
    JointLimits,
    Kinematics,
    StateDimension,
    Teleop,
    TeleopGroup,
    Topic,
    Workspace,
)
from vla_adapter_ros.settings import CHECKED, Flag, Number, Text


@dataclass(frozen=True, config=CHECKED)
class Contract:
    """Everything that recording, training and deployment must agree on for one robot."""

    schema: Literal[SCHEMA]  # type: ignore[valid-type]
    """Version of this format; older files are read too."""
    name: Text
    """Name of the robot in messages and logs."""
    robot_type: Text
    """Kind of robot, as it stands in data sets."""
    rate_hz: Annotated[Number, Field(gt=0, le=200)]
    """Rows per second in data sets and in chunks [Hz]."""
    reference_camera: Text
    """The camera whose images give the time t of each frame."""
    cameras: dict[str, Camera]
    """Color cameras, by name, in the order in which the model sees them."""
    topics: Annotated[dict[str, Topic], Field(min_length=1)]
    """Inputs that are no images, by topic."""
    state: Annotated[tuple[StateDimension, ...], Field(min_length=1)]
    """The proprioception: its values in order."""
    action: Action
    """What a row of a chunk and a recorded action consist of."""
    teleop: Teleop = field(default_factory=Teleop, kw_only=True)
    """Where a human's commands come in, and how a human takes over; with `action.source: next_state` none is
    needed."""
    command: Command
    """What the arm's controller is sent."""
    limits: Annotated[dict[str, JointLimits], Field(min_length=1)]
    """Limits of each joint of the arm, by its name."""
    grippers: tuple[Gripper, ...] = ()
    """The grippers; a robot may have none."""
    kinematics: Kinematics | None = None
    """Where the arm's URDF comes from; needed for Cartesian spaces and commands and for a workspace."""
    workspace: Workspace | None = None
    """Box for the tool point."""
    safety: Safety = field(default_factory=Safety)
    """When the controller refuses or stops."""
    settle_s: Annotated[Number, Field(ge=0, le=1)] = 0.05
    """How long a frame waits for the slowest stream [s]."""
    verified: Flag | None = None
    """Whether somebody has driven the robot with this contract. false: the nodes say at start that nobody
    has; no entry: nothing is said."""
    home: dict[str, Number] = field(default_factory=dict)
    """Where `vla-adapter home` brings the arm: position of each of its joints [rad or m]. Without an entry
    it needs a checkpoint's start pose."""
    depth_cameras: dict[str, Camera] = field(default_factory=dict)
    """Depth cameras, by name: recorded beside the others, no input of a model."""

    @property
    def verification_warning(self) -> str:
        """What is said at start of a contract with which nobody has driven a robot; else empty."""
        if self.verified is not False:
            return ""
        return (
            f"Not verified on hardware: nobody has driven a robot with contract '{self.name}' yet. Its names "
            "and limits come from files of the vendor; begin with mode:=dry_run, and see docs/how-to/robots/"
        )

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
    def foreseen_state(self) -> tuple[bool, ...]:
        """Which proprioception values (S,) follow from the arm's motion: its joints and the tool's pose.

        Of a later state these are known ahead. Others, such as a gripper's or a force, are as measured last.
        """
        arm, pose = set(self.arm_joints), ("position.", "orientation.")
        return tuple(
            joint in arm and d.field in ("position", "velocity") if joint else d.field.startswith(pose)
            for d, joint in zip(self.state, self.state_joints, strict=True)
        )

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
    def command_topics(self) -> dict[str, TopicType]:
        """Topics on which commands are recorded -> what their messages are; the action's comes first."""
        commanded = [self.action.dimensions[place] for place in self.commanded_places]
        main = [d for d in commanded if d.topic in ("", self.action.topic)]
        others = {d.topic: self.topics[d.topic].type for d in commanded if d not in main}
        return ({self.action.topic: self.action.type} if main else {}) | others

    @property
    def hand_guided(self) -> bool:
        """Whether recorded actions are next states: a human moves the arm itself, and nobody commands it."""
        return self.action.source is ActionSource.NEXT_STATE

    @property
    def commanded_places(self) -> list[int]:
        """Places in the action of the values that are recorded from commands; the others are next states."""
        dimensions = enumerate(self.action.dimensions)
        return [place for place, d in dimensions if d.topic or not self.hand_guided]

    @property
    def measured_tool_pose(self) -> list[int]:
        """Places in the state of a measured pose (7,), as in `TopicType.POSE.fields`; empty without one."""
        for topic, entry in self.topics.items():
            places = {d.field: n for n, d in enumerate(self.state) if d.topic == topic}
            if entry.type is TopicType.POSE and set(TopicType.POSE.fields) <= set(places):
                return [places[name] for name in TopicType.POSE.fields]
        return []

    def dimensions_on(self, topic: str) -> dict[str, str]:
        """Action values whose commands come on a topic, in order: name -> joint that it drives, or itself."""
        gripper = {g.dimension: g.joint for g in self.grippers}
        joints = zip(self.action.dimensions, self.action_joints, strict=True)
        return {
            d.name: gripper.get(d.name) or self.joint_in_messages(joint) or d.name
            for d, joint in joints
            if (d.topic or self.action.topic) == topic
        }

    @property
    def arm_joints(self) -> tuple[str, ...]:
        """Joints of the arm or arms, in order (J,): the action's in joint spaces, else those with limits."""
        if self.action.space.is_cartesian:
            return tuple(self.limits)
        return tuple(joint for joint in self.action_joints if joint)

    @property
    def action_joints(self) -> tuple[str, ...]:
        """Joint that each action value drives, in order (A,); empty for grippers, and in the ee spaces."""
        if self.action.space.is_cartesian:
            return ("",) * len(self.action.dimensions)
        grippers = {gripper.dimension for gripper in self.grippers}
        return tuple("" if d.name in grippers else d.joint or d.name for d in self.action.dimensions)

    @property
    def state_factors(self) -> tuple[float, ...]:
        """Factor from each state value in its messages to SI, in order (S,)."""
        return tuple(dimension.unit.factor for dimension in self.state)

    @property
    def action_factors(self) -> tuple[float, ...]:
        """Factor from each action value in messages to SI, in order (A,)."""
        return tuple(dimension.unit.factor for dimension in self.action.dimensions)

    @property
    def joint_factors(self) -> dict[str, float]:
        """Joint, as the contract calls it -> factor from its position in the robot's messages to SI."""
        joints = zip(self.state_joints, self.state, strict=True)
        return {joint: d.unit.factor for joint, d in joints if joint and d.field == "position"}

    @property
    def driven_state(self) -> tuple[str, ...]:
        """State value that measures the joint of each action value (A,); empty where none does."""
        measured = self.measured_joints
        return tuple(measured.get(joint, "") for joint in self.action_joints)

    @property
    def measured_joints(self) -> dict[str, str]:
        """Joint, as the contract calls it -> name of the state value that is its position."""
        joints = zip(self.state_joints, self.state, strict=True)
        return {joint: d.name for joint, d in joints if joint and d.field == "position"}

    @property
    def arm_columns(self) -> tuple[str, ...]:
        """Action names that move the arm (all but the grippers), in order."""
        return tuple(self.action_names[n] for n in self.arm_places)

    @property
    def arm_places(self) -> list[int]:
        """Places in the action of what moves the arm, in order."""
        grippers = {gripper.dimension for gripper in self.grippers}
        return [n for n, name in enumerate(self.action_names) if name not in grippers]

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
        return tuple(topic for topic, entry in self.topics.items() if entry.type is TopicType.JOINT_STATE)

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

    def time_source(self, stream: str) -> TimeSource:
        """Which clock stamps a camera, or a topic."""
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
        grippers = (
            gripper.topic
            for gripper in self.grippers
            if gripper.type is not GripperCommandType.GRIPPER_COMMAND
        )
        return (*(group.topic for group in self.command_groups), *grippers, self.action.topic)

    @property
    def teleop_groups(self) -> tuple[TeleopGroup, ...]:
        """The devices of a human: those of `teleop.groups`, or one that gives the whole action, or none."""
        if self.teleop.groups or not self.teleop.topic:
            return self.teleop.groups
        return (TeleopGroup(self.teleop.topic, self.action_names),)

    @property
    def command_groups(self) -> tuple[CommandGroup, ...]:
        """The controllers that drive the arm's joints: those of `command.groups`, or one that drives all."""
        return self.command.groups or (CommandGroup(self.command.topic, self.arm_joints),)

    def names_in_commands(self, group: CommandGroup) -> tuple[str, ...]:
        """What the controller of a group calls its joints, in order: as the robot's messages do.

        Where it drives two joints that these call the same, it is the contract's names.
        """
        names = tuple(self.joint_in_messages(joint) for joint in group.joints)
        return names if len(set(names)) == len(names) else group.joints
