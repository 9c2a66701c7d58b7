"""Tells the policy where the controller will have brought the arm when its next chunk begins."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.core_state import CoreState, freeze
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.look_ahead import LookAhead, MotionAhead
from vla_adapter_ros.msg import CommittedMotion
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.parameters import ControllerParameters
from vla_adapter_ros.nodes.topics import MOTION_TOPIC, NEWEST
from vla_adapter_ros.nodes.worker import Worker

_LOOK_ROWS = 2  # between two looks while nothing changes; what is foreseen reaches as much farther
_MOST_TICKS = 200  # that are looked ahead: a tick takes 0.3 ms, which the control thread waits for in part
_POINTS_S = 0.02


class MotionAheadPublisher:
    """Publishes `CommittedMotion`, computed in a thread of its own beside the control thread.

    Args:
        node: Configured node; publishes.
        contract: As the core has it.
    """

    def __init__(self, node: ManagedNode[ControllerParameters], contract: Contract) -> None:
        parameters, self._node = node.parameters, node
        self._contract, self._period_s = contract, 1.0 / parameters.rate_hz
        self._look = LookAhead(contract, self._period_s, parameters.publish_every, parameters.splice)
        self._publisher = node.publish_on(CommittedMotion, MOTION_TOPIC, NEWEST)
        self._worker = Worker("look ahead", self._work)
        self._lock = threading.Lock()
        self._offered: tuple[float, CoreState, np.ndarray, int, tuple[str, int]] | None = None
        self._kinematics: ArmKinematics | None = None
        self._newest, self._at = ("", -1), -np.inf  # chunk and time of what was offered last

    def start(self) -> None:
        """Begin to work; not to be called while it works."""
        self._newest, self._at, self._offered = ("", -1), -np.inf, None
        self._worker.start()

    def stop(self) -> None:
        """Publish no more."""
        self._worker.stop()

    def set_kinematics(self, kinematics: ArmKinematics) -> None:
        """As the core has them; an object of this thread's own."""
        self._kinematics = kinematics

    def offer(self, core: MotionCore, now: float) -> None:
        """Look at the core, once per two rows and after each new chunk; its lock is held.

        Args:
            core: Has ticked.
            now: Time [s].
        """
        most_s, chunk = core.most_delay_s, core.known_chunk
        measured, _ = core.measured
        if most_s == 0.0 or measured is None:
            return
        look_s = _LOOK_ROWS / self._contract.rate_hz
        if chunk == self._newest and 0.0 <= now - self._at < look_s - self._period_s / 2:
            return
        self._newest, self._at = chunk, now
        ticks = min(round((most_s + look_s) / self._period_s), _MOST_TICKS)
        with self._lock:
            self._offered = now, freeze(core), measured.copy(), ticks, chunk
        self._worker.wake()

    def _work(self) -> None:
        with self._lock:
            offered, self._offered = self._offered, None
        if offered is None:
            return
        with self._node.boundary("look ahead"):
            self._publish(*offered)

    def _publish(
        self, now: float, state: CoreState, measured: np.ndarray, ticks: int, chunk: tuple[str, int]
    ) -> None:
        if self._kinematics is not None:
            self._look.set_kinematics(self._kinematics)
            self._kinematics = None
        ahead = self._look.motion(state, measured, now, ticks)
        if ahead is not None:
            until = now + self._contract.command.command_delay_s
            self._publisher.publish(motion_message(ahead, self._contract.arm_joints, now, until, chunk))


def motion_message(
    ahead: MotionAhead, joints: tuple[str, ...], now: float, until: float, chunk: tuple[str, int]
) -> CommittedMotion:
    """Message of what a controller will do.

    Args:
        ahead: The motion.
        joints: Names (J,).
        now: When it was decided [s].
        until: What is earlier does not change any more [s].
        chunk: Session and sequence of the newest chunk that it knows.
    """
    every = max(1, round(_POINTS_S / (ahead.times[1] - ahead.times[0]))) if len(ahead.times) > 1 else 1
    message = CommittedMotion(
        session_id=chunk[0],
        sequence=chunk[1],
        names=list(joints),
        times=(ahead.times[::every] - now).tolist(),
        positions=ahead.positions[::every].ravel().tolist(),
        velocities=ahead.velocities[::every].ravel().tolist(),
        gripper=ahead.grippers[::every].ravel().tolist(),
        committed_until=to_stamp(until),
    )
    message.header.stamp = to_stamp(now)
    return message


def motion_of(message: Any, joints: tuple[str, ...]) -> MotionAhead | None:
    """The motion of a message; None where it is of other joints, or its sizes or values make no sense."""
    count, width = len(message.times), len(joints)
    sizes = {len(message.positions), len(message.velocities)}
    if tuple(message.names) != joints or count == 0 or sizes != {count * width}:
        return None
    stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
    motion = MotionAhead(
        stamp + np.array(message.times),
        np.array(message.positions).reshape(count, width),
        np.array(message.velocities).reshape(count, width),
        np.array(message.gripper).reshape(count, -1)
        if len(message.gripper) % count == 0
        else np.zeros((count, 0)),
    )
    finite = all(np.isfinite(values).all() for values in (motion.times, motion.positions, motion.velocities))
    return motion if finite and np.all(np.diff(motion.times) > 0.0) else None
