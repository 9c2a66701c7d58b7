"""The recorder among faults: cameras, clocks, kills, a second recorder; and hands-busy control."""

from __future__ import annotations

import os
import pty
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench import CONTRACT, PATIENCE_S
from sensor_msgs.msg import Joy
from stage import Stage, press
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.nodes.graph import graph_environment
from vla_adapter_ros.srv import StartEpisode

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def stage(bench, graph, tmp_path):
    return Stage(bench, graph, tmp_path, joy_buttons="toggle=0 discard=1 rerecord=2 save=3", silence_s=1.0)


@pytest.mark.slow
def test_a_camera_that_dies_or_changes_and_a_clock_that_jumps_end_the_episode(stage):
    stage.start()
    bench, cameras = stage.bench, set(stage.bench.cameras)
    bench.cameras.clear()  # no frame says so, for none comes
    stage.play(0.6, waited=False)
    stage.status(lambda s: "camera third_view: newest sample is" in s.reason)
    bench.cameras |= cameras
    stage.play(0.5)
    stage.status(lambda s: s.reason == "")
    stage.record()

    stage.begin()
    stage.play(1.0)
    bench.cameras.discard("gripper")
    stage.play(1.4, waited=False)
    status = stage.status(lambda s: s.state == "pending")
    assert "no good frame for" in status.reason and "camera gripper: newest sample is" in status.reason
    assert status.frames >= 9 and any(line.startswith("fail ended early") for line in status.verdict)
    refused = bench.call(StartEpisode, "recorder_node/start_episode", StartEpisode.Request(instruction="a"))
    assert not refused.accepted and "camera gripper" in refused.message
    assert stage.call("save_pending").success  # what was recorded until then is good

    bench.cameras.add("gripper")
    stage.play(0.5)
    stage.begin()
    stage.play(0.6)
    bench.cameras.discard("gripper")
    stage.play(1.4, waited=False, small=True)
    status = stage.status(lambda s: s.state == "pending")
    assert "camera gripper: image is 80x60, the contract says 112x112" in status.reason
    assert stage.call("discard_episode").success

    bench.cameras.add("gripper")
    for jump, sign in ((5.0, "+"), (-3.0, "-")):
        stage.play(0.5)
        stage.begin()
        stage.play(0.6)
        bench.jump(jump)
        stage.play(0.3, waited=False)
        status = stage.status(lambda s: s.state == "pending")
        assert f"the clock jumped by {sign}" in status.reason
        assert stage.call("discard_episode").success
    stage.play(0.5)
    stage.record()
    stage.runner.check_alive()
    lengths = stage.lengths()
    assert len(lengths) == 3 and min(lengths) >= 9


def test_images_that_cannot_be_used_refuse_the_start_and_are_told_by_the_verdict(stage):
    stage.start()
    bench, request = stage.bench, StartEpisode.Request(instruction="wave")
    bench.image_encoding = {"gripper": "32FC1"}
    stage.play(0.5, waited=False)
    answer = bench.call(StartEpisode, "recorder_node/start_episode", request)
    topic = CONTRACT.cameras["gripper"].topic
    first = (
        f"inputs are missing: camera gripper ({topic}): image encoding '32FC1' is no color: depth is allowed"
    )
    assert not answer.accepted and answer.message.startswith(first)
    assert answer.message.count("camera gripper") == 1  # the cause, and not its echo

    bench.image_encoding = {}
    stage.play(0.5)
    stage.begin()
    stage.play(2.0)
    bench.image_encoding = {"gripper": "8UC3"}
    stage.play(0.3, waited=False)
    bench.image_encoding = {}
    stage.play(1.0, waited=False)
    stage.call("stop_episode")
    status = stage.status(lambda s: s.state != "recording" and any(s.verdict))
    (line,) = (line for line in status.verdict if "refused_images" in line)
    assert line.startswith("fail refused_images: 3 images in") and "(camera gripper), the first: " in line
    assert "image encoding '8UC3' does not say" in line


def test_topics_and_joysticks_control_the_recorder(stage):
    stage.start()

    def press(button):
        for value in (1, 0):
            buttons = [0] * 4
            buttons[button] = value
            stage.joy.publish(Joy(buttons=buttons))

    assert stage.bench.until(lambda: stage.control.get_subscription_count() > 0, PATIENCE_S)
    stage.control.publish(String(data="start stack the cups"))
    status = stage.status(lambda s: s.state == "recording")
    assert status.instruction == "stack the cups" and status.episode == 0
    stage.play(1.0)
    stage.control.publish(String(data="stop"))
    stage.status(lambda s: s.episodes == 1 and s.state == "idle")
    press(0)
    stage.status(lambda s: s.state == "recording")
    stage.play(0.7)
    assert stage.status(lambda s: s.frames >= 6).rate_hz == pytest.approx(10.0, abs=0.1)
    press(2)  # again
    stage.status(lambda s: s.state == "recording" and s.frames == 0)
    stage.play(1.0)
    press(0)
    stage.status(lambda s: s.episodes == 2 and s.state == "idle")
    press(0)
    stage.status(lambda s: s.state == "recording")
    press(1)
    status = stage.status(lambda s: s.state == "idle")
    assert "discarded" in status.reason and status.minutes_left > 0
    assert set(status.streams) >= {*CONTRACT.cameras, CONTRACT.action.topic}
    stage.control.publish(String(data="dance"))
    stage.status(lambda s: "allowed are" in s.reason)
    answer = stage.call("rerecord_episode")
    assert answer.success is False and "no episode to record again" in answer.message
    assert len(stage.lengths()) == 2
    assert DatasetReader(stage.root).tasks == ("stack the cups",)


def kill_and_resume(stage, wait_s, rng):
    """Kill the recorder at a random moment, start it anew, and compare what is on disk."""
    committed = stage.status(lambda s: True).episodes
    process = stage.runner.processes["recorder_node"]
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = DatasetReader(stage.root).num_episodes if committed else 0
    stage.bench.received["recorder_node/status"].clear()
    stage.start()
    status = stage.status(lambda s: True)
    assert status.episodes >= max(committed, before)
    return status.episodes


@pytest.mark.slow
def test_a_killed_recorder_loses_only_its_episode_and_a_second_one_is_refused(stage):
    stage.start()
    stage.record("a")
    stage.begin("b")
    stage.play(0.5)
    arguments = [sys.executable, "-m", "vla_adapter_ros.nodes.recorder", "--ros-args", "-r",
                 "__node:=second", "-p", f"dataset:={stage.root}"]  # fmt: skip
    second = subprocess.run(
        arguments,
        env=os.environ | graph_environment(simulate=True),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert second.returncode == 1
    assert "another process is recording into this data set" in second.stdout + second.stderr
    assert kill_and_resume(stage, 0.0, None) == 1
    assert not list(stage.root.rglob("*.tmp"))
    stage.record("c")
    assert [DatasetReader(stage.root).task_of(n) for n in range(2)] == ["a", "c"]
    assert min(stage.lengths()) >= 9


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_twenty_random_moments(stage):
    rng = random.Random(0)
    stage.start()
    stage.record()
    for number in range(20):
        stage.begin(f"task {number}")
        stage.play(rng.uniform(0.2, 1.0))
        if number % 2:  # while it encodes, commits or writes info.json
            client = stage.bench.node.create_client(Trigger, "recorder_node/stop_episode")
            assert client.wait_for_service(PATIENCE_S)
            client.call_async(Trigger.Request())
            kill_and_resume(stage, rng.uniform(0.0, 0.4), rng)
            stage.bench.node.destroy_client(client)
        else:
            kill_and_resume(stage, rng.uniform(0.0, 0.05), rng)
        stage.lengths()
    stage.record()
    assert len(stage.lengths()) >= 2


def test_keys_of_a_terminal_control_a_running_recorder(stage):
    stage.start()
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vla_adapter_ros.cli.main", "record", "--attach", "--instruction", "wave",
         "--keys", "toggle=pageup"],
        stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    try:
        press(terminal, b"", process, "space: start/stop")
        stage.play(0.5)
        press(terminal, b"\x1b[5~", process, "recording episode 0: wave")
        stage.status(lambda s: s.state == "recording")
        stage.play(1.0)
        press(terminal, b" ", process, "saved episode 0")
        stage.status(lambda s: s.episodes == 1 and s.state == "idle")
        press(terminal, b"r", process, "took back episode 0")
        stage.status(lambda s: s.episodes == 0 and s.state == "recording")
        press(terminal, b"d", process, "discarded")
        stage.status(lambda s: s.state == "idle")
        os.write(terminal, b"q")
        output = process.communicate(timeout=PATIENCE_S)[0]
    finally:
        process.kill()
        os.close(terminal)
        os.close(inside)
    assert process.returncode == 0, output
