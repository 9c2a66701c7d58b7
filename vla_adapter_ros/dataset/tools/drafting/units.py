"""Which unit values are in, by their size and their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.dataset.joint_names import tokens
from vla_adapter_ros.dataset.mapping import UNIT_FACTORS

COUNTS, COUNTS_CENTER = 4095, 2048  # of a servo with 4096 steps per turn; 2048 is its middle
LARGEST_ANGLE = 2.5 * np.pi  # rad; joints that turn farther are rare, degrees beyond it are not
LARGEST_DEGREES, _LARGEST_TURN = 1080.0, 400.0  # degrees; an arm does not turn farther than the second
PERCENT = 100.0
_AT_END = 0.05  # percent; LeRobot clips normalized values, so that they stand at the very ends
_BYTE = 255
_WIDTH_M = 0.12  # no finger of a usual gripper opens wider [m]


@dataclass(frozen=True)
class Unit:
    """The unit that values seem to be in.

    Attributes:
        source: Unit of the data set, a key of `UNIT_FACTORS`.
        offset: What is added after the conversion into the contract's unit.
        why: What in the data says so; empty where there is nothing to say.
        doubtful: What else it may be; empty if nothing.
    """

    source: str
    offset: float = 0.0
    why: str = ""
    doubtful: str = ""

    @property
    def contract(self) -> str:
        """The contract's unit."""
        return UNIT_FACTORS[self.source][1]

    @property
    def converts(self) -> bool:
        """Whether a mapping must convert the values."""
        return UNIT_FACTORS[self.source][0] != 1.0 or self.offset != 0.0

    def convert(self, values: np.ndarray) -> np.ndarray:
        """Values in the contract's unit."""
        return values * UNIT_FACTORS[self.source][0] + self.offset


def joint_unit(values: np.ndarray, names: Sequence[str]) -> Unit:
    """Unit of the joints of an arm, or of both arms: all of them are taken to be in one.

    Args:
        values: (N, J), as the data has them; what is not finite is not looked at.
        names: (J,).
    """
    low, high = _extremes(values)
    largest = max(-low, high)
    span = f"values from {low:.5g} to {high:.5g}"
    words = {token for name in names for token in tokens(name)}
    if largest <= LARGEST_ANGLE:
        doubtful = (
            "a value is small for degrees, as its name says" if words & {"deg", "degree", "degrees"} else ""
        )
        return Unit("rad", why=span, doubtful=doubtful)
    if 0 <= low and LARGEST_DEGREES < high <= COUNTS:
        offset = -COUNTS_CENTER * UNIT_FACTORS["counts"][0]
        return Unit(
            "counts", offset, f"{span} are counts of servos, 4096 per turn", "the middle may not be 2048"
        )
    if LARGEST_DEGREES < largest <= COUNTS + 1:
        return Unit("counts", 0.0, f"{span} look like counts of servos, 4096 per turn", "another unit")
    if largest > _LARGEST_TURN:
        return Unit(
            "1", why=f"{span} are no angles", doubtful="any unit, such as pixels: give it in the mapping"
        )
    at_end = np.abs(np.abs(np.nan_to_num(values)) - PERCENT) <= _AT_END
    if largest <= PERCENT + _AT_END and at_end.sum() > 1:
        why = f"{span}, {int(at_end.sum())} at the very ends: LeRobot's percent of the calibrated range"
        cure = "degrees; for a robot that is to be driven, give each joint's factor from percent to rad"
        return Unit("percent", 0.0, why, cure)
    doubtful = "" if largest > PERCENT + _AT_END else "LeRobot's percent of the calibrated range, -100 to 100"
    return Unit("deg", 0.0, f"{span} are degrees", doubtful)


def gripper_unit(values: np.ndarray, joints: Unit) -> Unit:
    """Unit of a gripper, or of all joints of a hand: values (N, ...); `joints` is that of the arm."""
    low, high = _extremes(values)
    largest = max(-low, high)
    span = f"values from {low:.5g} to {high:.5g}"
    whole = bool((np.nan_to_num(values) == np.round(np.nan_to_num(values))).all())
    if whole and low >= 0 and PERCENT < high <= _BYTE:
        return Unit("1", why=f"{span} are whole numbers, 0 to {_BYTE} of a hand's driver")
    if joints.source == "counts" and largest > PERCENT + _AT_END:
        return joints
    if largest > COUNTS + 1:
        return Unit("1", why=span, doubtful="any unit")
    if largest > PERCENT + _AT_END:
        source = (
            "counts" if largest > LARGEST_DEGREES else "mm" if joints.source in ("rad", "percent") else "deg"
        )
        return Unit(source, why=span, doubtful="another unit")
    if largest > LARGEST_ANGLE:
        doubtful = "degrees" if joints.source == "deg" else "millimeters or degrees"
        return Unit("percent", why=f"{span} are percent", doubtful=doubtful)
    if 0 < largest <= _WIDTH_M and low >= -0.01:
        return Unit("m", why=span, doubtful="a fraction of the opening")
    return Unit("1", why=span)


def _extremes(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
