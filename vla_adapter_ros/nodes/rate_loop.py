"""A loop that runs at a fixed rate in a thread of its own, on absolute deadlines or on simulated time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rclpy.clock import Clock, JumpThreshold
from rclpy.duration import Duration

from vla_adapter_ros.system_info import raise_priority


class RateLoop:
    """Calls `tick(now)` every period of the clock, from a thread of its own.

    On wall time the thread sleeps to absolute deadlines (rclpy timers lose
    ticks under load); on simulated time it wakes whenever time has moved.

    Args:
        clock: The node's clock.
        period_s: Time between ticks [s].
        tick: Called with the ROS time [s].
        simulated: Whether the clock follows /clock.
        priority: Real-time priority of the thread under SCHED_FIFO, 1 to 99; 0: ordinary scheduling.
        log: Told in words whether the priority was granted.
    """

    def __init__(
        self,
        clock: Clock,
        period_s: float,
        tick: Callable[[float], None],
        simulated: bool,
        priority: int = 0,
        log: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._clock, self._period, self._tick = clock, period_s, tick
        self._priority, self._log = priority, log
        self.real_time = False
        """Whether SCHED_FIFO was granted."""
        self._moved = threading.Event()
        self._ended = threading.Event()
        self._jumps = None
        if simulated:
            threshold = JumpThreshold(
                min_forward=Duration(nanoseconds=1),
                min_backward=Duration(nanoseconds=-1),
                on_clock_change=True,
            )
            self._jumps = clock.create_jump_callback(threshold, post_callback=lambda _: self._moved.set())
        self._simulated = simulated
        self._thread = threading.Thread(target=self._run, name="rate loop", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; no tick runs after this."""
        self._ended.set()
        self._moved.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        if self._jumps is not None:
            self._jumps.unregister()
            self._jumps = None

    def _now(self) -> float:
        return self._clock.now().nanoseconds * 1e-9

    def _run(self) -> None:
        if self._priority:
            self._raise_priority()
        if self._simulated:
            self._run_simulated()
        else:
            self._run_wall()

    def _raise_priority(self) -> None:
        refused = raise_priority(self._priority)
        self.real_time = not refused
        if self.real_time:
            self._log(f"real-time priority {self._priority} (SCHED_FIFO) granted")
        else:
            self._log(
                f"real-time priority {self._priority} not granted ({refused}); ordinary scheduling. "
                "It needs an rtprio limit in /etc/security/limits.conf, or CAP_SYS_NICE"
            )

    def _run_wall(self) -> None:
        deadline = self._now()
        while not self._ended.is_set():
            deadline += self._period
            wait = deadline - self._now()
            if abs(wait) > 100 * self._period:  # the clock was set, or this process was stopped
                deadline = self._now()
            elif wait > 0:
                time.sleep(wait)
            else:
                # Late by whole periods: one tick for all of them, which then counts what it missed.
                deadline += int(-wait / self._period) * self._period
            self._tick(deadline)

    def _run_simulated(self) -> None:
        last = self._now()
        while not self._ended.is_set():
            self._moved.wait()
            self._moved.clear()
            now = self._now()
            if not self._ended.is_set() and (now < last or now >= last + 0.999 * self._period):
                last = now
                self._tick(now)
