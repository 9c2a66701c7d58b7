"""How long after a command the arm is there: the motion that shows it, the estimate, and what to write.

The controller decides at time s what is due at s + `command.command_delay_s`, its lead. An arm comes to what
is due some time later still: that is what is looked for. See docs/how-to/contract.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.choices import LARGEST_STEP
from vla_adapter_ros.commissioning.results import Results
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace, CommandType, Unit
from vla_adapter_ros.contract.schema import JointLimits
from vla_adapter_ros.dataset.joint_names import is_gripper
from vla_adapter_ros.errors import CommandError, ContractError

REST_S, SETTLE_S = 0.5, 0.8  # before a step begins, and after its end
_SHORTEST_STEP_S = 0.4
_EARLIEST_S, _LATEST_S, _GRID_S = -0.2, 0.6, 0.001  # delays that are tried
_FOLLOWS, _MOVES = 0.9, 0.3  # least correlation, and least share of the step that must be measured
_MATTERS_S = 0.05  # a smaller difference changes nothing: rows are as far apart
_SCATTERS_S = 0.05
_AHEAD_S = -0.02  # an arm that is there before it is due has another clock
_OVERSHOOT = 0.995  # rows that are joined smoothly go a little beyond the last of a step
# A smooth step over a distance d in a time T: its largest velocity and acceleration are these times d / T and
# d / T^2.
_VELOCITY, _ACCELERATION = 1.875, 5.78


@dataclass(frozen=True)
class Step:
    """A smooth step of one joint, and the rests around it.

    Attributes:
        size: How far [rad], with its sign.
        lasts_s: How long the joint moves [s].
    """

    size: float
    lasts_s: float

    @property
    def whole_s(self) -> float:
        """Time with both rests [s]."""
        return REST_S + self.lasts_s + SETTLE_S

    def at(self, times: np.ndarray) -> np.ndarray:
        """How far the joint is at times since the beginning [s], (N,) [rad]."""
        s = np.clip((np.asarray(times) - REST_S) / self.lasts_s, 0.0, 1.0)
        return _OVERSHOOT * self.size * s**3 * (10 - 15 * s + 6 * s**2)


@dataclass(frozen=True)
class Estimate:
    """What one step shows.

    Attributes:
        delay_s: How much later than the command the joint moved [s].
        fit: Correlation of command and measurement at that delay, at most 1.
        moved: How far the joint was measured to move [rad].
    """

    delay_s: float
    fit: float
    moved: float


def choose_joint(contract: Contract, joint: str) -> int:
    """Place in the action of the joint that is to move; without a name the last one that turns, no gripper.

    Raises:
        ContractError: the action is of another space than joint positions, or no joint turns.
        CommandError: the contract has no such joint, or it does not turn.
    """
    if contract.action.space is not ActionSpace.JOINT_POSITION:
        raise ContractError(
            f"action.space = {contract.action.space}: allowed for a measurement is joint_position. The "
            "delay is that of arm and driver: measure it with a contract of the same arm in that space"
        )
    places = zip(contract.arm_joints, contract.arm_places, strict=True)
    turning = {name: n for name, n in places if contract.action.dimensions[n].unit.si is Unit.RAD}
    if not turning:
        raise ContractError("no joint of the arm turns: allowed is a joint with unit rad")
    if joint and joint not in turning:
        raise CommandError(f"--joint {joint}: allowed is one of {', '.join(turning)}")
    return turning[joint or next(reversed([n for n in turning if not is_gripper(n)] or list(turning)))]


def plan_step(position: float, size: float, limits: JointLimits) -> Step:
    """A step from where the joint is, away from its nearer limit and slow enough for all limits.

    Args:
        position: Where it is [rad].
        size: How far, above 0 [rad].
        limits: Of the joint.

    Raises:
        CommandError: a size that is not allowed, or no room.
    """
    if not 0 < size <= LARGEST_STEP:
        raise CommandError(f"step = {size:g}: allowed is above 0 and at most {LARGEST_STEP:g} rad")
    low, high = limits.position
    direction = 1.0 if high - position >= position - low else -1.0
    if not low <= position + direction * size <= high:
        raise CommandError(
            f"the joint is at {position:.3f} rad, its limits are {low:g} to {high:g}: no room for a step"
        )
    share = 0.5  # of each limit
    lasts = max(
        _SHORTEST_STEP_S,
        _VELOCITY * size / (share * limits.velocity),
        float(np.sqrt(_ACCELERATION * size / (share * limits.acceleration))),
    )
    return Step(direction * size, lasts)


def estimate_delay(
    command_times: np.ndarray, commands: np.ndarray, times: np.ndarray, positions: np.ndarray
) -> Estimate:
    """Delay at which what was measured looks most like what was commanded, by their correlation.

    Neither rate matters, nor what lies between command and measurement but the delay: a constant offset, or
    a joint that moves a little less than it is told.

    Args:
        command_times: When commands were given, rising (N,) [s].
        commands: (N,) [rad]; at rest at both ends.
        times: When the joint was measured (M,) [s].
        positions: (M,) [rad].

    Raises:
        CommandError: the joint did not follow, or too little was measured.
    """
    moved = float(np.ptp(positions)) if len(positions) else 0.0
    if len(times) < 8 or len(commands) < 8:
        raise CommandError(
            f"{len(times)} positions and {len(commands)} commands came: too few for an estimate"
        )
    if not moved >= _MOVES * float(np.ptp(commands)) > 0:
        raise CommandError(
            f"the joint was told to move by {np.ptp(commands):.4f} rad and moved by {moved:.4f}: does the "
            "driver take the commands, and are its joint states fine enough?"
        )
    delays = np.arange(_EARLIEST_S, _LATEST_S + _GRID_S / 2, _GRID_S)
    shifted = np.interp(times - delays[:, None], command_times, commands)
    shifted -= shifted.mean(axis=1, keepdims=True)
    centered = positions - positions.mean()
    scale = np.linalg.norm(shifted, axis=1) * np.linalg.norm(centered)
    fits = np.divide(shifted @ centered, scale, out=np.zeros(len(delays)), where=scale > 0)
    best = int(fits.argmax())
    if best in (0, len(delays) - 1):
        raise CommandError(
            f"the joint moved {delays[best]:+.2f} s after the command: allowed is {_EARLIEST_S:g} to "
            f"{_LATEST_S:g} s. Are the clocks of robot and controller in step?"
        )
    if not fits[best] >= _FOLLOWS:
        raise CommandError(
            f"the joint moved by {moved:.4f} rad, but not as it was told (correlation {fits[best]:.2f}, "
            f"allowed is at least {_FOLLOWS:g}): does something else move the arm?"
        )
    return Estimate(float(delays[best]), float(fits[best]), moved)


def judge_delay(
    contract: Contract, delays: list[float], rate_hz: float, publish_every: int
) -> tuple[Results, float]:
    """What the measured delays say about `command.command_delay_s`.

    A driver of trajectories needs the lead for two messages, so that one may be lost; every driver needs its
    own delay. What is longer than that is no fault of a trajectory driver: how far ahead it must know a
    trajectory cannot be seen while it knows it.

    Args:
        contract: Of the robot, as the controller has it.
        delays: From command to measured motion, one per step [s].
        rate_hz: Of the controller.
        publish_every: Of the controller.

    Returns:
        The results, and the value to write [s].
    """
    results, key = Results(), "command.command_delay_s"
    lead = contract.command.command_delay_s
    usual, low, high = (float(value) for value in (np.median(delays), min(delays), max(delays)))
    behind = usual - lead
    trajectories = contract.command.type is CommandType.JOINT_TRAJECTORY
    messages = (2 * publish_every + 1) / rate_hz if trajectories else 1.0 / rate_hz
    wanted = float(np.clip(round(messages + max(behind, 0.0), 2), 0.02, 0.5))
    said = (
        f"the arm is there {usual:.3f} s after a command ({low:.3f} to {high:.3f} in {len(delays)} steps): "
        f"{behind:.3f} s after it was due"
    )
    if behind < _AHEAD_S:
        results.note_failure(
            key, f"the arm is there {-behind:.3f} s before it was due",
            "The clocks of robot and controller differ: chrony, or time: receive for the joint states",
        )  # fmt: skip
        return results, lead
    if high - low > _SCATTERS_S:
        results.note_warning(
            "spread", f"the delays differ by {high - low:.3f} s", "Measure again while the computer is idle"
        )
    if wanted > lead + _MATTERS_S or (not trajectories and wanted < lead - _MATTERS_S):
        results.note_warning(
            key, f"{said}; the contract says {lead:g}",
            f"Write command_delay_s: {wanted:g}, before anything is recorded: data sets and checkpoints keep "
            "the value and refuse another",
        )  # fmt: skip
        return results, wanted
    results.note_pass(key, f"{said}; {lead:g} is right")
    return results, lead
