"""The processes of the recorder's measurement: cameras, an arm, the recorder, and who tells it what to do."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vla_adapter_ros.benchmarks.process_probe import ProcessProbe
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import RecordingError

ARM = "arm"  # beside the names of cameras
ARM_HZ = 100
_READY_S = 60.0
_CATCH_UP_S = 10.0
_LEFT_OUT = "frame left out: "  # as the recorder's log says it


def record(
    runner: Any, contract: Contract, episodes: int, episode_s: float
) -> tuple[list[dict[str, float]], ProcessProbe]:
    """Let the recorder write episodes without a pause; returns the times of each, and the probe."""
    from vla_adapter_ros.nodes.recorder_client import RecorderClient

    calls: list[dict[str, float]] = []
    answered: list[threading.Event] = []
    with RecorderClient() as client:
        _wait(lambda: client.ready and _max_age(client.status) < 0.5, runner.check_alive)
        time.sleep(2.0)  # what starting up costs is not measured
        probe = ProcessProbe(runner.processes["recorder_node"].pid)
        with probe:
            _demand(client, runner)
            for number in range(episodes):
                time.sleep(episode_s)
                runner.check_alive()
                call: dict[str, float] = {}
                done, asked = threading.Event(), time.monotonic()
                calls.append(call)
                answered.append(done)

                def note(
                    good: bool, text: str, call: Any = call, done: Any = done, asked: Any = asked
                ) -> None:
                    call["on_disk_s"] = time.monotonic() - asked
                    call["good"] = good
                    done.set()

                client.command("stop", note)
                # Two services have no order: the next episode is for after the end of this one.
                _wait(lambda: _state(client.status) != "recording", runner.check_alive, pause_s=0.002)
                if number + 1 < episodes:
                    _demand(client, runner)
                    call["stall_s"] = time.monotonic() - asked
            for done in answered:
                if not done.wait(_READY_S):
                    raise RecordingError(f"the recorder did not answer within {_READY_S} s")
    if not all(call["good"] for call in calls):
        raise RecordingError("an episode was not saved: the recorder's log says why")
    return calls, probe


def _max_age(status: Any) -> float:
    """Largest age of a stream in a RecorderStatus [s]."""
    return max(status.ages, default=0.0)


def _state(status: Any) -> str:
    """The state in a RecorderStatus."""
    return str(status.state)


def _demand(client: Any, runner: Any) -> None:
    """Start an episode; a recorder that is still catching up with its inputs is asked again."""
    deadline = time.monotonic() + _CATCH_UP_S
    while True:
        answer: list[tuple[bool, str]] = []
        client.start("measure the recorder", lambda good, text, to=answer: to.append((good, text)))
        _wait(lambda to=answer: to, runner.check_alive, pause_s=0.002)
        good, text = answer[0]
        if good:
            return
        if time.monotonic() > deadline:
            raise RecordingError(f"the recorder refused to start: {text}")
        time.sleep(0.2)


def _wait(condition: Any, check: Any, pause_s: float = 0.05) -> None:
    deadline = time.monotonic() + _READY_S
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise RecordingError(f"the recorder was not ready within {_READY_S} s")
        time.sleep(pause_s)


def recorder_process(folder: Path, root: Path) -> Any:
    """The runner of a recorder node in a process of its own, which logs to `folder` and records to `root`."""
    from vla_adapter_ros.nodes.graph import NodeSpec
    from vla_adapter_ros.nodes.process_runner import GraphRunner

    values = {"contract": str(folder / "contract.yaml"), "dataset": str(root), "on_fail": "save"}
    return GraphRunner([NodeSpec("recorder", values)], logs=folder, simulate=True)


def left_out(log: Path) -> dict[str, int]:
    """Why the recorder of this log left frames out, and how often; of several in a row the first counts."""
    lines = log.read_text(errors="replace").splitlines()
    return dict(Counter(line.partition(_LEFT_OUT)[2] for line in lines if _LEFT_OUT in line))


@contextlib.contextmanager
def sources(folder: Path, contract: Contract, *, led: bool = True) -> Iterator[None]:
    """Start the publishers; interrupted at the end, they leave their stamps in `folder`.

    Args:
        folder: Holds contract.yaml.
        contract: What it says.
        led: Whether commands lead the arm; else a controller may.
    """
    from vla_adapter_ros.nodes.process_runner import GraphRunner

    path = str(folder / "contract.yaml")
    wanted = {ARM: ["arm" if led else "resting_arm", path, str(ARM_HZ), str(folder / f"{ARM}.npy")]}
    for n, name in enumerate(contract.cameras):
        phase = 0.4 * n / contract.rate_hz  # cameras are not triggered together
        log = str(folder / f"{name}.npy")
        wanted[name] = ["camera", path, name, str(contract.rate_hz), str(phase), log]
    with GraphRunner([], simulate=True) as runner:
        for name, words in wanted.items():
            runner.start_module(name, "vla_adapter_ros.benchmarks.recording_sources", words)
        yield


@contextlib.contextmanager
def own_domain() -> Iterator[None]:
    """A ROS domain without other graphs on this machine, unless the user chose one."""
    chosen = "ROS_DOMAIN_ID" in os.environ
    if not chosen:
        os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    try:
        yield
    finally:
        if not chosen:
            del os.environ["ROS_DOMAIN_ID"]


@contextlib.contextmanager
def confined(cores: int) -> Iterator[None]:
    """Keep this process and all that it starts on so many cores."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
