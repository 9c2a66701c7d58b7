"""What the console costs the robot while pages are open, and how fast their Stop is.

Two cameras and an arm publish over DDS; the real recorder writes and the real controller runs. First no page
is open, then several are, then they press Stop beside busy cores.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.benchmarks.console_browser import browser_pages
from vla_adapter_ros.benchmarks.console_viewer import ConsoleViewer, free_port
from vla_adapter_ros.benchmarks.jitter import busy_loops
from vla_adapter_ros.benchmarks.process_probe import ProcessProbe
from vla_adapter_ros.benchmarks.recording import write_benchmark_contract
from vla_adapter_ros.benchmarks.recording_graph import own_domain, sources
from vla_adapter_ros.errors import ConsoleError, NoAnswerError
from vla_adapter_ros.system_info import describe_system

CONTROL_HZ = 100.0
PATIENCE_S = 60.0
LONGEST_WITHOUT_S = 120.0
DRAWN_S = 15.0  # in which the pages that were opened are drawn for the first time, before anything counts
_SETTLED_S = 3.0  # what starting up costs is not measured
_PAUSE_S = 0.1  # between two stops


def run_console_benchmark(
    *, seconds: float = 60.0, viewers: int = 3, browsers: int = 0, stops: int = 200, busy: int = 2
) -> dict[str, Any]:
    """Measure without pages, with pages, and Stop.

    Args:
        seconds: Time with pages, and before it without them, then at most `LONGEST_WITHOUT_S` [s].
        viewers: Open pages.
        browsers: How many of them are open in a real Chromium, which takes its share of the same cores; their
            pictures are not counted, and they are closed before Stop is pressed.
        stops: How often one of them presses Stop.
        busy: Busy loops beside that, one per core.

    Returns:
        {"without", "with": figures of recorder, control and console, "stop": times [ms], "settings",
        "machine"}.

    Raises:
        NoAnswerError: a node does not answer.
        ConsoleError: no Chromium or no playwright; or no viewer is left that presses Stop.
        ProcessError: a process ended.
    """
    if browsers >= viewers:
        raise ConsoleError(f"browsers = {browsers}: allowed are 0 to {viewers - 1}, as one page presses Stop")
    machine = describe_system()
    with tempfile.TemporaryDirectory(prefix="console_") as scratch, own_domain():
        folder = Path(scratch)
        with _graph(folder) as (runner, client, port):
            watch = _Watch(client, runner)
            result = {"without": watch.measure(min(seconds, LONGEST_WITHOUT_S), [])}
            with contextlib.ExitStack() as opened:
                plain = range(viewers - browsers)
                pages = [opened.enter_context(ConsoleViewer(port)) for _ in plain]
                with browser_pages(port, browsers):
                    time.sleep(DRAWN_S)
                    result["with"] = watch.measure(seconds, pages)
                with busy_loops(busy):
                    result["stop"] = watch.press_stop(pages[0], stops)
    settings = {
        "seconds": seconds,
        "viewers": viewers,
        "browsers": browsers,
        "stops": stops,
        "busy": busy,
        "cameras": 2,
    }
    return result | {"settings": settings, "machine": machine}


@contextlib.contextmanager
def _graph(folder: Path) -> Iterator[tuple[Any, Any, int]]:
    """Sources, recorder, controller and console; gives the runner, a client of the nodes, and the port."""
    from vla_adapter_ros.nodes.graph import NodeSpec
    from vla_adapter_ros.nodes.process_runner import GraphRunner
    from vla_adapter_ros.nodes.recorder_client import RecorderClient

    contract, port = write_benchmark_contract(folder / "contract.yaml"), free_port()
    common = {"contract": str(folder / "contract.yaml")}
    nodes = [
        NodeSpec("controller", common | {"armed": True, "rate_hz": CONTROL_HZ}),
        NodeSpec("recorder", common | {"dataset": str(folder / "set"), "on_fail": "save"}),
        NodeSpec("console", common | {"port": port}),
    ]
    with sources(folder, contract, led=False), GraphRunner(nodes, folder, simulate=True) as runner:
        with RecorderClient() as client:
            yield runner, client, port


class _Watch:
    """Looks at the controller's and the recorder's status.

    Args:
        client: A `RecorderClient`.
        runner: Has started the nodes.
    """

    def __init__(self, client: Any, runner: Any) -> None:
        from rclpy.qos import QoSProfile
        from std_srvs.srv import Trigger

        from vla_adapter_ros.msg import ControllerStatus
        from vla_adapter_ros.nodes.topics import STATUS_TOPIC

        self._client, self._runner = client, runner
        self._stamps: list[float] = []
        self._states: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        client.subscribe(ControllerStatus, STATUS_TOPIC, self._hear, QoSProfile(depth=100))
        self._reset = client.service(Trigger, "controller_node/reset")
        self._wait(lambda: client.ready and bool(self._states), "recorder and controller")

    def measure(self, seconds: float, pages: list[ConsoleViewer]) -> dict[str, Any]:
        """Let the recorder write an episode of so long [s]; returns figures of all."""
        started: list[tuple[bool, str]] = []
        deadline = time.monotonic() + PATIENCE_S
        while not (started and started[-1][0]):
            if time.monotonic() > deadline:
                raise NoAnswerError(f"the recorder does not start: {started[-1:]}", sent=True)
            self._client.start("measure the console", lambda *answer: started.append(answer))
            time.sleep(1.0)
        time.sleep(_SETTLED_S)
        before = [dict(page.pictures) for page in pages]
        first = len(self._stamps)
        with ProcessProbe(self._runner.processes["console_node"].pid) as probe:
            time.sleep(seconds)
        rates = [
            (page.pictures[place] - known.get(place, 0)) / probe.seconds
            for page, known in zip(pages, before, strict=True)
            for place in page.pictures
        ]
        status = self._client.status
        ended = "" if status.state == "recording" else status.reason or status.state
        done = threading.Event()
        self._client.command("stop", lambda good, text: done.set())
        if not done.wait(PATIENCE_S):
            raise NoAnswerError("the recorder does not end its episode", sent=True)
        lateness = np.abs(np.diff(self._stamps[first:]))
        return {
            "seconds": probe.seconds,
            "recorder_frames": int(status.frames),
            "recorder_dropped": int(status.dropped),
            "recorder_ended": ended,
            "status_interval_p99_ms": float(1e3 * np.percentile(lateness, 99)),
            "console_cpu": probe.cpu_s / probe.seconds,
            "console_memory": probe.memory_figures(),
            "picture_hz": {"min": min(rates), "mean": float(np.mean(rates))} if rates else None,
        }

    def press_stop(self, page: ConsoleViewer, count: int) -> dict[str, float]:
        """Press Stop so often; times from the press to the stopped state, and to the page's answer [ms]."""
        from std_srvs.srv import Trigger

        stopped, answered = [], []
        for _ in range(count):
            known = len(page.answers)
            pressed = page.stop()
            self._wait(lambda: self._states[-1][1] == "stopped", "Stop")
            stopped.append(self._heard_stopped(pressed) - pressed)
            self._wait(lambda known=known: len(page.answers) > known, "the answer to Stop")
            answered.append(page.answers[-1][0] - pressed)
            self._reset.call(Trigger.Request(), PATIENCE_S)
            self._wait(lambda: self._states[-1][1] != "stopped", "reset")
            time.sleep(_PAUSE_S)
        return {
            f"{name}_{quantile}_ms": float(1e3 * np.percentile(times, q))
            for name, times in (("stopped", stopped), ("answered", answered))
            for quantile, q in (("p50", 50), ("p95", 95), ("max", 100))
        }

    def _heard_stopped(self, since: float) -> float:
        """When the controller said that it is stopped, first after a time [s]."""
        return next(t for t, state in self._states if state == "stopped" and t >= since)

    def _hear(self, message: Any) -> None:
        from vla_adapter_ros.nodes.conversions import seconds

        with self._changed:
            self._stamps.append(seconds(message.header.stamp))
            self._states = [*self._states[-999:], (time.monotonic(), message.state)]
            self._changed.notify_all()

    def _wait(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while not condition():
                self._runner.check_alive()
                if time.monotonic() > deadline:
                    raise NoAnswerError(f"{what}: nothing came within {PATIENCE_S:g} s", sent=True)
                self._changed.wait(0.005)


def format_result(result: dict[str, Any]) -> str:
    """The result as text."""
    settings, lines = result["settings"], []
    pages = f"{settings['viewers']} pages, {settings['browsers']} of them in a browser"
    for name, title in (("without", "no page"), ("with", pages)):
        part = result[name]
        rate = part["picture_hz"]
        pictures = f", pictures {rate['min']:.1f} Hz at least, {rate['mean']:.1f} Hz mean" if rate else ""
        memory = part["console_memory"]
        ended = f", and ended its episode early: {part['recorder_ended']}" if part["recorder_ended"] else ""
        lines.append(
            f"{title}, {part['seconds']:.0f} s: recorder {part['recorder_frames']} frames, "
            f"{part['recorder_dropped']} dropped{ended}; controller's status every "
            f"{part['status_interval_p99_ms']:.1f} ms (p99); console {part['console_cpu']:.0%} of a core, "
            f"{memory['last_mb']:.0f} MB, {memory['growth_mb_per_minute']:+.2f} MB per minute{pictures}"
        )
    stop = result["stop"]
    lines.append(
        f"{settings['stops']} stops beside {settings['busy']} busy loops: stopped after p50 "
        f"{stop['stopped_p50_ms']:.1f}, p95 {stop['stopped_p95_ms']:.1f}, at most "
        f"{stop['stopped_max_ms']:.1f} ms; answered after p95 {stop['answered_p95_ms']:.1f} ms"
    )
    return "\n".join(lines)
