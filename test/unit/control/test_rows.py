"""Row pass-through: every row once, in time, across chunks."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.control import Chunk
from vla_adapter_ros.control.rows import RowStream


def chunk(stamp: float, first: float, rows: int = 4) -> Chunk:
    return Chunk(stamp, first + np.arange(float(rows))[:, None], ("a",), 10.0)


def play(stream: RowStream, start: float, end: float) -> list[tuple[float, float]]:
    given = []
    for k in range(round((end - start) / 0.01)):
        now = start + 0.01 * k
        row = stream.next_row(now)
        if row is not None:
            given.append((round(now, 2), float(row[0])))
    return given


def test_every_row_is_given_once_when_it_is_due():
    stream = RowStream()
    assert stream.next_row(1.0) is None
    stream.accept(chunk(1.0, 10.0))
    assert play(stream, 1.0, 2.0) == [(1.0, 10.0), (1.1, 11.0), (1.2, 12.0), (1.3, 13.0)]


def test_the_past_is_skipped_and_a_newer_chunk_takes_over_at_the_next_row():
    stream = RowStream()
    stream.accept(chunk(1.0, 10.0))
    assert play(stream, 1.15, 1.25) == [(1.15, 11.0), (1.2, 12.0)]
    stream.accept(chunk(1.1, 20.0))  # its row 1 is due at 1.2, which was given already
    assert play(stream, 1.25, 2.0) == [(1.3, 22.0), (1.4, 23.0)]


def test_an_empty_chunk_ends_the_stream_and_a_clock_set_back_does_not():
    stream = RowStream()
    stream.accept(chunk(5.0, 10.0))
    assert len(play(stream, 5.0, 5.15)) == 2
    stream.accept(Chunk(5.1, np.zeros((0, 1)), ("a",), 10.0))
    assert play(stream, 5.15, 6.0) == []
    stream.accept(chunk(1.0, 30.0))
    assert [value for _, value in play(stream, 1.0, 2.0)] == [30.0, 31.0, 32.0, 33.0]
