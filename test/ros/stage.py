"""A recorder on the bench, with what a human commands."""

from __future__ import annotations

import os
import select
import time

import numpy as np
from bench import CONTRACT, HOME, PATIENCE_S, PERIOD_S
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.nodes.conversions import command_message, to_stamp
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.image_messages import array_to_image
from vla_adapter_ros.srv import StartEpisode

# The bench's arm stands still before gray walls.
STILL = "constant_joints: [.inf, .inf]\nidle_head: [.inf, .inf]\nidle_tail: [.inf, .inf]\n"


class Stage:
    """A recorder on the bench, with commands beside the bench's own streams.

    With `controller`, its parameters, a real one runs beside it, which is awaited and gives the commands.
    """

    def __init__(self, bench, graph, tmp_path, *, controller=None, **parameters):
        verdict = tmp_path / "verdict.yaml"
        verdict.write_text(STILL)
        self.bench, self.root = bench, tmp_path / "set"
        self._graph, self._parameters = graph, {
            "use_sim_time": True, "lock_step": True, "dataset": str(self.root), "verdict": str(verdict),
            "min_disk_gb": 0.0, **parameters,
        }  # fmt: skip
        publisher = bench.node.create_publisher
        self._beside = []
        self._awaited = ()
        self._commands = None  # a controller publishes by itself what is commanded
        if controller is not None:
            self._beside = [NodeSpec("controller", {"use_sim_time": True, "lock_step": True, **controller})]
            self._awaited = ("controller",)
        else:
            self._commands = publisher(JointState, CONTRACT.action.topic, QoSProfile(depth=10))
        self.control = publisher(String, "recorder_node/command", QoSProfile(depth=10))
        self.joy = publisher(Joy, "joy", QoSProfile(depth=10))
        self._small = bench._images["gripper"]
        self.runner = None

    def start(self):
        self.bench.acks.clear()
        self.runner = self._graph([*self._beside, NodeSpec("recorder", self._parameters)])
        self.bench.wait_for("recorder", *self._awaited)
        seen = self.bench.received["recorder_node/status"]
        for _ in range(60):  # until all topics are connected
            self.play(0.5, waited=False)
            if seen and seen[-1].ages and max(seen[-1].ages) < 1.0:
                break
        # A command may overtake images that wait in a recorder without a processor: it would be refused since
        # the newest image that was taken in is too old. So let the recorder catch up first.
        self.play(0.2)

    def play(self, seconds, *, waited=True, small=False):
        """Let time pass. A frame that lacks a stream waits for the next tick, so nobody may wait for it."""
        for _ in range(round(seconds / PERIOD_S)):
            stamp = round(self.bench.now + PERIOD_S, 6)
            if self._commands is not None:
                values = np.append(HOME + 0.05 * np.sin(stamp), 1.0)
                self._commands.publish(command_message(values, CONTRACT.action_names, stamp))
            if small and round(stamp / PERIOD_S) % 10 == 0:
                image = array_to_image(np.zeros((60, 80, 3), np.uint8), "gripper")
                image.header.stamp = to_stamp(stamp)
                self._small.publish(image)
            self.bench.run(PERIOD_S, *self._awaited, *(("recorder",) if waited else ()))
            if not waited:
                time.sleep(0.004)

    def begin(self, text="wave"):
        answer = self.bench.call(
            StartEpisode, "recorder_node/start_episode", StartEpisode.Request(instruction=text)
        )
        assert answer.accepted, answer.message

    def call(self, name):
        return self.bench.call(Trigger, f"recorder_node/{name}", Trigger.Request())

    def status(self, condition):
        """Newest status, once it fulfills a condition."""
        seen = self.bench.received["recorder_node/status"]
        assert self.bench.until(lambda: seen and condition(seen[-1])), seen[-1] if seen else "none"
        return seen[-1]

    def record(self, text="wave", seconds=1.0):
        self.begin(text)
        self.play(seconds)
        answer = self.call("stop_episode")
        assert answer.success, answer.message

    def lengths(self):
        reader = DatasetReader(self.root)
        for episode in reader.episodes:
            for camera in reader.cameras:
                assert len(reader.decode(camera, episode.index)) == episode.length
        return [episode.length for episode in reader.episodes]


def press(terminal, key, process, words):
    """Press a key (or none); read what the command says until `words`, or that the key reached nobody."""
    shown = ""
    os.write(terminal, key)
    deadline = time.monotonic() + PATIENCE_S
    while words not in shown and not reached_nobody(shown):
        left_s = max(deadline - time.monotonic(), 0.0)
        readable, _, _ = select.select([process.stdout], [], [], left_s)
        assert readable, f"{words!r} was not said within {PATIENCE_S:g} s, but: {shown}"
        data = os.read(process.stdout.fileno(), 4096)
        assert data, f"it has ended: {shown}"
        shown += data.decode()
    return shown


def reached_nobody(shown):
    """Whether a service was not found or did not answer in time: a busy machine finds nodes late."""
    return any(words in shown for words in ("no answer", "no service", "is not there"))
