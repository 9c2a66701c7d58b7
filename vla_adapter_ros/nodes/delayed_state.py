"""The state for which a policy decides: that of the time at which its chunk will begin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vla_adapter_ros.control.committed_rows import committed_rows, resting_rows
from vla_adapter_ros.control.kinematics import ArmKinematics
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
    rows: int
    """How many rows after the frame that is."""
    committed: np.ndarray | None = None
    """These rows (rows, A), which the controller carries out anyway; None: there are none."""


class DelayedState:
    """Brings a frame's state forward by as many rows as the policy is late, up to what it was trained for.

    Where the controller's motion is not known far enough, or not with the newest chunk, the policy decides
    for the time of its image: it was trained for that, too.

    Args:
        node: Configured node; listens.
        most_rows: Rows that the checkpoint was trained to be late by, at most.
    """

    def __init__(self, node: ManagedNode[Any], most_rows: int) -> None:
        self._contract, self._most = node.contract, most_rows
        self.most_s = most_rows / node.contract.rate_hz
        """The longest delay that the policy may have [s]."""
        self._ahead = StateAhead(node.contract)
        self._motion: tuple[MotionAhead, tuple[str, int]] | None = None
        self._build: Callable[[], ArmKinematics] | None = None
        self._kinematics: ArmKinematics | None = None
        self.rows = 0
        """How many rows later than its image the newest chunk begins."""
        self.problem = ""
        """Why the policy decides for the time of its images, though it was trained for later; empty: it
        does not."""
        if not most_rows:
            return
        if node.contract.action.space.is_delta:
            self.problem = (
                f"the checkpoint was trained with delays, and {node.contract.action.space} has none"
            )
            self._most, self.most_s = 0, 0.0
            return
        node.listen(CommittedMotion, MOTION_TOPIC, self._on_motion, NEWEST)
        watch_description(node, node.contract, self._set_kinematics, lambda problem: None)

    def of(self, frame: Frame, latency_s: float, chunk: tuple[str, int], resting: bool) -> Late:
        """For what to decide. In the state, grippers stay as they were measured.

        Args:
            frame: Good.
            latency_s: From an image to its chunk [s].
            chunk: Session and sequence of the newest chunk that was published.
            resting: Whether the arm stands still, and no chunk waits.
        """
        late = self._ahead_of(frame, latency_s, chunk, resting)
        self.rows = late.rows
        return late

    def too_late(self, latency_s: float) -> str:
        """Why a policy that was trained with delays is later than that; empty if it is not, or was not."""
        if not self._most or latency_s <= self.most_s:
            return ""
        return (
            f"a chunk takes {latency_s:.3f} s, the checkpoint was trained for at most {self.most_s:g} s "
            "(finetune --max-delay-rows)"
        )

    def _ahead_of(self, frame: Frame, latency_s: float, chunk: tuple[str, int], resting: bool) -> Late:
        rows, contract = min(math.ceil(latency_s * self._contract.rate_hz - 1e-6), self._most), self._contract
        if rows <= 0:
            return Late(frame.state, 0)
        if self._build is not None:
            build, self._build = self._build, None
            self._kinematics = _or_none(build)
        self.problem = self._ahead.problem(self._kinematics)
        if self.problem:
            return Late(frame.state, 0)
        joints, grippers = self._ahead.measured(frame.state)
        if resting:
            return Late(frame.state, rows, resting_rows(contract, joints, grippers, rows))
        if self._motion is None or self._motion[1] != chunk:
            return Late(frame.state, 0)
        motion = self._motion[0]
        if (later := motion.at(frame.stamp + rows / contract.rate_hz)) is None:
            return Late(frame.state, 0)
        state = self._ahead.move(frame.state, *later, self._kinematics)
        return Late(state, rows, committed_rows(contract, motion, grippers, frame.stamp, rows))

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
