"""The state for which a policy decides: that of the time at which its chunk will begin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vla_adapter_ros.control.committed_rows import committed_rows, resting_rows
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.lateness import AT_ONCE, SLOWEST_PACE, Lateness, lateness, longest_delay
from vla_adapter_ros.control.look_ahead import MotionAhead
from vla_adapter_ros.control.state_ahead import StateAhead
from vla_adapter_ros.errors import KinematicsError
from vla_adapter_ros.msg import CommittedMotion
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.motion_ahead import motion_of
from vla_adapter_ros.nodes.robot_description import watch_description
from vla_adapter_ros.nodes.topics import MOTION_TOPIC, NEWEST
from vla_adapter_ros.observation.frame import Frame


class Late(NamedTuple):
    """For what a policy decides that is late."""

    state: np.ndarray
    """The state (S,) in which its chunk will begin."""
    lateness: Lateness = AT_ONCE
    """How much later than the frame that is, and the pace of its rows."""
    committed: np.ndarray | None = None
    """The rows (D, A) before that, which the controller carries out anyway; None: there are none."""


class DelayedState:
    """Brings a frame's state forward by as many rows as the policy is late, up to what it was trained for.

    Where the controller's motion is not known far enough, or not with the newest chunk, the policy decides
    for the time of its image: it was trained for that, too.

    Args:
        node: Configured node; listens.
        most_rows: Rows that the checkpoint was trained to be late by, at most.
        full_pace_rows: See `lateness`.
    """

    def __init__(self, node: ManagedNode[Any], most_rows: int, full_pace_rows: float) -> None:
        self._contract, self._most, self._full_pace_rows = node.contract, most_rows, full_pace_rows
        self._ahead = StateAhead(node.contract)
        self._motion: tuple[MotionAhead, tuple[str, int]] | None = None
        self._build: Callable[[], ArmKinematics] | None = None
        self._kinematics: ArmKinematics | None = None
        self.newest = AT_ONCE
        """Of the newest chunk."""
        self.problem = ""
        """Why the policy decides for the time of its images, though it was trained for later; empty: it
        does not."""
        if not most_rows:
            return
        if node.contract.action.space.is_delta:
            self.problem = (
                f"the checkpoint was trained with delays, and {node.contract.action.space} has none"
            )
            self._most = 0
            return
        node.listen(CommittedMotion, MOTION_TOPIC, self._on_motion, NEWEST)
        watch_description(node, node.contract, self._set_kinematics, lambda problem: None)

    def of(self, frame: Frame, latency_s: float, speed: float, chunk: tuple[str, int], resting: bool) -> Late:
        """For what to decide. In the state, grippers stay as they were measured.

        Args:
            frame: Good.
            latency_s: From an image to its chunk [s].
            speed: At which the controller carries out rows, 0.1 to 1.
            chunk: Session and sequence of the newest chunk that was published.
            resting: Whether the arm stands still, and no chunk waits.
        """
        late = self._ahead_of(frame, latency_s, speed, chunk, resting)
        self.newest = late.lateness
        return late

    def most_delay_s(self, speed: float) -> float:
        """How late the next chunks may be [s], for who looks ahead for them; 0: nobody has to."""
        if not self._most:
            return 0.0
        rate_hz = self._contract.rate_hz
        usual = max(self._most / rate_hz, self.newest.delay_s + 1.0 / rate_hz)
        return min(usual, self._longest(speed))

    def too_late(self, latency_s: float, speed: float) -> str:
        """Why a policy that was trained with delays is later than that; empty if it is not, or was not."""
        if not self._most or latency_s <= self._longest(speed):
            return ""
        return (
            f"a chunk takes {latency_s:.3f} s, the checkpoint was trained for at most "
            f"{self._longest(speed):g} s (finetune --max-delay-rows)"
        )

    def _longest(self, speed: float) -> float:
        slowest = SLOWEST_PACE if math.isfinite(self._full_pace_rows) else 1.0
        return longest_delay(self._contract.rate_hz, self._most, slowest * speed)

    def _ahead_of(
        self, frame: Frame, latency_s: float, speed: float, chunk: tuple[str, int], resting: bool
    ) -> Late:
        contract = self._contract
        late = lateness(latency_s, contract.rate_hz, self._most, speed, self._full_pace_rows)
        if late.delay_s <= 0.0:
            return Late(frame.state)
        if self._build is not None:
            build, self._build = self._build, None
            self._kinematics = _or_none(build)
        self.problem = self._ahead.problem(self._kinematics)
        if self.problem:
            return Late(frame.state)
        at_once = Late(frame.state, Lateness(late.pace))
        joints, grippers = self._ahead.measured(frame.state)
        if resting:
            return Late(frame.state, late, resting_rows(contract, joints, grippers, late.rows))
        if self._motion is None or self._motion[1] != chunk:
            return at_once
        motion, begins = self._motion[0], frame.stamp + late.delay_s
        if (later := motion.at(begins)) is None:
            return at_once
        state = self._ahead.move(frame.state, *later, self._kinematics)
        row_s = 1.0 / (contract.rate_hz * late.pace * speed)
        return Late(state, late, committed_rows(contract, motion, grippers, begins, late.rows, row_s))

    def _on_motion(self, message: CommittedMotion) -> None:
        motion = motion_of(message, self._contract.arm_joints)
        if motion is not None:
            self._motion = motion, (message.session_id, message.sequence)

    def _set_kinematics(self, build: Callable[[], ArmKinematics]) -> None:
        self._build = build  # one object serves one thread: made by the one that infers


def _or_none(build: Callable[[], ArmKinematics]) -> ArmKinematics | None:
    try:
        return build()
    except KinematicsError:
        return None
