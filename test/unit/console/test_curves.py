"""What the pages draw: the last seconds, and how far two chunks differ where both speak."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from vla_adapter_ros.console.curves import KEPT_S, Curves, WantedRows

RATE = 10.0


def chunk(start, rows, sequence=1):
    return WantedRows(sequence, start, RATE, np.asarray(rows, float))


def test_only_the_last_seconds_are_kept_and_drawn_no_denser_than_needed():
    curves = Curves(["a"], [1.0])
    for n in range(5000):  # 25 s at 200 Hz
        curves.add_measured(n / 200, [n / 200])
    times = [time for time, _ in curves.content()["measured"]]
    assert times[-1] == pytest.approx(24.99, abs=0.06) and times[0] >= times[-1] - KEPT_S - 1e-6
    assert len(times) <= KEPT_S / 0.05 + 1
    assert [t for t, _ in curves.content(whole=False)["measured"]] == [
        t for t in times if t >= times[-1] - 1.0
    ]


def test_time_that_begins_anew_drops_what_was_before():
    curves = Curves(["a"], [1.0])
    for time in (100.0, 101.0, 0.0, 1.0):
        curves.add_commanded(time, [time])
    assert [time for time, _ in curves.content()["commanded"]] == [0.0, 1.0]


def test_unknown_values_become_null_in_json():
    curves = Curves(["a", "b"], [1.0, 1.0])
    curves.add_measured(1.0, [math.nan, 0.5])
    curves.add_chunk(chunk(1.0, [[math.inf, 1.0]]))
    curves.add_chunk(chunk(50.0, [[0.0, 1.0]]))
    content = json.loads(json.dumps(curves.content(), allow_nan=False))
    assert content["measured"] == [[1.0, [None, 0.5]]] and content["strip"] == [[50.0, None]]
    assert content["chunk"] == {"start": 50.0, "rate": RATE, "rows": [[0.0, 1.0]], "sequence": 1}
