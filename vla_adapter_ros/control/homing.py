"""One motion to a pose that a person asks for: from rest to rest, slowly, all joints arriving together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.path_time import PathTime
from vla_adapter_ros.control.planner import Plan, Planner
from vla_adapter_ros.control.workspace import Box
from vla_adapter_ros.errors import CommandError

HOME_SPEED = 0.3
"""How fast it goes, as a fraction of the fastest motion within the limits."""
SPEED_LIMIT = 0.4  # fraction of the velocity limits that may be used on the way, to catch up a little
NEAR_RAD = 1e-3  # this close to the pose, the arm is there
_SPACING_RAD = 0.03  # of any joint between two places of the way that are checked
_SHORTEST_S = 0.02


class HomeMotion:
    """A planned motion to a pose, as a reference.

    Args:
        plan: Its fastest form, from rest to rest.
        target: Where it ends, float64 (J,).
        begin: When it begins [s].
        path_time: `HOME_SPEED` counts in it, so that a lower speed of the controller slows it down further.
    """

    horizon_s = 0.0

    def __init__(self, plan: Plan, target: np.ndarray, begin: float, path_time: PathTime) -> None:
        self.target, self.version = target, 0
        self._plan, self._begin, self._path_time = plan, begin, path_time

    def at(self, time: float) -> np.ndarray:
        """Reference state (3, J) at `time` [s]."""
        passed = self._passed(time)
        if passed >= self._plan.duration:
            return np.stack([self.target, np.zeros_like(self.target), np.zeros_like(self.target)])
        position, velocity, acceleration = self._plan.at(max(passed, 0.0))
        slowed = np.stack([position, velocity * HOME_SPEED, acceleration * HOME_SPEED**2])
        return self._path_time.in_time(slowed, time)

    def over(self, time: float) -> bool:
        """Whether the arm should be there at `time` [s]."""
        return self._passed(time) >= self._plan.duration

    @property
    def duration_s(self) -> float:
        """How long it takes at the newest speed [s]."""
        return self._plan.duration / HOME_SPEED / self._path_time.speed

    def _passed(self, time: float) -> float:
        return HOME_SPEED * self._path_time.between(self._begin, time)


def home_target(contract: Contract, names: Sequence[str], positions: Sequence[float]) -> np.ndarray:
    """The pose that is asked for, float64 (J,) in the order of the arm's joints.

    Args:
        contract: The robot's contract.
        names: Joints of the arm, each once, in any order; none: the contract's home pose.
        positions: One per name [rad or m].

    Raises:
        CommandError: there is no home pose, or names and positions are not those of the arm.
    """
    if not names:
        if not contract.home:
            raise CommandError(
                f"contract '{contract.name}' has no home pose: write its key home, or name a checkpoint"
            )
        names, positions = list(contract.home), list(contract.home.values())
    if len(names) != len(positions):
        raise CommandError(f"home: {len(positions)} positions for {len(names)} joints")
    if sorted(names) != sorted(contract.arm_joints):
        raise CommandError(f"home: joints {list(names)}: allowed is each of {list(contract.arm_joints)} once")
    by_name = dict(zip(names, positions, strict=True))
    target = np.array([by_name[joint] for joint in contract.arm_joints], dtype=np.float64)
    if not np.isfinite(target).all():
        raise CommandError(f"home: positions {list(positions)}: only finite numbers are allowed")
    return target


def plan_home(
    start: np.ndarray, target: np.ndarray, joints: Sequence[str], limits: Limits, box: Box | None
) -> Plan:
    """The fastest motion from rest at `start` to rest at `target`, (J,) each.

    Args:
        start, target: Positions [rad or m].
        joints: Names (J,), for messages.
        limits: For plans: see `Limits.planned`.
        box: Where the tool point may be; None: anywhere.

    Raises:
        CommandError: the target, or the way there, leaves the limits or the box.
    """
    for joint, value, low, high in zip(joints, target, limits.low, limits.high, strict=True):
        if not low <= value <= high:
            raise CommandError(f"home: {joint} = {value:.4g}: allowed is {low:.4g} to {high:.4g}")
    rest = np.zeros((2, len(start)))
    plan = Planner(limits).move(np.vstack([start, rest]), np.vstack([target, rest]), _SHORTEST_S)
    if plan is None:
        raise CommandError(f"home: no motion from {start.round(3).tolist()} to {target.round(3).tolist()}")
    if box is not None:
        count = int(np.ceil(np.abs(target - start).max() / _SPACING_RAD)) + 1
        before = start
        for i in range(1, count + 1):
            here = plan.at(plan.duration * i / count)[0]
            if not box.contains(before, np.vstack([here, rest]), None):
                where = "there" if i == count else f"after {100 * i / count:.0f} % of the way"
                raise CommandError(f"home: the tool would leave the workspace box {where}")
            before = here
    return plan
