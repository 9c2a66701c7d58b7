"""How late a policy is, and what it does about that: it decides for later, and the arm goes slower."""

from __future__ import annotations

import math
from typing import NamedTuple

from vla_adapter_ros.choices import FULL_PACE_ROWS

SLOWEST_PACE = 0.25
LONGEST_DELAY_S = 2.0
"""From an image to the first row of its chunk, at most."""
_STEPS = 20  # of the pace: it does not change with every latency that is measured
_EXACT = 1e-6  # rounding of times


class Lateness(NamedTuple):
    """What a late policy is to decide, and how its rows are to be carried out."""

    pace: float = 1.0
    """Share of the rows' own rate at which they are due."""
    delay_s: float = 0.0
    """How much later than its image a chunk begins [s], a whole number of rows at full pace."""
    rows: int = 0
    """How many of its rows pass meanwhile."""


AT_ONCE = Lateness()
"""Of a policy that decides for its image."""


def lateness(
    latency_s: float,
    rate_hz: float,
    most_rows: int,
    speed: float = 1.0,
    full_pace_rows: float = FULL_PACE_ROWS,
) -> Lateness:
    """For what a policy decides that is so late.

    An arm that is driven by old images has to be slower, as everybody is in the dark: the fewer rows pass
    within a latency, the less the policy has to foresee.

    Args:
        latency_s: From an image to its chunk [s].
        rate_hz: Rows per second at full pace.
        most_rows: For how many rows later the policy was trained to decide; 0: it decides for its image, at
            full pace.
        speed: Share of the pace at which the controller carries out rows, 0.1 to 1.
        full_pace_rows: So many rows may pass at full pace; infinite: the pace is always full.
    """
    late = latency_s * rate_hz
    if most_rows <= 0 or late <= _EXACT:
        return AT_ONCE
    pace = full_pace_rows / (late * speed)
    if pace < 1.0:
        pace = max(math.floor(pace * _STEPS + _EXACT) / _STEPS, SLOWEST_PACE)
    pace = min(pace, 1.0)
    delay_s = (
        min(math.ceil(late - _EXACT), longest_delay(rate_hz, most_rows, pace * speed) * rate_hz) / rate_hz
    )
    return Lateness(pace, delay_s, round(delay_s * rate_hz * pace * speed))


def longest_delay(rate_hz: float, most_rows: int, speed: float) -> float:
    """The longest delay of a policy [s] that was trained for so many rows, at a share of the full rate."""
    whole = math.floor(most_rows / speed + _EXACT)
    return min(whole, math.floor(LONGEST_DELAY_S * rate_hz + _EXACT)) / rate_hz
