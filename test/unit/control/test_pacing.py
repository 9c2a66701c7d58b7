"""The policy looks again in time."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.control.pacing import ChunkPacer
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


def test_bad_horizon():
    with pytest.raises(ChunkError, match="1 to 8"):
        ChunkPacer(10.0, 8, 9)
