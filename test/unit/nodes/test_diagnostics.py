"""Problems of a node: on /diagnostics while they last, in the log once each, and once when they are over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from builtin_interfaces.msg import Time

from vla_adapter_ros.nodes import diagnostics as module
from vla_adapter_ros.nodes.diagnostics import Diagnostics
from vla_adapter_ros.nodes.said_once import ENDED_AFTER_S


class Node:
    """What `Diagnostics` needs of a node: keeps what is logged and published."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.published: list = []
        log = self.lines.append
        self._logger = SimpleNamespace(info=log, warning=log, error=log)

    def get_logger(self):
        return self._logger

    def create_publisher(self, *_):
        return SimpleNamespace(publish=self.published.append)

    def create_timer(self, *_, **__):
        return SimpleNamespace(cancel=lambda: None)

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=Time))

    def get_fully_qualified_name(self):
        return "/left/policy_node"


@pytest.fixture
def now(monkeypatch):
    time = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: time[0])
    return time


def test_each_problem_is_said_by_itself_and_over_only_when_it_is(now):
    node = Node()
    told = Diagnostics(node, "policy")
    late, why = "camera gripper: newest sample is 0.3 s old", "the camera is silent: give a new instruction"
    for age in range(20):
        told.set_problems([f"camera gripper: newest sample is 0.{age + 3} s old"], {})
    assert node.lines == [late]
    told.set_problems([why, late], {})  # another one comes to it
    assert node.lines == [late, why]
    now[0] += 100.0
    told._publish()
    assert node.lines == [late, why]  # both last, though nobody has said so since
    assert node.published[-1].status[0].message == f"{why}; {late}"
    told.set_problems([why], {})
    now[0] += ENDED_AFTER_S
    told._publish()
    assert node.lines == [late, why, f"over: {late}"]
    told.set_problems(["a is late", "b is late"], {})  # what comes and goes together is one line
    told.set_problems([], {})
    now[0] += ENDED_AFTER_S
    told._publish()
    assert node.lines[3:] == ["a is late; b is late", f"over: {why}; a is late; b is late"]


def test_a_problem_that_alternates_with_none_is_said_once(now):
    node = Node()
    told = Diagnostics(node, "policy")
    for _ in range(100):
        for problems in (["a chunk takes 0.3 s"], []):
            told.set_problems(problems, {})
            now[0] += 0.4
            told._publish()
    assert node.lines == ["a chunk takes 0.3 s"]


def test_another_number_or_detail_makes_no_other_problem(now):
    node = Node()
    told = Diagnostics(node, "policy")
    late = "/joint_states (j4): newest sample is 0.2 s old"
    for detail in ("", " (1 refused, stamped 0.3 s late)", " (refused (twice): see the clocks)"):
        told.set_problems([f"{late}{detail}"], {})
    assert node.lines == [late]
    told.set_problems(["/joint_states (j5): newest sample is 0.2 s old"], {})
    assert len(node.lines) == 2


def test_a_fault_and_a_problem_in_the_same_words_are_one(now):
    for fault_first in (True, False):
        node = Node()
        told = Diagnostics(node, "controller")
        acts = [
            lambda told=told: told.faults.report("/action_chunk refused", "first target is 1.50 from j6"),
            lambda told=told: told.set_problems(["first target is 1.50 from j6"], {}),
        ]
        for act in acts if fault_first else reversed(acts):
            act()
        assert len(node.lines) == 1 and node.lines[0].endswith("first target is 1.50 from j6")


def test_every_message_says_which_node_it_is_and_in_which_state(now):
    node = Node()
    told = Diagnostics(node, "policy")
    told.describe = lambda: {"instruction": "wave"}
    with told.configuring():
        pass
    told.set_state("active")
    told._publish()
    found = [{v.key: v.value for v in message.status[0].values} for message in node.published]
    assert found[0]["lifecycle"] == "configuring" and found[-1]["lifecycle"] == "active"
    assert all(values["kind"] == "policy" and values["instruction"] == "wave" for values in found)
    told.set_failure("configuration", RuntimeError("no file"))
    told._publish()
    assert {v.key: v.value for v in node.published[-1].status[0].values}["lifecycle"] == "failed"
