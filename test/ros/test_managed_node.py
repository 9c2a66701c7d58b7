"""What every node inherits: errors in callbacks and transitions, in a node of this process."""

from __future__ import annotations

import itertools

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle import Lifecycle
from rclpy.qos import QoSProfile
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.errors import NodeError
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.configured import Configured
from vla_adapter_ros.nodes.parameters import CommonParameters

NUMBERS = itertools.count()


class Frail(ManagedNode[CommonParameters]):
    """Fails wherever it is told to."""

    def __init__(self, name: str) -> None:
        super().__init__(name, CommonParameters)
        self.fails, self.calls = set(), []

    def note(self, what: str) -> None:
        self.calls.append(what)
        if what in self.fails:
            raise ValueError(f"{what} was told to fail")

    def configure(self):
        return ConfiguredFrail(self)


class ConfiguredFrail(Configured[CommonParameters]):
    """What a frail node does."""

    def __init__(self, node):
        super().__init__(node)
        node.listen(String, "word", lambda m: node.note(m.data), QoSProfile(depth=10))
        self.out = node.publish_on(String, "~/out", QoSProfile(depth=10))
        node.serve(Trigger, "~/work", self._work)
        node.note("configure")

    def activate(self):
        self.node.every(0.05, lambda: self.node.note("tick"), steady=True)
        self.node.own(lambda: self.node.note("release"))
        self.node.note("activate")

    def deactivate(self):
        self.node.note("deactivate")

    def cleanup(self):
        self.node.note("cleanup")

    def _work(self, _, response):
        self.node.note("work")
        response.success = True
        return response


@pytest.fixture
def frail(bench):
    node = Frail(f"frail_{next(NUMBERS)}_node")  # rclpy leaves some services of an earlier one for a while
    bench.spin_also(node)
    yield node, Lifecycle(bench, node.get_name())
    node.fails.clear()
    node.end()
    node.destroy_node()


def test_a_node_knows_its_contract_while_it_is_configured(frail):
    node, life = frail
    for _ in range(2):
        with pytest.raises(NodeError, match="is not configured: configure it first"):
            _ = node.contract
        life.go("configure")
        assert node.contract.name and node.parameters.contract == "franka_sim"
        life.go("activate", "deactivate", "cleanup")


def test_diagnostics_name_node_and_robot(bench, frail):
    node, life = frail
    bench.watch(DiagnosticArray, "/diagnostics")
    life.go("configure")

    def said() -> set[tuple[str, str]]:
        return {(s.name, s.hardware_id) for m in bench.received["/diagnostics"] for s in m.status}

    assert bench.until(lambda: (f"/{node.get_name()}", "franka_sim") in said(), 5.0), said()


def test_error_in_a_callback_ends_nothing(bench, frail):
    node, life = frail
    words = bench.node.create_publisher(String, "word", 10)
    life.go("configure", "activate")
    node.fails |= {"bad", "work", "tick"}
    assert bench.until(lambda: words.get_subscription_count())
    for word in ("bad", "good"):
        words.publish(String(data=word))
    assert bench.until(lambda: "good" in node.calls and node.calls.count("tick") > 2)
    answer = bench.call(Trigger, f"{node.get_name()}/work", Trigger.Request())
    assert not answer.success and "/work failed" in answer.message
    node.fails.clear()
    assert bench.call(Trigger, f"{node.get_name()}/work", Trigger.Request()).success
    life.go("deactivate")
    node.calls.clear()
    words.publish(String(data="late"))
    assert not bench.call(Trigger, f"{node.get_name()}/work", Trigger.Request()).success
    assert not bench.until(lambda: node.calls, 0.3)


@pytest.mark.parametrize("where", ["configure", "activate"])
def test_a_transition_that_fails_takes_back_what_it_made(bench, frail, where):
    node, life = frail
    bare = life.settled()
    node.fails.add(where)
    if where == "activate":
        life.go("configure")
        bare = life.settled()
    assert not life.tries(where)
    life.require(bare)
    assert "tick" not in node.calls and not {"deactivate", "cleanup"} & set(node.calls)
    node.fails.clear()
    life.go(*("configure",) * (where == "configure"), "activate", "deactivate")


@pytest.mark.parametrize("where", ["deactivate", "release", "cleanup"])
def test_an_error_while_ending_leaves_an_unconfigured_node(bench, frail, where):
    node, life = frail
    bare = life.settled()
    life.go("configure", "activate")
    node.fails.add(where)
    if where == "cleanup":
        life.go("deactivate")
    life.tries("deactivate" if where != "cleanup" else "cleanup")
    assert life.state() == "unconfigured"
    life.require(bare)
    for what in ("deactivate", "release", "cleanup"):
        assert node.calls.count(what) == 1
    node.fails.clear()
    life.go("configure", "activate")
    life.go("shutdown")
    assert life.state() == "finalized"
