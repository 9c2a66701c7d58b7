"""The policy looks again in time."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.control.pacing import ChunkPacer, budget_complaint
from vla_adapter_ros.errors import ChunkError


def taken(pacer, stamps):
    return [round(float(s), 3) for s in stamps if pacer.take(s)]


def test_one_frame_per_horizon():
    assert taken(ChunkPacer(10.0, 8, 4), np.arange(13) / 10) == [0.0, 0.4, 0.8, 1.2]


def test_reset_makes_the_next_frame_due():
    pacer = ChunkPacer(10.0, 8, 4)
    assert pacer.take(0.0) and not pacer.take(0.1)
    pacer.reset()
    assert pacer.take(0.2)


def test_slow_inference_asks_earlier():
    pacer = ChunkPacer(10.0, 8, 6)
    for _ in range(100):
        pacer.note_latency(0.32)
    assert pacer.interval_rows == 3  # 8 rows: three to wait, four until the next chunk is there
    pacer.note_latency(5.0)
    assert pacer.interval_rows >= 1


def test_at_a_lower_speed_rows_last_longer():
    pacer = ChunkPacer(10.0, 8, 4)
    stamps = np.arange(17) / 10
    assert [round(float(s), 3) for s in stamps if pacer.take(s, 0.5)] == [0.0, 0.8, 1.6]
    assert pacer.take(2.0, 1.0)  # as soon as it is faster again
    slow_inference = ChunkPacer(10.0, 8, 6)
    slow_inference.note_latency(0.4)  # four rows of time are two of way: the whole horizon fits
    assert [round(float(s), 3) for s in stamps if slow_inference.take(s, 0.5)] == [0.0, 1.0]
    assert slow_inference.interval_rows == 3


def test_bad_horizon():
    with pytest.raises(ChunkError, match="1 to 8"):
        ChunkPacer(10.0, 8, 9)


@pytest.mark.parametrize(
    ("rows", "horizon", "latency_s", "fits"),
    [
        (8, 4, 0.0, True), (8, 4, 0.3, True), (8, 4, 0.31, False), (8, 7, 0.0, True), (8, 7, 0.01, False),
        (8, 1, 0.1, True), (8, 1, 0.11, False), (8, 4, 2.6, False), (50, 25, 2.4, True), (1, 1, 0.0, False),
    ],
)  # fmt: skip
def test_horizon_against_latency(rows, horizon, latency_s, fits):
    issue = budget_complaint(10.0, rows, horizon, latency_s)
    assert (issue == "") == fits
    if not fits:
        assert issue.startswith(f"a chunk takes {latency_s:.3f} s; at 10 Hz this needs execution_horizon ")


def test_the_complaint_says_what_to_do():
    told = budget_complaint(10.0, 8, 1, 0.25)
    assert told.endswith("needs execution_horizon 3 to 4, not 1: set it, or use a GPU or --compile")
    assert budget_complaint(10.0, 8, 4, 0.315) == (
        "a chunk takes 0.315 s; at 10 Hz this needs execution_horizon >= 4 and at least 9 rows, not 8: use a "
        "GPU, --compile, or a longer chunk"
    )
    assert not budget_complaint(10.0, 9, 4, 0.315)  # what it asks for is enough


def test_pacer_complains_once_latency_shows():
    pacer = ChunkPacer(10.0, 8, 4)
    assert pacer.issue() == ""
    pacer.note_latency(0.36)
    assert "0.360 s" in pacer.issue()


def test_a_chunk_that_begins_later_loses_no_rows_to_its_latency():
    pacer = ChunkPacer(10.0, 8, 4)
    pacer.note_latency(0.4)
    assert pacer.interval_rows == 3 and "at least 9 rows" in pacer.issue()
    pacer.delay_s = 0.4
    assert pacer.interval_rows == 4 and pacer.issue() == ""
    assert budget_complaint(10.0, 8, 4, 0.4, 0.3) == ""
    assert budget_complaint(10.0, 8, 3, 0.4, 0.4).endswith(
        "needs execution_horizon 4 to 7, not 3: set it, or use a GPU or --compile"
    )
