"""What a human asks for at one moment, whatever the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class HandState:
    """What a human asks for.

    Attributes:
        motion: Fractions of the largest speeds, float64 (6,) from -1 to 1: x, y, z, rx, ry, rz.
        clutch: Whether the clutch is held: otherwise nothing else counts.
        slow: Whether motion shall be slow.
        next_joints: Whether `motion` means the next six joints.
        gripper_presses: How often the gripper's button went down so far: each press opens or closes it.
        gripper_held: Whether a button that closes the gripper while it is held is held; None: there is none.
        gripper_closed: How far the gripper shall be closed, 0 to 1; None: the device does not say it.
        joint_velocities: Joint -> velocity [rad/s or m/s]; where there are any, `motion` does not count.
    """

    motion: np.ndarray = field(default_factory=lambda: np.zeros(6))
    clutch: bool = False
    slow: bool = False
    next_joints: bool = False
    gripper_presses: int = 0
    gripper_held: bool | None = None
    gripper_closed: float | None = None
    joint_velocities: Mapping[str, float] = field(default_factory=dict)
