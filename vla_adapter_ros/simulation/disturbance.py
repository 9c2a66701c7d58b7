"""Random pushes on the tool and slips of the grippers: demonstrations hold recoveries, commands stay clean.

The idea is DART's (Laskey et al., 2017): noise enters the motion, not the
recorded action.
"""

from __future__ import annotations

import numpy as np

KNOT_S = 0.1  # time between random values
MEMORY = 0.7  # correlation of one value with the next
MAX_AMPLITUDE_M = 0.03
MAX_SLIPS_PER_S = 2.0
_SLIP_S = (0.15, 0.4)  # how long a gripper stays shut, at least and at most


class Disturbance:
    """A smooth random offset of the tool, and moments in which open grippers shut.

    The offset is a first-order Gaussian walk, squashed into +-amplitude. A slip looks as a grasp beside the
    object does: the fingers are shut, hold nothing, and are told to be open.

    Args:
        amplitude_m: Largest offset per axis [m]; the standard deviation is 0.63 of it.
        seed: Source of chance.
        start: Time of the first knot [s]; the offset is 0 there.
        slips_per_s: How often open grippers shut [1/s], on average.
    """

    def __init__(self, amplitude_m: float, seed: int, start: float, slips_per_s: float = 0.0) -> None:
        self.slips_per_s, self._slip_ends = slips_per_s, start
        self._slip_chance, self._slip_drawn = np.random.default_rng([seed, 1]), start
        self._amplitude = amplitude_m
        self._rng = np.random.default_rng(seed)
        self._start = start
        self._knot = 0
        self._walk = np.zeros(3)
        self._from = np.zeros(3)
        self._to = np.zeros(3)

    def offset(self, t: float, active: bool) -> tuple[np.ndarray, np.ndarray]:
        """Offset (3,) [m] and its speed (3,) [m/s] at time `t` [s], which must not run backwards.

        Args:
            t: Time.
            active: While False no new push comes and the offset dies out.
        """
        knot = int((t - self._start) / KNOT_S + 1e-9)
        while self._knot <= knot:
            self._from = self._to
            fresh = self._rng.standard_normal(3) * np.sqrt(1 - MEMORY**2)
            self._walk = MEMORY * self._walk + (fresh if active else 0.0)
            self._to = self._amplitude * np.tanh(self._walk)
            self._knot += 1
        s = min(max((t - self._start) / KNOT_S - knot, 0.0), 1.0)
        displacement = self._to - self._from
        return self._from + displacement * (s * s * (3 - 2 * s)), displacement * (6 * s * (1 - s) / KNOT_S)

    def slips(self, t: float, active: bool) -> bool:
        """Whether open grippers are shut at time `t` [s], which must not run backwards.

        Args:
            t: Time.
            active: While False none begins, and one that has begun pauses.
        """
        while self._slip_drawn <= t:
            self._slip_drawn += KNOT_S
            begins = self._slip_chance.random() < self.slips_per_s * KNOT_S
            duration = self._slip_chance.uniform(*_SLIP_S)
            if begins and active:
                self._slip_ends = t + duration
        return active and t < self._slip_ends
