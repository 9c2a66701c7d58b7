"""The jitter report counts rightly, and its work is the controller's."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import psutil
import pytest

from vla_adapter_ros.benchmarks.jitter import (
    KINDS,
    MIN_TICKS,
    WARM_UP_S,
    MovingCore,
    _two_cores,
    figures,
    format_result,
    run_jitter_benchmark,
)
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.system_info import CpuUsage

CONTRACT = read_contract("franka_sim")


def ticked(starts_s: np.ndarray) -> MovingCore:
    work = MovingCore(CONTRACT, 100.0)
    work.started = [round(t * 1e9) for t in starts_s]
    work.took = [200_000] * len(starts_s)
    return work


def test_even_ticks_have_no_error() -> None:
    result = figures(ticked(5.0 + np.arange(200) * 0.01), 100.0)
    assert result["rate"] == pytest.approx(100.0) and result["rate_error"] < 1e-6
    assert result["missed"] == 0 and result["max_ms"] < 1e-3 and result["tick_p50_ms"] == pytest.approx(0.2)


def test_a_gap_is_an_error_and_its_ticks_are_missed() -> None:
    starts = np.arange(200) * 0.01
    result = figures(ticked(np.delete(starts, [120, 121, 122])), 100.0)
    assert result["missed"] == 3 and result["max_ms"] == pytest.approx(30.0)
    assert result["p50_ms"] < 1e-3 and result["rate_error"] > 0.01


def test_what_happens_while_warming_up_does_not_count() -> None:
    starts = np.delete(np.arange(200) * 0.01, [10, 11])
    assert starts[9] < WARM_UP_S
    assert figures(ticked(starts), 100.0)["missed"] == 0


def test_the_work_moves_a_real_core_and_sends_trajectories() -> None:
    work = MovingCore(CONTRACT, 100.0)
    sent = []
    for i in range(200):
        work.tick(100.0 + i * 0.01)
        trajectory = work.core.trajectory(100.0 + i * 0.01)
        sent.append(trajectory.positions[0] if trajectory is not None else None)
    assert work.core.state == "running" and work.core.counters.rejected_chunks == 0
    assert work.points > 100 and len(work.started) == len(work.took) == 200
    path = np.array([position for position in sent if position is not None])
    assert np.ptp(path, axis=0).min() > 0.15  # of a swing of 0.2 rad


def test_busy_loops_are_pinned_and_end_with_the_measurement() -> None:
    before = os.sched_getaffinity(0)
    with _two_cores(1):
        assert len(os.sched_getaffinity(0)) <= 2
        children = _children()
        deadline = time.monotonic() + 60.0  # a new process pins itself once it gets a core
        while len(children) != 1 or len(os.sched_getaffinity(children[0])) != 1:
            assert time.monotonic() < deadline, children
            time.sleep(0.05)
            children = _children()
    assert _children() == [] and os.sched_getaffinity(0) == before


def test_use_of_cores_counts_what_runs() -> None:
    usage = CpuUsage()
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    result = usage.result()
    assert 0.2 < result["cores_in_use"] <= os.cpu_count() and 0 <= result["cores_stolen"] <= os.cpu_count()


def test_report_of_a_short_run() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")
    result = run_jitter_benchmark(rates_hz=[100.0], seconds=0.01, busy=0)  # too short for ten ticks
    for kind in KINDS:
        part = result["100_hz"][kind]
        assert part["ticks"] >= MIN_TICKS and part["points_sent"] > 0
        assert part["rate"] > 0
        assert part["p50_ms"] <= part["p99_ms"] <= part["max_ms"]
    json.dumps(result)
    assert "| 100 | rate loop |" in format_result(result)


@pytest.mark.parametrize("wrong", [{"rates_hz": []}, {"rates_hz": [0.0]}, {"seconds": -1.0}, {"busy": 3}])
def test_wrong_options_are_named(wrong: dict) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong)).removesuffix("_hz")):
        run_jitter_benchmark(**wrong)


def _children() -> list[int]:
    return [child.pid for child in psutil.Process().children()]
