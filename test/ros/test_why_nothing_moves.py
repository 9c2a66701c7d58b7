"""Ten reasons for which nothing moves, and more: the status names each in one sentence, the log says it once.

Controller and policy are processes of their own; the status is what `vla-adapter status` prints. Time is
simulated and passes no faster than the wall clock, by which nodes publish their diagnostics.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import CONTRACT, HOME, Bench
from lifecycle import Lifecycle
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.cli.status import lines
from vla_adapter_ros.nodes.conversions import command_message
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.graph_status import why_nothing_moves
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.status_client import StatusClient
from vla_adapter_ros.nodes.streams import DISCOVERY_S

COMMON = {"use_sim_time": True, "lock_step": True}
WITHIN_S, LASTS_S, STEP_S = 2.0, 0.5, 0.1


class Terminal:
    """Where the status is looked at, beside the robot that the bench plays."""

    def __init__(self, bench: Bench, client: RosClient, logs: Path) -> None:
        self.bench, self._client, self._logs = bench, client, logs
        self._status = StatusClient(client)
        self._human, self._awaited = False, ("controller",)
        self._read: Counter[Path] = Counter()  # lines of each log that were looked at

    def call(self, name: str) -> None:
        assert self.bench.call(Trigger, f"controller_node/{name}", Trigger.Request()).success

    def pass_time(self) -> None:
        if self._human:
            self.bench.teleop.publish(
                command_message(np.append(HOME, 1.0), CONTRACT.action_names, self.bench.now)
            )
        self.bench.run(STEP_S, *self._awaited)
        time.sleep(STEP_S)

    def names(self, part: str, within_s: float = WITHIN_S) -> str:
        """The sentence that says why nothing moves, once it has this part; it must come in time."""
        begun, seen = self.bench.now, []
        while self.bench.now - begun <= within_s + 1e-6:
            status = self._status.look()
            why = why_nothing_moves(status)
            seen.append(why)
            if part in why:
                assert f"why         {why}" in lines(status)
                return why
            self.pass_time()
        raise AssertionError(f"{part!r} is not in {dict.fromkeys(seen)}")

    def new_lines(self) -> list[str]:
        """What all nodes have logged since the last call, without what rclpy puts before."""
        found = []
        for file in self._logs.glob("*.log"):
            lines_ = file.read_text().splitlines()
            found += lines_[self._read[file] :]
            self._read[file] = len(lines_)
        return [text.partition("]: ")[2] or text for text in found]

    @contextlib.contextmanager
    def human(self) -> Iterator[None]:
        self._human = True
        try:
            yield
        finally:
            self._human = False
        self.names("the human has let go")

    @contextlib.contextmanager
    def with_bench(self, **changes: Any) -> Iterator[None]:
        before = {name: getattr(self.bench, name) for name in changes}
        for name, value in changes.items():
            setattr(self.bench, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self.bench, name, value)

    @contextlib.contextmanager
    def foreign(self) -> Iterator[None]:
        node = self.bench.node
        publisher = node.create_publisher(JointTrajectory, CONTRACT.command.topic, QoSProfile(depth=1))
        try:
            yield
        finally:
            node.destroy_publisher(publisher)

    @contextlib.contextmanager
    def after(self, *acts: Callable[[], object], undo: Callable[[], object] = lambda: None) -> Iterator[None]:
        for act in acts:
            act()
        yield
        undo()

    @contextlib.contextmanager
    def inactive(self, node: str) -> Iterator[None]:
        self._awaited = () if node == "controller_node" else self._awaited
        Lifecycle(self.bench, node).go("deactivate")
        yield
        Lifecycle(self.bench, node).go("activate")
        self._awaited = ("controller",)

    def chunk(self, away: float, instruction: int) -> None:
        self.bench.send_chunk(np.tile(HOME + away, (8, 1)), instruction_id=instruction)


@pytest.fixture(scope="module")
def terminal(shared_bench, shared_graph, random_checkpoint):
    policy = COMMON | {"checkpoint": str(random_checkpoint)}
    runner = shared_graph([NodeSpec("controller", COMMON | {"armed": False}), NodeSpec("policy", policy)])
    shared_bench.wait_for("controller", "policy")
    with RosClient("terminal") as client:
        terminal = Terminal(shared_bench, client, runner.log_file("policy_node").parent)
        terminal.names("not armed yet: `vla-adapter arm`", within_s=20.0)  # nodes find each other
        known = time.monotonic() + DISCOVERY_S  # until then they say nothing of silent streams
        while time.monotonic() < known:
            terminal.pass_time()
        yield terminal


OTHERS = [name for name in reversed(CONTRACT.arm_joints) if name != "fr3_joint4"]
REASONS: dict[str, tuple[Callable[[Terminal], Any], str, str]] = {
    # name: what causes it and ends it, part of the sentence, part of the line in the log
    "disarmed": (
        lambda t: t.after(undo=lambda: t.call("arm")), "not armed yet: `vla-adapter arm`", "not armed yet",
    ),
    "no instruction": (
        lambda t: t.after(), "no instruction: `vla-adapter instruct TEXT`", "disarmed -> idle: waits for",
    ),
    "stopped": (
        lambda t: t.after(lambda: t.call("stop"), undo=lambda: t.call("reset")),
        "stopped (stop requested): `vla-adapter reset`",
        "stop requested",
    ),
    "camera silent": (
        lambda t: t.with_bench(cameras={"third_view"}),
        "camera gripper: newest sample is",
        "camera gripper: newest sample is",
    ),
    "wrong image size": (
        lambda t: t.with_bench(image_size=(480, 640)),
        "image is 640x480, the contract says 112x112",
        "camera third_view: image is 640x480",
    ),
    "joint missing": (
        lambda t: t.with_bench(joint_names=OTHERS),
        "joint states of fr3_joint4 are older than 0.2 s",
        "joint states of fr3_joint4 are older than 0.2 s",
    ),
    "foreign publisher": (lambda t: t.foreign(), "/bench publishes ", "/bench publishes "),
    "human leads": (lambda t: t.human(), "a human leads", "idle -> running"),
    "gate": (
        lambda t: t.after(lambda: t.chunk(1.5, 1), undo=lambda: t.call("reset")),
        "the gate is closed: first target is 1.50 from fr3_joint",
        "first target is 1.50 from fr3_joint",
    ),
    "starvation": (
        lambda t: t.after(lambda: t.chunk(0.0, 2), undo=lambda: t.call("reset")),
        "starvation: no action chunk in time",
        "no action chunk in time",
    ),
    "policy inactive": (lambda t: t.inactive("policy_node"), "/policy_node is inactive: activate it", ""),
    "controller inactive": (
        lambda t: t.inactive("controller_node"), "/controller_node is inactive: activate it", "",
    ),
}  # fmt: skip


QUICK = ("disarmed", "no instruction", "stopped", "camera silent", "joint missing")


@pytest.mark.parametrize(
    "reason", [pytest.param(r, marks=() if r in QUICK else pytest.mark.slow) for r in REASONS]
)
def test_the_status_names_it_and_the_log_says_it_once(terminal, reason):
    cause, sentence, line = REASONS[reason]
    if reason != "disarmed" and terminal.bench.newest("controller/status").state == "disarmed":
        terminal.call("arm")  # where this case runs without the first
    with cause(terminal):
        terminal.names(sentence, within_s=3.0 if reason == "starvation" else WITHIN_S)
        for _ in range(round(LASTS_S / STEP_S)):
            terminal.pass_time()
        assert sentence in terminal.names(sentence)  # it stays the first cause
    new = [text for text in terminal.new_lines() if not text.startswith("over: ")]
    said = [text for text in new if line and line in text]
    assert len(said) == bool(line), new
