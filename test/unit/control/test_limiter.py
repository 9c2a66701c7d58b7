"""Catching up with a reference that asks for too much: each joint by itself, as fast as its limits allow."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control.limiter import Limiter
from vla_adapter_ros.control.limits import Limits

DT = 0.01
LIMITS = Limits.of(read_contract("franka_sim"))
MIDDLE = (LIMITS.low + LIMITS.high) / 2


class Wave:
    """Slow sines that begin at rest, and one joint that is elsewhere from the start."""

    version, horizon_s = 1, 0.0

    def __init__(self, far_joint: int, far: float) -> None:
        self.offset = np.zeros(7)
        self.offset[far_joint] = far

    def at(self, time: float) -> np.ndarray:
        w, size = 1.5, 0.1
        return np.stack(
            [
                MIDDLE + self.offset + size * (1 - np.cos(w * time)),
                np.full(7, size * w * np.sin(w * time)),
                np.full(7, size * w**2 * np.cos(w * time)),
            ]
        )


def follow(reference: Wave, ticks: int) -> np.ndarray:
    """Distance from the reference at every tick, (ticks, J)."""
    limiter = Limiter(LIMITS, DT)
    limiter.restart(np.stack([MIDDLE, np.zeros(7), np.zeros(7)]))
    errors = []
    for i in range(1, ticks + 1):
        step = limiter.step(reference, i * DT)
        errors.append(np.abs(step.state[0] - reference.at(i * DT)[0]))
    return np.array(errors)


def test_a_joint_that_is_far_away_holds_no_other_back() -> None:
    errors = follow(Wave(1, 0.6), 150)
    others = np.delete(errors, 1, axis=1)
    assert others[30:].max() < 1e-9  # from rest to the wave takes some ticks: it begins with an acceleration
    assert errors[0, 1] > 0.5


def test_a_far_joint_arrives_about_as_early_as_its_limits_allow_and_stays() -> None:
    for joint in range(7):
        errors = follow(Wave(joint, 0.5), 250)[:, joint]
        arrived = int(np.flatnonzero(errors > 1e-9)[-1]) + 1
        fastest = 2 * np.sqrt(0.5 / LIMITS.acceleration[joint])  # without any limit of jerk or velocity
        assert arrived * DT < 1.6 * fastest + 0.15, joint
        assert (np.diff(errors[:arrived]) < 1e-6).sum() > 0.9 * arrived  # it comes nearer nearly all the time
