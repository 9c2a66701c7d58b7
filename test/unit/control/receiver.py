"""A robot for the tests of the core: a trajectory controller that is sampled at 1 kHz."""

from __future__ import annotations

import dataclasses

import numpy as np

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.control.limits import TOLERANCE, Limits
from vla_adapter_ros.simulation.trajectory_controller import TrajectoryController

CONTRACT = read_contract("franka_sim")
LIMITS = Limits.of(CONTRACT)
HOME = np.array([0.0, -0.2, 0.0, -2.0, 0.0, 1.8, 0.8])
DT = 0.01
SAMPLE_S = 0.001


def make_chunk(stamp: float, arm_rows: np.ndarray, gripper: float = 1.0, **changes) -> Chunk:
    rows = np.column_stack([arm_rows, np.full(len(arm_rows), gripper)])
    chunk = Chunk(stamp, rows, CONTRACT.action_names, CONTRACT.rate_hz, "session", 1, 0)
    return dataclasses.replace(chunk, **changes)


def ramp(speed: float = 0.5, rows: int = 8, start: np.ndarray = HOME) -> np.ndarray:
    return start + np.arange(rows)[:, None] * speed / CONTRACT.rate_hz * np.eye(7)[0]


def with_safety(contract: Contract = CONTRACT, **changes) -> Contract:
    return dataclasses.replace(contract, safety=dataclasses.replace(contract.safety, **changes))


class Arm:
    """An arm behind a joint trajectory controller, sent to every `publish_every` ticks or when it is urgent.

    `path` holds its set-points at 1 kHz (positions only: derivatives are finite differences). The arm
    hangs `sag` [rad] below them.
    """

    def __init__(
        self,
        core: MotionCore,
        start: np.ndarray = HOME,
        publish_every: int = 4,
        begin: float = 0.0,
        sag: float = 0.0,
    ) -> None:
        self.sag, self.noise = sag, lambda: 0.0
        self.core, self.now, self.position = core, begin, start.copy()
        self.publish_every, self.joint_states = publish_every, True
        self.controller = TrajectoryController(core.contract.arm_joints, start)
        self.path: list[np.ndarray] = []
        self.begin, self.ticks, self.sent, self.tick = begin, 0, 0, None
        self.states: list[str] = []

    def run(self, seconds: float) -> None:
        period = self.core.period_s
        for _ in range(round(seconds / period)):
            self.ticks += 1
            self.now = self.begin + self.ticks * period
            if self.joint_states:
                names = self.core.contract.arm_joints
                measured = self.position - self.sag + self.noise()
                self.core.measure(dict(zip(names, measured, strict=True)), self.now, self.now)
            self.tick = self.core.tick(self.now)
            self.states.append(self.tick.state)
            if self.tick.urgent or self.ticks % self.publish_every == 0:
                self.receive(self.core.trajectory(self.now))
            for i in range(round(period / SAMPLE_S)):
                self.path.append(self.controller.sample(self.now + i * SAMPLE_S)[0])
            self.position = self.controller.sample(self.now + period)[0]

    def starve(self, seconds: float) -> None:
        """Time goes on, but the core gets no processor: nothing is measured, decided or sent."""
        ticks = round(seconds / self.core.period_s)
        for i in range(round(ticks * self.core.period_s / SAMPLE_S)):
            self.path.append(self.controller.sample(self.now + self.core.period_s + i * SAMPLE_S)[0])
        self.ticks += ticks
        self.now = self.begin + self.ticks * self.core.period_s
        self.position = self.controller.sample(self.now + self.core.period_s)[0]

    def follow_device(self, goal: np.ndarray, seconds: float, columns: int) -> None:
        """A human's own device sends one smooth trajectory to `goal` (J,), and says so to the core meanwhile.

        From where the driver's set-point stands, at whatever speed: the device takes it over smoothly.
        """
        for k in range(round(1.5 / self.core.period_s)):  # it announces itself, and drives once the arm rests
            self.core.accept_teleop(np.full(columns, k % 2 * 1.0), self.now, self.now)
            self.run(self.core.period_s)
        still, sampled = np.zeros((1, len(goal))), self.now + self.core.period_s
        self.controller.accept_trajectory(
            self.core.contract.arm_joints, sampled, [seconds], goal[None], still, still, now=sampled
        )
        for k in range(round(seconds / self.core.period_s)):
            self.core.accept_teleop(np.full(columns, k % 2 * 1.0), self.now, self.now)
            self.run(self.core.period_s)

    def receive(self, trajectory) -> None:
        if trajectory is None:
            return
        for values in (
            trajectory.times,
            trajectory.positions,
            trajectory.velocities,
            trajectory.accelerations,
        ):
            assert np.isfinite(values).all()
        assert not trajectory.velocities[-1].any() and not trajectory.accelerations[-1].any()
        assert trajectory.times[0] > self.now
        np.testing.assert_allclose(
            trajectory.times, trajectory.start_ns * 1e-9 + trajectory.offsets, atol=1e-6
        )
        start = self.begin + self.ticks * self.core.period_s
        self.controller.accept_trajectory(
            trajectory.joints,
            start,
            trajectory.offsets,
            trajectory.positions,
            trajectory.velocities,
            trajectory.accelerations,
            now=self.now,
        )
        self.sent += 1

    @property
    def derivatives(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Velocity, acceleration and jerk at 1 kHz, by finite differences."""
        return tuple(np.diff(np.array(self.path), k, axis=0) / SAMPLE_S**k for k in (1, 2, 3))

    @property
    def resting(self) -> bool:
        return not (np.array(self.path[-20:]) != self.path[-1]).any()

    def check(self, limits: Limits = LIMITS) -> None:
        """Every limit holds on the whole path."""
        path = np.array(self.path)
        velocity, acceleration, jerk = self.derivatives
        most = 1 + TOLERANCE
        assert np.isfinite(path).all()
        assert (path >= limits.low).all() and (path <= limits.high).all()
        assert (np.abs(velocity) <= limits.velocity * most).all()
        assert (np.abs(acceleration) <= limits.acceleration * most).all(), np.abs(acceleration).max(0)
        # Third differences of floats of size 3 carry 2e-6 rad/s^3 of rounding.
        assert (np.abs(jerk) <= limits.jerk * most + 1e-4).all(), (np.abs(jerk).max(0), limits.jerk)


class ToldArm:
    """An arm behind a driver of positions or velocities, which is told one value each per tick.

    `told` holds what it was told, `path` where it stands at each tick.
    """

    def __init__(self, core: MotionCore, start: np.ndarray = HOME, begin: float = 0.0) -> None:
        self.core, self.begin, self.ticks, self.now = core, begin, 0, begin
        self.position, self.velocity = start.copy(), np.zeros_like(start)
        self.by_velocity = core.contract.command.type in ("forward_velocity", "cartesian_twist")
        self.told: list[np.ndarray] = [self.velocity if self.by_velocity else self.position]
        self.path: list[np.ndarray] = []

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / self.core.period_s)):
            self._pass()
            names = self.core.contract.arm_joints
            self.core.measure(dict(zip(names, self.measured(), strict=True)), self.now, self.now)
            self.tick = self.core.tick(self.now)
            setpoint = self.core.setpoint(self.now)
            if setpoint is None:
                if self.by_velocity:  # as nodes/outputs.py ends
                    self.velocity = np.zeros_like(self.velocity)
                    self.told.append(self.velocity)
                continue
            self.told.append(setpoint.velocity if self.by_velocity else setpoint.position)
            if self.by_velocity:
                self.velocity = setpoint.velocity
            else:
                self.position = setpoint.position

    def starve(self, seconds: float) -> None:
        """Time goes on, but the core gets no processor; a velocity driver goes on as it was told."""
        for _ in range(round(seconds / self.core.period_s)):
            self._pass()

    def measured(self) -> np.ndarray:
        """Where the joints are measured (J,)."""
        return self.position

    def _pass(self) -> None:
        self.ticks += 1
        self.now = self.begin + self.ticks * self.core.period_s
        self.position = self.position + self.velocity * self.core.period_s
        self.path.append(self.position)
