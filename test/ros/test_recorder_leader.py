"""Who leads, as the recorder sees it: beside a controller that lets nothing move, and without one."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench import CONTRACT, PATIENCE_S
from stage import Stage, press, reached_nobody
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.srv import StartEpisode
from vla_adapter_ros.training.data.samples import read_rows

REPOSITORY = Path(__file__).resolve().parents[2]
UNARMED = "the controller lets nothing move: not armed yet: call ~/arm"


@pytest.fixture
def stage(bench, graph, tmp_path):
    return Stage(bench, graph, tmp_path, silence_s=1.0)


@pytest.fixture
def disarmed(bench, graph, tmp_path):
    """A recorder beside a real controller, which nobody has armed."""
    stage = Stage(bench, graph, tmp_path, silence_s=1.0, controller={"armed": False})
    stage.start()
    return stage


def start(stage, text="wave"):
    request = StartEpisode.Request(instruction=text)
    return stage.bench.call(StartEpisode, "recorder_node/start_episode", request)


def test_a_disarmed_controller_refuses_the_start_and_a_key_arms_it(disarmed):
    stage = disarmed
    assert stage.status(lambda s: s.controller != "none").controller == "disarmed"
    refused = start(stage)
    assert not refused.accepted and refused.message == UNARMED
    stage.control.publish(String(data="start wave"))
    assert stage.status(lambda s: s.reason == UNARMED).state == "idle"

    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vla_adapter_ros.cli.main", "record", "--attach", "--instruction", "wave"],
        stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    try:
        press(terminal, b"", process, "a: arm the controller")
        while reached_nobody(press(terminal, b"a", process, "armed, state is idle")):
            pass
        stage.play(0.1)
        stage.status(lambda s: s.controller == "idle")
        press(terminal, b" ", process, "recording episode 0")
        stage.status(lambda s: s.state == "recording")
        press(terminal, b"d", process, "discarded an episode")
        stage.status(lambda s: s.state == "idle")
        controller = stage.runner.processes["controller_node"]
        stage.bench.stop_process(controller)
        shown = press(terminal, b"a", process, "armed")
        controller.send_signal(signal.SIGCONT)
        assert (
            "! no answer from /controller_node/arm within 3 s: its node is there, but does not answer"
            in shown
        )
        os.write(terminal, b"q")
        shown = process.communicate(timeout=PATIENCE_S)[0]
    finally:
        process.kill()
        os.close(terminal)
        os.close(inside)
    assert process.returncode == 0, shown


def test_a_start_says_that_nothing_may_be_learned_and_a_stop_during_the_episode_is_told(disarmed):
    stage, bench = disarmed, disarmed.bench
    assert bench.call(Trigger, "controller_node/arm", Trigger.Request()).success
    stage.play(0.1)
    stage.status(lambda s: s.controller == "idle")
    bench.node.destroy_publisher(bench.teleop)
    bench.teleop = None
    stage.status(lambda s: bench.node.count_publishers(CONTRACT.teleop.topic) == 0)
    started = start(stage)
    assert started.accepted
    assert f"nobody leads and nobody publishes on {CONTRACT.teleop.topic}" in started.message
    stage.play(0.5)
    assert bench.call(Trigger, "controller_node/stop", Trigger.Request()).success
    stage.play(0.6)
    assert stage.status(lambda s: s.controller == "stopped").state == "recording"
    stage.status(lambda s: "the controller lets nothing move: stopped" in s.reason)
    ended = stage.call("stop_episode")
    assert not ended.success and "fail unled_rows" in ended.message
    verdict = stage.status(lambda s: s.state == "pending").verdict
    assert any(v.startswith("warn controller: nothing could move from 0.") for v in verdict), verdict


def test_without_a_controller_a_human_leads_and_the_set_can_be_learned_from(stage):
    stage.start()
    started = start(stage)
    assert started.accepted and "no controller is heard" in started.message
    assert stage.status(lambda s: s.state == "recording").controller == "none"
    stage.play(1.0)
    assert stage.call("stop_episode").success
    dataset = open_dataset(stage.root)
    assert set(dataset.rows(0)["control_source"]) == {1}
    assert read_rows(dataset, CONTRACT).usable.all()
