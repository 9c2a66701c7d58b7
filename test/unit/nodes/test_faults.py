"""What goes wrong in callbacks is said once per kind, and when it has ended."""

from __future__ import annotations

import pytest

from vla_adapter_ros.nodes import faults, said_once
from vla_adapter_ros.nodes.faults import LONGEST, MOST_KINDS, Faults


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.info = self.warning = self.error = self.lines.append


@pytest.fixture
def log() -> Log:
    return Log()


def test_each_kind_is_logged_once_while_it_lasts(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(faults.time, "monotonic", lambda: now[0])
    its = Faults(log)
    for n in range(5):
        its.report("camera", f"image of {n} bytes")
        its.report("camera", "unknown encoding")
        its.report("joints", "not finite")
    assert log.lines == ["camera: image of 0 bytes", "camera: unknown encoding", "joints: not finite"]
    assert its.current() == ["camera: unknown encoding", "joints: not finite"]  # the newest
    now[0] += said_once.ENDED_AFTER_S
    assert its.current() == []
    assert log.lines[3:] == [
        "camera: no failure any more, after 10",
        "joints: no failure any more, after 5",
    ]
    its.report("camera", "unknown encoding")
    assert log.lines[-1] == "camera: unknown encoding"  # it has begun again


def test_what_a_stranger_writes_is_bounded(log: Log) -> None:
    its = Faults(log)
    for letter in "abcdefghijklmnopqrstuvwxyz":
        its.report("camera", f"encoding {letter * 10_000}")
    assert len(log.lines) == MOST_KINDS
    assert max(map(len, its.current())) < LONGEST + 20
