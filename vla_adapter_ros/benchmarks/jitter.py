"""How evenly the controller's thread ticks beside a busy core, next to an rclpy timer with the same work."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.capsule.recorded_core import RecordedCore
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.control import Chunk
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.system_info import CpuUsage, describe_system

RATES_HZ = (100.0, 250.0, 500.0)
KINDS = ("rate_loop", "rclpy_timer")
PUBLISH_HZ = 25.0
WARM_UP_S = 0.5
MIN_TICKS = 10  # after warming up: fewer say nothing about their rate
_ROWS, _CHUNK_EVERY_S = 8, 0.4
_AMPLITUDE_RAD, _PERIOD_S = 0.1, 2.0  # of the motion


class MovingCore:
    """A tick's work: the node's own core, with its memory for capsules, and its trajectories.

    It follows chunks of a moving arm.

    Args:
        contract: Of joint positions.
        rate_hz: Ticks per second.
    """

    def __init__(self, contract: Contract, rate_hz: float) -> None:
        self._contract = contract
        self.core = RecordedCore(contract, 1.0 / rate_hz, armed=True)
        middle = [sum(contract.limits[joint].position) / 2 for joint in contract.arm_joints]
        self._middle = np.array(middle)
        self._columns = contract.arm_places
        self._publish_every = max(1, round(rate_hz / PUBLISH_HZ))
        self._next_chunk, self._chunks = -np.inf, 0
        self.points = 0
        """Points of all trajectories so far."""
        self.started: list[int] = []
        """When each tick began, by `time.perf_counter_ns`."""
        self.took: list[int] = []
        """What each tick took [ns]."""

    def tick(self, now: float) -> None:
        """One tick at ROS time `now` [s]."""
        begun = time.perf_counter_ns()
        self.started.append(begun)
        joints = self._middle + _AMPLITUDE_RAD * np.sin(2 * np.pi * now / _PERIOD_S)
        self.core.measure(dict(zip(self._contract.arm_joints, joints.tolist(), strict=True)), now)
        if now >= self._next_chunk:
            self.core.accept_chunk(self._chunk(now), now)
            self._next_chunk = now + _CHUNK_EVERY_S
        self.core.tick(now)
        if len(self.started) % self._publish_every == 0:
            trajectory = self.core.trajectory(now)
            self.points += 0 if trajectory is None else len(trajectory.times)
        self.took.append(time.perf_counter_ns() - begun)

    def _chunk(self, now: float) -> Chunk:
        contract = self._contract
        times = now + np.arange(_ROWS) / contract.rate_hz
        rows = np.zeros((_ROWS, len(contract.action_names)))
        rows[:, contract.gripper_places] = [gripper.open for gripper in contract.grippers]
        rows[:, self._columns] = (
            self._middle + _AMPLITUDE_RAD * np.sin(2 * np.pi * times / _PERIOD_S)[:, None]
        )
        self._chunks += 1
        return Chunk(
            now, rows, contract.action_names, contract.rate_hz, "benchmark", 0, self._chunks,
            contract.action.space,
        )  # fmt: skip


def run_jitter_benchmark(
    *,
    rates_hz: Sequence[float] = RATES_HZ,
    seconds: float = 20.0,
    busy: int = 1,
    priority: int = 0,
    contract: str = "franka_sim",
) -> dict[str, Any]:
    """Tick in real time, one after another with every rate and both kinds of loop.

    Args:
        rates_hz: Ticks per second, above 0.
        seconds: Time of each run, above 0.
        busy: Cores kept busy by a loop, out of the two that are used; 0 to 2.
        priority: SCHED_FIFO priority of the ticking thread, 0 to 99; 0: ordinary scheduling.
        contract: Robot contract.

    Returns:
        {"100_hz": {"rate_loop": {...}, "rclpy_timer": {...}}, ..., "settings", "machine"};
        see `figures` and `CpuUsage`.

    Raises:
        ParameterError: a value that is not allowed.
    """
    for name, value, allowed in (
        ("rates", rates_hz, len(rates_hz) > 0 and min(rates_hz) > 0),
        ("seconds", seconds, seconds > 0),
        ("busy", busy, busy in (0, 1, 2)),
        ("priority", priority, 0 <= priority <= 99),
    ):
        if not allowed:
            raise ParameterError(
                f"{name} = {value}: allowed are rates and seconds above 0, busy 0 to 2, priority 0 to 99"
            )
    description = read_contract(contract)
    machine = describe_system()
    result: dict[str, Any] = {}
    granted = bool(priority)
    with _two_cores(busy):
        for rate in rates_hz:
            part = result[f"{rate:g}_hz"] = {}
            for kind in KINDS:
                work = MovingCore(description, rate)
                usage = CpuUsage()
                granted &= _run(kind, work, rate, WARM_UP_S + seconds, priority)
                part[kind] = figures(work, rate) | usage.result()
    result["settings"] = {
        "seconds": seconds,
        "busy_cores": busy,
        "priority": priority,
        "priority_granted": granted,
        "trajectories_per_s": PUBLISH_HZ,
    }
    result["machine"] = machine
    return result


def figures(work: MovingCore, rate_hz: float) -> dict[str, Any]:
    """What a run gave, without its first half second.

    Returns:
        `rate`: ticks per second between the first and the last [Hz]; `rate_error`: its fraction off the
        wanted one; `p50_ms`, `p99_ms`, `max_ms`: |time between two ticks - period|; `missed`: ticks that
        fit into the time but did not come; `tick_p50_ms`, `tick_p99_ms`: what the work itself took.
    """
    started = np.array(work.started) * 1e-9
    used = started >= started[0] + WARM_UP_S
    started, took = started[used], np.array(work.took)[used[: len(work.took)]] * 1e-6
    periods = np.diff(started)
    errors = np.abs(periods - 1 / rate_hz) * 1e3
    span = float(started[-1] - started[0])
    rate = len(periods) / span
    return {
        "rate": rate,
        "rate_error": abs(rate / rate_hz - 1),
        "p50_ms": float(np.percentile(errors, 50)),
        "p99_ms": float(np.percentile(errors, 99)),
        "max_ms": float(errors.max()),
        "missed": max(0, round(span * rate_hz) - len(periods)),
        "ticks": len(started),
        "tick_p50_ms": float(np.percentile(took, 50)),
        "tick_p99_ms": float(np.percentile(took, 99)),
        "state": work.core.state,
        "points_sent": work.points,
    }


def format_result(result: dict[str, Any]) -> str:
    """A Markdown table."""
    lines = [
        "| Hz | loop | achieved Hz | error p50 ms | p99 ms | max ms | missed | tick p50 ms "
        "| cores in use | stolen |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for key, part in result.items():
        if key.endswith("_hz"):
            for kind, f in part.items():
                lines.append(
                    f"| {key.removesuffix('_hz')} | {kind.replace('_', ' ')} | {f['rate']:.2f} "
                    f"| {f['p50_ms']:.3f} | {f['p99_ms']:.3f} | {f['max_ms']:.2f} | {f['missed']} "
                    f"| {f['tick_p50_ms']:.3f} | {f['cores_in_use']:.2f} | {f['cores_stolen']:.3f} |"
                )
    settings, machine = result["settings"], result["machine"]
    scheduling = "ordinary scheduling"
    if settings["priority"]:
        granted = "granted" if settings["priority_granted"] else "not granted"
        scheduling = f"SCHED_FIFO {settings['priority']} ({granted})"
    lines += [
        "",
        f"{settings['seconds']:g} s each on two cores, {settings['busy_cores']} kept busy, {scheduling}; "
        f"{machine['processor']}, Python {machine['python']}, "
        f"load average before: {machine['load_average']}.",
    ]
    return "\n".join(lines)


def _run(kind: str, work: MovingCore, rate_hz: float, seconds: float, priority: int) -> bool:
    """Tick for `seconds`; returns whether the wanted priority was granted."""
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    from vla_adapter_ros.nodes.rate_loop import RateLoop
    from vla_adapter_ros.system_info import raise_priority

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("jitter_benchmark", context=context)
    try:
        if kind == "rate_loop":
            loop = RateLoop(node.get_clock(), 1.0 / rate_hz, work.tick, False, priority)
            loop.start()
            _wait(work, seconds)
            loop.stop()
            return loop.real_time
        granted = [False]
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        clock = node.get_clock()
        node.create_timer(1.0 / rate_hz, lambda: work.tick(clock.now().nanoseconds * 1e-9))

        def spin() -> None:
            granted[0] = bool(priority) and not raise_priority(priority)
            with contextlib.suppress(ExternalShutdownException):
                executor.spin()

        thread = threading.Thread(target=spin, name="rclpy timer", daemon=True)
        thread.start()
        _wait(work, seconds)
        executor.shutdown()
        thread.join()
        return granted[0]
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def _wait(work: MovingCore, seconds: float) -> None:
    """Wait for `seconds`, and longer on a machine so busy that there were too few ticks to count."""
    time.sleep(seconds)
    while len(work.took) < MIN_TICKS or work.started[-MIN_TICKS] < work.started[0] + WARM_UP_S * 1e9:
        time.sleep(0.1)


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep so many cores busy with one loop each, beginning with the first."""
    loop = "import os,sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nhere = os.getppid()\n"
    loop += "while os.getppid() == here:\n  for _ in range(10**6): pass\n"
    cores = sorted(os.sched_getaffinity(0))[:count]
    loops = [subprocess.Popen([sys.executable, "-c", loop, str(core)]) for core in cores]
    try:
        yield
    finally:
        for process in loops:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _two_cores(busy: int) -> Iterator[None]:
    """Confine this process to two cores, and keep `busy` of them busy with one loop each."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        with busy_loops(busy):
            yield
    finally:
        os.sched_setaffinity(0, before)
