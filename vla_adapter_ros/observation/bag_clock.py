"""Which clock the log times of a bag are of, and what it showed when a message was logged.

`ros2 bag record` logs by the wall clock, also in a simulation, whose stamps are of another clock. Then the
newest stamp that was heard so far tells the time: nothing is stamped later than it is received.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from vla_adapter_ros.observation.lateness import FUTURE_TOLERANCE_S, PAST_TOLERANCE_S

CLOCK_TOPIC = "/clock"
MEMORY_S = 1.0  # log time for which a stamp counts; after it a clock that was set back is believed
SAME_RATE, SAME_TIME_S = 0.02, 0.25  # clocks of one rate drift less, or by less in the whole bag


class BagClock:
    """Turns log times into receive times on the clock of the stamps.

    Args:
        stamps: Topic -> log time and stamp of its messages, float64 (N, 2) [s], in the order of log times.
            Only streams that are stamped by their headers, and /clock if the bag has it.
        cameras: Topics of cameras, whose drivers may share a clock that is nobody else's.
    """

    def __init__(self, stamps: Mapping[str, np.ndarray], cameras: Collection[str] = ()) -> None:
        self.remark = ""
        """That log times and stamps are of two clocks, in a sentence; empty if they are not."""
        self._logged = self._shown = np.empty(0)
        known = {topic: pairs for topic, pairs in stamps.items() if len(pairs) > 1}
        streams = {topic: pairs for topic, pairs in known.items() if topic != CLOCK_TOPIC}
        moving = {topic: pairs for topic, pairs in known.items() if np.ptp(pairs[:, 1]) > 0}
        if not streams.keys() & moving.keys():
            return
        agreeing = _largest_group(moving)
        of_the_log = {topic for topic, pairs in streams.items() if _of_the_log(pairs)}
        others = streams.keys() & set(agreeing) - of_the_log
        if of_the_log and (len(others) <= len(of_the_log) or others <= set(cameras)):
            return
        pairs = np.concatenate([moving[topic] for topic in agreeing])
        self._logged, self._shown = _newest(pairs[np.argsort(pairs[:, 0], kind="stable")])
        apart, rate = float(np.median(pairs[:, 0] - pairs[:, 1])), _rate(moving[agreeing[0]])
        pace = "" if abs(rate - 1) <= SAME_RATE else f" and that of the stamps at {rate:.2f} of the rate"
        self.remark = (
            f"log times and stamps are of two clocks, {abs(apart):.0f} s apart{pace}, as when a simulation "
            "is recorded by the wall clock: frames follow that of the stamps"
        )

    def at(self, logged: float) -> float:
        """When a message logged at `logged` was received, by the clock of the stamps [s]."""
        return float(np.interp(logged, self._logged, self._shown)) if len(self._logged) else logged


def _rate(pairs: np.ndarray) -> float:
    """How fast stamps run by the log times, from one half of them to the other: single ones do not matter."""
    half = len(pairs) // 2
    logged, stamped = np.median(pairs[half:], axis=0) - np.median(pairs[:half], axis=0)
    return float(stamped / logged) if logged > 0 else 0.0


def _of_the_log(pairs: np.ndarray) -> bool:
    """Whether stamps (N, 2) are of the clock of the log times: of its rate, and a little before them."""
    delay, drift = float(np.median(pairs[:, 0] - pairs[:, 1])), abs(_rate(pairs) - 1)
    steady = drift <= SAME_RATE or drift * np.ptp(pairs[:, 0]) <= SAME_TIME_S
    return -FUTURE_TOLERANCE_S <= delay <= PAST_TOLERANCE_S and steady


def _largest_group(streams: Mapping[str, np.ndarray]) -> list[str]:
    """Those streams, (N, 2) each, that show the same time: that of /clock, or else of the most."""

    def alike(one: np.ndarray, other: np.ndarray) -> bool:
        shown = np.interp(one[:, 0], other[:, 0], other[:, 1])
        return bool(np.median(np.abs(shown - one[:, 1])) <= PAST_TOLERANCE_S)

    groups = {a: [b for b in streams if alike(streams[b], streams[a])] for a in streams}
    return groups[CLOCK_TOPIC] if CLOCK_TOPIC in groups else max(groups.values(), key=len)


def _newest(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log times at which a new time was heard, and that time, of (N, 2) in the order of log times."""
    logged, shown = [], []
    newest, heard, before = -np.inf, -np.inf, -np.inf
    for time, stamp in pairs.tolist():
        if stamp > newest or time > heard + MEMORY_S:
            if stamp < newest:  # set back: until now the old time was believed
                logged.append(before)
                shown.append(newest)
            newest, heard = stamp, time
            logged.append(time)
            shown.append(stamp)
        before = time
    return np.array(logged), np.array(shown)
