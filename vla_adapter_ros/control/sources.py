"""Who leads the arm: the policy's chunks and the human's commands, both brought into joint space."""

from __future__ import annotations

import dataclasses

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace, DeltaReference, Route
from vla_adapter_ros.control.arm_state import ArmState
from vla_adapter_ros.control.chunk import Chunk, within_limits
from vla_adapter_ros.control.homing import HomeMotion
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.limiter import Reference
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.motion import CommittedMotion
from vla_adapter_ros.control.path_time import PathTime
from vla_adapter_ros.control.spaces import absolute_chunk
from vla_adapter_ros.control.supervisor import HOME, HUMAN
from vla_adapter_ros.control.takeover import Takeover
from vla_adapter_ros.control.teleop import TeleopStream
from vla_adapter_ros.control.timeline import ChunkTimeline, ChunkTransition, SmoothRows
from vla_adapter_ros.errors import ChunkError, CommandError


class Sources:
    """Both sources of motion.

    Args:
        contract: The robot's contract.
        limits: Of the joints.
        splice, handover_s, crossfade_s: See `ChunkTimeline`.
        speed: Of the policy's motion at the start.
    """

    def __init__(
        self,
        contract: Contract,
        limits: Limits,
        splice: str,
        handover_s: float,
        crossfade_s: float,
        speed: float,
    ) -> None:
        self._contract = contract
        self.path_time = PathTime(speed)
        """Of the policy's motion."""
        self.timeline = ChunkTimeline(limits, splice, handover_s, crossfade_s, path_time=self.path_time)
        self.waiting: tuple[tuple[Chunk, SmoothRows], ...] = ()
        """Chunks of the policy whose time is yet to come, in the order of their beginnings."""
        self.homing: HomeMotion | None = None
        """The motion home that is under way; None: none is."""
        self.teleop = TeleopStream(contract)
        self.takeover = Takeover(contract)
        self.gripper_places = contract.gripper_places
        """Place in the action of each gripper (G,)."""
        self._arm_places = contract.arm_places
        self._scale = np.array([contract.action.dimensions[i].scale for i in self._arm_places])
        self._rows = np.zeros((0, len(contract.action_names)))  # of the newest chunk, as they came
        self._ahead = 0.0  # how much earlier they are due than in the chunk [s]

    def clear(self) -> None:
        """Forget everything."""
        self.waiting = ()
        self.timeline.clear()
        self.teleop.clear()
        self.takeover.clear()

    def set_speed(self, speed: float, now: float) -> None:
        """Carry out all but a human's motion at another speed from `now` [s] on.

        Raises:
            CommandError: see `PathTime.set_speed`.
        """
        self.timeline.set_speed(speed, now)
        if self.homing is not None:
            self.homing.version += 1

    def start_of(self, chunk: Chunk, arm: ArmState, motion: CommittedMotion) -> np.ndarray:
        """Where the first delta of a chunk is added, and inverse kinematics begin: float64 (J,).

        Deltas are added to where the arm was measured at the chunk's stamp, or to the command of that moment.

        Raises:
            ChunkError: no joint states yet.
        """
        start = arm.at(chunk.stamp)
        if start is None:
            raise ChunkError("no joint states yet, so the first target cannot be checked")
        if self._contract.action.delta_reference is DeltaReference.COMMANDED and motion.holds(
            arm.known_position
        ):
            command = motion.commanded(chunk.stamp)
            return start if command is None else command
        return start

    def to_joint_space(self, chunk: Chunk, start: np.ndarray, kinematics: ArmKinematics | None) -> SmoothRows:
        """A chunk with rows as absolute joint rows within the position limits, joined smoothly.

        What was measured had been commanded `command_delay_s` before, so deltas that go on from there come
        that much earlier: otherwise every chunk would begin behind the one before.

        Args:
            chunk: Checked by `check_chunk`.
            start: See `start_of`.
            kinematics: Needed in ee spaces.

        Raises:
            ChunkError: see `absolute_chunk` and `within_limits`.
            KinematicsError: an ee space before the kinematics are known.
        """
        action = self._contract.action
        if action.space.is_delta and action.delta_reference is not DeltaReference.COMMANDED:
            chunk = dataclasses.replace(chunk, stamp=chunk.stamp - self._contract.command.command_delay_s)
        absolute = absolute_chunk(chunk, self._contract, start, kinematics)
        inside = within_limits(absolute, self.timeline.limits, self._contract.grippers)
        return SmoothRows(inside, len(self._contract.arm_joints))

    def first_target(self, smooth: Chunk, now: float) -> np.ndarray:
        """Joint positions (J,) of the newest absolute row that is due at `now` [s], or of the first."""
        passed_s = self.path_time.between(smooth.stamp, now)
        index = int(np.floor(passed_s * smooth.rate_hz + 1e-6))
        return smooth.rows[min(max(index, 0), len(smooth.rows) - 1), : len(self._contract.arm_joints)]

    def follow(
        self, chunk: Chunk, smooth: SmoothRows, now: float, state: np.ndarray, fade: bool
    ) -> ChunkTransition:
        """Follow a chunk from `now` on, the motion being in `state` (3, J): see `ChunkTimeline`."""
        self._rows, self._ahead = chunk.rows, chunk.stamp - smooth.chunk.stamp
        return self.timeline.take_over(smooth, now, state, fade)

    def accept_teleop(
        self,
        command: np.ndarray,
        stamp: float,
        now: float,
        here: np.ndarray | None,
        kinematics: ArmKinematics | None,
        leading: bool,
    ) -> None:
        """Take in a human's command (A,).

        Args:
            command: As in the contract.
            stamp: When it was given [s].
            now: When it was received [s].
            here: State (3, J) of the motion; None before the first joint state.
            kinematics: Needed in ee spaces.
            leading: Whether the human leads already; deltas then go on from what was asked before.

        Raises:
            CommandError, ChunkError, KinematicsError: see `MotionCore.accept_teleop`.
        """
        contract, teleop = self._contract, self.teleop
        command = teleop.check(command, stamp, now)
        if contract.teleop.route is Route.DIRECT:
            teleop.accept_target(command, np.zeros(len(contract.arm_joints)), stamp)
            self.takeover.accept(command, now)
            return
        if here is None:
            raise CommandError("no joint states yet, so a human's command cannot be followed")
        start = teleop.at(stamp)[0] if leading and teleop.stamp is not None else here[0]
        if contract.action.space is ActionSpace.JOINT_POSITION:
            teleop.accept_target(command, command[self._arm_places] * self._scale, stamp)
            self.takeover.accept(command, now)
            return
        chunk = Chunk(
            stamp, command[None], contract.action_names, contract.rate_hz, space=contract.action.space
        )
        rows = absolute_chunk(chunk, contract, start, kinematics).rows[:, : len(contract.arm_joints)]
        if contract.action.space is ActionSpace.EE_POSE:
            teleop.accept_target(command, rows[0], stamp)
        else:
            teleop.accept_way(command, rows[0], rows[1], stamp)
        self.takeover.accept(command, now)

    def reference(self, source: str) -> Reference:
        """Where `source` (human, policy or home) wants the arm, as a function of time."""
        if source == HOME:
            assert self.homing is not None, "nobody goes home"
            return self.homing
        return self.teleop if source == HUMAN else self.timeline

    def command(self, source: str, now: float) -> np.ndarray:
        """The action (A,) of `source` at `now` [s], before limiting, in the contract's own space.

        Joint positions of chunks are interpolated; rows of other spaces are those that are due. Of a
        displacement it is the part that the arm goes in the time of a row, so that what is recorded adds up.
        """
        if source == HUMAN:
            return self.teleop.command
        action = self._contract.action
        if action.space is not ActionSpace.JOINT_POSITION:
            row = self._rows[min(self.timeline.row(now - self._ahead), len(self._rows) - 1)]
            if action.space.is_delta and action.delta_reference is not DeltaReference.CHUNK_START:
                row = row.copy()
                row[self._arm_places] *= self.path_time.speed_at(now)
            return row
        command = np.empty(len(self._contract.action_names))
        command[self._arm_places] = self.timeline.at(now)[0] / self._scale
        command[self.gripper_places] = self.timeline.grippers(now)
        return command
