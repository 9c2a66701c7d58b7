"""The control thread: deadlines, late ticks, priority."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from rclpy.clock import Clock

from vla_adapter_ros.nodes.rate_loop import RateLoop

PERIOD_S = 0.01


def run(seconds: float, tick=lambda now: None, **options) -> tuple[list[float], RateLoop]:
    ticks: list[float] = []

    def tick_at(now: float) -> None:
        ticks.append(now)
        tick(now)

    loop = RateLoop(Clock(), PERIOD_S, tick_at, False, **options)
    loop.start()
    time.sleep(seconds)
    loop.stop()
    return ticks, loop


def test_ticks_lie_on_a_fixed_grid():
    ticks, _ = run(0.4)
    assert len(ticks) > 20
    steps = [(b - a) / PERIOD_S for a, b in itertools.pairwise(ticks)]
    assert all(abs(step - round(step)) < 0.01 and round(step) >= 1 for step in steps)


def test_one_tick_makes_up_for_all_that_were_missed():
    slow = threading.Event()

    def tick(_: float) -> None:
        if not slow.is_set():
            slow.set()
            time.sleep(0.1)

    ticks, _ = run(0.4, tick)
    assert 8.5 < (ticks[1] - ticks[0]) / PERIOD_S < 40  # at once, on the grid, and not ten ticks in a row


def test_nothing_ticks_after_stop():
    ticks, _ = run(0.05)
    count = len(ticks)
    time.sleep(0.05)
    assert len(ticks) == count


def test_it_says_whether_the_priority_was_granted():
    said: list[str] = []
    _, loop = run(0.05, priority=5, log=said.append)
    assert len(said) == 1 and "real-time priority 5" in said[0]
    assert loop.real_time == ("not granted" not in said[0])
    assert not run(0.02, log=said.append)[1].real_time and len(said) == 1
