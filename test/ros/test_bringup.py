"""`vla-adapter bringup` with real processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from bench import PATIENCE_S

from vla_adapter_ros.nodes.recorder_client import RecorderClient
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.srv import Demonstrate

REPOSITORY = Path(__file__).resolve().parents[2]
ASKING = REPOSITORY / "test" / "ros" / "asking.py"
# The command, but with short pauses: here a process is killed soon after each start.
COMMAND = (
    "import sys; from vla_adapter_ros.cli import bringup, main; "
    "bringup.LONGEST_PAUSE_S = 2.0; sys.exit(main.main(['bringup', '--renderer', 'raycast', *sys.argv[1:]]))"
)
# Fast DDS as it is without any profile: shared-memory segments of 0.5 MB.
PLAIN = """<?xml version="1.0" encoding="UTF-8" ?>
<profiles xmlns="http://www.eprosima.com">
  <participant profile_name="default" is_default_profile="true"><rtps></rtps></participant>
</profiles>
"""


class Bringup:
    """The running command; its output goes to a file."""

    def __init__(self, log: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self._log = log
        with open(log, "w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, *arguments],
                env=os.environ | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
            )

    def nodes(self) -> dict[str, int]:
        """Kind -> process id."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                words = child.cmdline()
            except psutil.Error:
                continue  # it has just ended
            if "-m" in words:
                found[words[words.index("-m") + 1].rpartition(".")[2]] = child.pid
        return found

    def kill(self, kind: str) -> None:
        os.kill(self.nodes()[kind], signal.SIGKILL)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)


@pytest.fixture
def bringup(tmp_path):
    """Start the command: `bringup("--no-policy", FURTHER="variables")`."""
    started = []

    def start(*arguments: str, **environment: str) -> Bringup:
        started.append(Bringup(tmp_path / "bringup.log", arguments, environment))
        return started[-1]

    yield start
    for running in started:
        running.end()


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_ready_means_the_own_nodes_with_a_console_too(bringup, tmp_path):
    anywhere = tmp_path / "port.yaml"
    anywhere.write_text("console_node: {ros__parameters: {port: 0}}")
    first = bringup("--no-policy", "--console", "--params-file", str(anywhere))
    until(lambda: "vla-adapter: ready: contract franka_sim" in first.said)
    log = tmp_path / "second"
    log.mkdir()
    second = Bringup(log / "bringup.log", ("--no-policy",), {})
    try:
        assert second.process.wait(PATIENCE_S) == 1
    finally:
        second.end()
    assert "runs already (a second bring-up?)" in second.said and "vla-adapter: ready" not in second.said


@pytest.mark.slow
def test_a_killed_recorder_comes_back_and_everything_ends_with_the_controller(bringup, tmp_path):
    running = bringup("--no-policy", "--record", str(tmp_path / "data"))
    with RecorderClient() as client:
        until(lambda: client.ready)
        until(lambda: "vla-adapter: ready: contract franka_sim, discovery range LOCALHOST" in running.said)
        before = running.nodes()
        assert set(before) == {"simulator", "controller", "recorder"}
        running.kill("recorder")
        until(lambda: "recorder_node was killed by SIGKILL: it starts again" in running.said)
        until(lambda: running.nodes().get("recorder", before["recorder"]) != before["recorder"])
        client.status = None
        until(lambda: client.ready)
        after = running.nodes()
        assert before["recorder"] != after.pop("recorder")
        assert after.items() <= before.items()  # nobody else has ended
        running.kill("controller")
        assert running.process.wait(PATIENCE_S) == 1
    assert "controller_node was killed by SIGKILL: nothing runs without it" in running.said
    assert not any(psutil.pid_exists(pid) for pid in (*before.values(), *after.values()))


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("profile", ["ours", "none"])
def test_a_policy_that_is_killed_ten_times_takes_instructions_again(bringup, tmp_path, profile):
    chosen = {}
    if profile == "none":
        path = tmp_path / "plain.xml"
        path.write_text(PLAIN)
        chosen["FASTDDS_DEFAULT_PROFILES_FILE"] = str(path)
    running = bringup("--lock-step", **chosen)  # however busy the machine, inference is in time
    client = subprocess.Popen(
        [sys.executable, str(ASKING)], env=os.environ | chosen, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip

    def ask() -> str:
        client.stdin.write("pick up the red cube\n")
        client.stdin.flush()
        return client.stdout.readline()

    try:
        assert ask().startswith("accepted: "), running.said
        others = {kind: pid for kind, pid in running.nodes().items() if kind != "policy"}
        for _ in range(10):
            before = running.nodes()["policy"]
            running.kill("policy")
            until(lambda old=before: running.nodes().get("policy", old) != old)
            # The arm may stand elsewhere by now, of which the answer warns.
            assert ask().startswith("accepted: instruction 1: pick up the red cube"), running.said
        assert others.items() <= running.nodes().items()
    finally:
        client.kill()
        client.wait()


@pytest.mark.slow
def test_a_dry_run_without_a_checkpoint_checks_the_streams_and_is_led_by_a_human(bringup):
    running = bringup("--contract", "ur5e_sim", "--mode", "dry_run")

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "vla_adapter_ros.cli.main", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False).stdout

    until(lambda: "ready: no checkpoint, contract ur5e_sim" in running.said)
    assert run("instruct", "wave").startswith("refused: no checkpoint is loaded")
    told = json.loads(run("status", "--json"))
    assert told["mode"] == "dry_run" and told["state"] == "idle"
    assert told["why"].startswith("no instruction could be followed: no checkpoint is loaded")
    rates = {stream: found["rate_hz"] for stream, found in told["streams"].items()}
    assert len(rates) >= 3 and all(rate > 1.0 for rate in rates.values()), rates
    with RosClient("human") as client:
        demonstrate = client.service(Demonstrate, "simulator/demonstrate")
        assert demonstrate.call(Demonstrate.Request(target="red"), 30.0).accepted
        until(lambda: "a human leads" in run("status"))
    assert "idle -> running" in running.said


@pytest.mark.slow
def test_a_bad_checkpoint_at_the_first_start_ends_the_bringup_with_its_reason(bringup, tmp_path):
    running = bringup("--checkpoint", str(tmp_path / "none"))
    assert running.process.wait(PATIENCE_S) == 1
    assert str(tmp_path / "none") in running.said
    assert "policy_node ended with status 1: nothing runs without it" in running.said
