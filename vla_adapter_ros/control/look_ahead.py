"""Where the arm will be, for a policy that decides for then: a copy of the controller is ticked ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.core import MotionCore
from vla_adapter_ros.control.core_state import CoreState, restore
from vla_adapter_ros.control.kinematics import ArmKinematics

_MEASURED_EVERY = 5  # ticks: often enough for every timeout, and a third of the time saved
_EXACT_S = 1e-6  # rounding of times


@dataclass(frozen=True)
class MotionAhead:
    """What a controller will do, if no further chunk comes.

    Attributes:
        times: Rising (N,) [s].
        positions: Where the arm's joints would be measured (N, J) [rad or m].
        velocities: Of the set-points (N, J) [rad/s or m/s].
        grippers: Positions that their joints are told (N, G) [rad or m]; G = 0: none was told any.
    """

    times: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray
    grippers: np.ndarray

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray] | None:
        """Positions and velocities (J,) each at `time` [s]; None beyond what is known."""
        if not self.times[0] - _EXACT_S <= time <= self.times[-1] + _EXACT_S:
            return None
        parts = (self.positions, self.velocities)
        position, velocity = (np.array([np.interp(time, self.times, c) for c in part.T]) for part in parts)
        return position, velocity


class LookAhead:
    """Copies a core and lets time pass for the copy; the arm is taken to stay as far off as it is now.

    Args:
        contract: As of the core that is copied.
        period_s: Length of a tick [s].
        publish_every: Ticks between two trajectories, as of the core that is copied.
        splice: As of the core that is copied.
    """

    def __init__(
        self, contract: Contract, period_s: float, publish_every: int, splice: str = "replace"
    ) -> None:
        self._copy = MotionCore(contract, period_s, splice=splice)
        self._joints, self._period_s, self._every = contract.arm_joints, period_s, publish_every

    def set_kinematics(self, kinematics: ArmKinematics) -> None:
        """As of the core that is copied; an object of its own where threads differ."""
        self._copy.set_kinematics(kinematics)

    def motion(self, state: CoreState, measured: np.ndarray, now: float, ticks: int) -> MotionAhead | None:
        """What comes in the next ticks; None where the arm stands still.

        Args:
            state: Of the core, which has taken in what was measured.
            measured: Positions (J,) at `now` [rad or m].
            now: Time [s].
            ticks: How far ahead.
        """
        copy = self._copy
        restore(copy, state)
        here = copy.setpoint(now)
        if here is None:
            return None
        away = measured - here.position
        points, grippers = [here], [copy.gripper_positions or ()]
        for tick in range(ticks):
            time = now + tick * self._period_s
            if tick and tick % _MEASURED_EVERY == 0:
                position = points[-1].position + away
                copy.measure(dict(zip(self._joints, position.tolist(), strict=True)), time)
            copy.tick(time)
            if tick % self._every == 0:
                copy.trajectory(time)
            points.append(copy.setpoint(time + self._period_s) or points[-1])
            grippers.append(copy.gripper_positions or ())
        first = next((told for told in grippers if told), ())
        return MotionAhead(
            now + self._period_s * np.arange(ticks + 1),
            np.array([point.position for point in points]) + away,
            np.array([point.velocity for point in points]),
            np.array([told or first for told in grippers], dtype=np.float64),
        )
