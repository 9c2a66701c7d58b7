"""Where the arm will be: the state at a later time, from a copy of the controller that is ticked ahead."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.core_state import freeze, restore
from vla_adapter_ros.control.kinematics import ArmKinematics


class LookAhead:
    """Copies a core and lets time pass for the copy; the arm is taken to stay as far off as it is now.

    Args:
        contract: The robot's.
        period_s: Length of a tick [s].
        publish_every: Ticks between two trajectories, as of the core that is copied.
        kinematics: Of the core that is copied, if it has them.
    """

    def __init__(
        self,
        contract: Contract,
        period_s: float,
        publish_every: int,
        kinematics: ArmKinematics | None = None,
    ) -> None:
        self._copy = MotionCore(contract, period_s)
        if kinematics is not None:
            self._copy.set_kinematics(kinematics)
        self._joints, self._period_s, self._every = contract.arm_joints, period_s, publish_every

    def joints(
        self, core: MotionCore, measured: dict[str, float], now: float, ticks: int
    ) -> dict[str, float]:
        """Joint positions `ticks` later [rad or m]; those that the core does not move stay as measured.

        Args:
            core: Has taken in what was measured; it is not changed.
            measured: By joint name, at `now` [rad or m].
            now: Time [s].
            ticks: How far ahead; no further chunk comes meanwhile.
        """
        here = core.setpoint(now)
        if here is None or ticks == 0:
            return measured
        copy = self._copy
        restore(copy, freeze(core))
        away = np.array([measured[joint] for joint in self._joints]) - here.position
        position = here.position
        for tick in range(ticks):
            time = now + tick * self._period_s
            if tick:
                copy.measure(dict(zip(self._joints, (position + away).tolist(), strict=True)), time)
            copy.tick(time)
            if tick % self._every == 0:
                copy.trajectory(time)
            if (ahead := copy.setpoint(time + self._period_s)) is not None:
                position = ahead.position
        return measured | dict(zip(self._joints, (position + away).tolist(), strict=True))
