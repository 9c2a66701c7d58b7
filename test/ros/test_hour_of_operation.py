"""An hour of operation by script, in simulated time: the logs stay readable.

Every half minute something happens: an instruction, a camera that is unplugged or has a loose contact, a
joint that is lost, a stop, a policy that is killed. Between two such events no node says anything twice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import CONTRACT, Bench
from std_srvs.srv import Trigger

from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.said_once import ENDED_AFTER_S
from vla_adapter_ros.observation.lateness import kind_of

COMMON = {"use_sim_time": True, "lock_step": True}
BOTH = ("controller", "policy")
PHASE_S, HOUR_S = 30.0, 3600.0
STARTED_WITHIN_S = 300.0  # by the wall clock
INSTRUCTIONS = ("pick up the red cube", "pick up the green cube", "pick up the blue cube")
MOST_LINES = 8  # of all nodes together, that one event may cause


def repeated(lines: list[str]) -> list[str]:
    """What a node has said again though it had not said that it was over."""
    standing: set[str] = set()
    again = []
    for line in lines:
        over = line.startswith("over: ")
        for part in line.removeprefix("over: ").split("; "):
            kind = kind_of(part.partition(" (")[0])
            if not over and kind in standing:
                again.append(part)
            standing = standing - {kind} if over else standing | {kind}
    return again


class Shift:
    """The hour: acts, the time between them, and what was logged in it."""

    def __init__(self, bench: Bench, runner: Any, start_policy: Callable[[], Any]) -> None:
        self.bench, self._runner, self._start_policy = bench, runner, start_policy
        self._logs: Path = runner.log_file("policy_node").parent
        self._read: Counter[Path] = Counter()
        self.lines: list[list[str]] = []  # per phase
        self.given = 0

    def instruct(self) -> None:
        self.given += 1
        self.bench.instruct(INSTRUCTIONS[self.given % len(INSTRUCTIONS)], *BOTH)

    def call(self, name: str) -> None:
        assert self.bench.call(Trigger, f"controller_node/{name}", Trigger.Request()).success

    def phase(self, *awaited: str, each_s: Callable[[int], None] = lambda second: None) -> None:
        """Let time pass, and look at what was logged."""
        for second in range(round(PHASE_S)):
            each_s(second)
            for _ in range(10):
                self.bench.run(0.1, *awaited)
                time.sleep(0.0 if "policy" in awaited else 0.1)  # who is not awaited must keep up
        logs = self.new_lines()
        new = [line for lines in logs for line in lines]
        self.lines.append(new)
        told = "\n".join(new)
        assert not any(map(repeated, logs)), f"phase {len(self.lines)}: {list(map(repeated, logs))}\n{told}"
        assert len(new) <= MOST_LINES, f"phase {len(self.lines)}\n{told}"

    def new_lines(self) -> list[list[str]]:
        """What each node has logged since the last call, without what rclpy puts before."""
        new = []
        for log in self._logs.glob("*.log"):
            text = log.read_text().splitlines()
            new.append([line.partition("]: ")[2] or line for line in text[self._read[log] :]])
            self._read[log] = len(text)
        return new

    def forget_start(self) -> None:
        """Wait for what nodes say of their start, and of its end."""
        time.sleep(ENDED_AFTER_S + 1.0)
        self.new_lines()

    def lose(self, **changes: Any) -> None:
        """Half a minute with something wrong, and half a minute after it is well again."""
        before = {name: getattr(self.bench, name) for name in changes}
        for name, value in changes.items():
            setattr(self.bench, name, value)
        self.phase("controller")
        for name, value in before.items():
            setattr(self.bench, name, value)
        self.phase(*BOTH)
        self.instruct()
        self.phase(*BOTH)

    def loose_contact(self) -> None:
        """A camera that is there every other second."""

        def toggle(second: int) -> None:
            self.bench.cameras = {"third_view"} if second % 2 else set(CONTRACT.cameras)

        self.phase("controller", each_s=toggle)
        self.bench.cameras = set(CONTRACT.cameras)
        self.phase(*BOTH)
        self.instruct()
        self.phase(*BOTH)

    def kill_policy(self) -> None:
        process = self._runner.processes["policy_node"]
        process.kill()
        process.wait()
        self.bench.acks.pop("policy", None)
        self.phase("controller")
        self._start_policy()
        assert self.bench.until(lambda: "policy" in self.bench.acks, STARTED_WITHIN_S)
        self.bench.wait_for("policy")
        self.bench.run(0.5, *BOTH)
        self.forget_start()
        self.phase(*BOTH)
        self.instruct()
        self.phase(*BOTH)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_in_an_hour_nothing_is_said_twice_without_news(bench, graph, random_checkpoint):
    policy = NodeSpec("policy", COMMON | {"checkpoint": str(random_checkpoint)})
    runner = graph([NodeSpec("controller", COMMON | {"armed": True}), policy])
    assert bench.until(lambda: len(bench.acks) == len(BOTH), STARTED_WITHIN_S)
    bench.wait_for(*BOTH)
    bench.run(0.5, *BOTH)
    shift, begun = Shift(bench, runner, lambda: runner.start(policy)), bench.now
    others = [name for name in bench.joint_names if name != "fr3_joint4"]
    shift.forget_start()
    while bench.now - begun < HOUR_S:
        shift.instruct()
        shift.phase(*BOTH)
        shift.instruct()  # another one, in motion
        shift.phase(*BOTH)
        shift.lose(cameras={"third_view"})
        shift.lose(image_size=(480, 640))
        shift.lose(joint_names=others)
        shift.loose_contact()
        for act in ("stop", "reset", "hold"):
            shift.call(act)
            shift.phase(*BOTH)
        shift.kill_policy()
    lines = [line for phase in shift.lines for line in phase]
    print(f"{len(lines)} lines in {len(shift.lines)} phases of {PHASE_S:g} s, {shift.given} instructions")
    runner.check_alive()
