"""A worker's thread: woken or not, and never after its stop."""

from __future__ import annotations

import threading
import time

from vla_adapter_ros.nodes.worker import LONGEST_S, Worker


def test_it_works_when_it_is_woken_and_without_it_after_a_while():
    called = threading.Event()
    worker = Worker("test", called.set)
    worker.start()
    for woken in (True, False):
        called.clear()
        if woken:
            worker.wake()
        assert called.wait(10.0)
    worker.stop()


def test_nothing_runs_after_the_stop_and_it_starts_again():
    calls, started = [], threading.Event()

    def work() -> None:
        started.set()
        calls.append(threading.current_thread().name)

    worker = Worker("test", work)
    worker.stop()  # nothing to end
    for _ in range(2):
        started.clear()
        worker.start()
        worker.wake()
        assert started.wait(10.0)
        worker.stop()
        before = len(calls)
        worker.wake()
        time.sleep(2 * LONGEST_S)
        assert len(calls) == before and set(calls) == {"test"}
