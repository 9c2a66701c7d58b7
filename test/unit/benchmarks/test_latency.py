"""The latency benchmark: latencies, peers in the closed loop, and what is told of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vla_adapter_ros.benchmarks.latency import (
    METHODS,
    LateTrial,
    format_result,
    run_latency_benchmark,
    summarize,
)
from vla_adapter_ros.benchmarks.latency_plot import plot_result
from vla_adapter_ros.contract import checkpoints_folder
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.latency import Latency, read_trace
from vla_adapter_ros.evaluation.paired import paired_difference


def test_a_jittered_latency_is_the_same_for_everybody_and_bounded():
    latency = Latency(0.2, 0.3, seed=7)
    values = np.array([latency.of(n) for n in range(400)])
    assert np.array_equal(values, [Latency(0.2, 0.3, seed=7).of(n) for n in range(400)])
    assert values.min() >= 0.2 * 0.4 - 1e-9 and values.max() <= latency.p99 + 1e-9
    assert abs(values.mean() - 0.2) < 0.01 and 0.04 < values.std() < 0.07
    assert Latency(0.1).of(3) == 0.1 == Latency(0.1).p99


def test_a_trace_is_taken_in_turn(tmp_path):
    for name, text in (("a.json", "[0.1, 0.3]"), ("a.txt", "0.1\n0.3\n")):
        (tmp_path / name).write_text(text)
        assert read_trace(tmp_path / name) == (0.1, 0.3)
    assert [Latency(0.05, trace=(0.1, 0.3)).of(n) for n in range(3)] == pytest.approx([0.15, 0.35, 0.15])
    for text in ("", "[]", "[0.1, -1]", "[3]", "[nan]", '{"a": 1}', "fast", "[[1]]"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(ParameterError, match=r"bad: allowed"):
            read_trace(tmp_path / "bad")
    with pytest.raises(ParameterError, match="missing"):
        read_trace(tmp_path / "missing")


def test_the_difference_is_paired_and_scenes_are_drawn_as_a_whole():
    first, second = [True, True, False, True] * 10, [True, False, False, True] * 10
    scenes = np.repeat(np.arange(20), 2)
    difference, low, high = paired_difference(first, second, scenes.tolist())
    assert difference == 0.25 and 0.1 < low < 0.25 < high < 0.4
    assert paired_difference(first, first, scenes.tolist()) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="must be alike"):
        paired_difference([True], [True, False], [1])


def test_the_summary_counts_and_compares_with_no_latency():
    trials = [
        LateTrial("ours", latency, scene, "red", "red" if latency < 200 or scene else "", 3.0, 2.0, 0.1)
        for latency in (0.0, 200.0)
        for scene in (0, 1)
    ]
    found = summarize(trials)["ours"]
    assert (found["0"]["success"], found["200"]["success"], found["200"]["episodes"]) == (2, 1, 2)
    assert found["200"]["against_0"][0] == -0.5 and "against_0" not in found["0"]
    assert found["200"]["starved_s"] == 0.2 and found["0"]["median_success_s"] == 3.0
    table = format_result({"methods": {"ours": found}})
    assert table.splitlines()[-1].split() == ["ours", "2", "1"]


def test_a_method_that_nobody_knows_is_refused():
    with pytest.raises(ParameterError, match="method = 'magic': allowed are ours, full_pace, splice"):
        run_latency_benchmark("nowhere", methods=("magic",))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_method_lifts_cubes_and_latency_costs_the_newest_row_most():
    lines: list[str] = []
    result = run_latency_benchmark(
        checkpoints_folder() / "franka_sim_tiny",
        methods=METHODS,
        latencies_ms=(0.0, 300.0),
        scenes=2,
        jobs=2,
        report=lines.append,
    )
    assert len(lines) == 2 and set(result["methods"]) == set(METHODS)
    json.dumps(result, allow_nan=False)
    for method, levels in result["methods"].items():
        assert levels["0"]["episodes"] == 6 and levels["0"]["success"] >= 3, method
    ours, newest = result["methods"]["ours"], result["methods"]["newest_row"]
    assert ours["300"]["rms_jerk"] < newest["300"]["rms_jerk"]


def test_the_figure_has_a_line_per_method(tmp_path):
    trials = [
        LateTrial(method, latency, scene, "red", "red" if scene else "", 3.0, 2.0, 0.1)
        for method in ("ours", "newest_row")
        for latency in (0.0, 200.0)
        for scene in range(4)
    ]
    plot_result({"methods": summarize(trials)}, tmp_path / "new" / "latency.png")
    assert (tmp_path / "new" / "latency.png").read_bytes().startswith(b"\x89PNG")
