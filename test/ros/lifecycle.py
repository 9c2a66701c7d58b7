"""Leads a node through its lifecycle by its services, and counts what it has in the graph."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

IDS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
}
SHUTDOWN = {
    State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_INACTIVE_SHUTDOWN,
    State.PRIMARY_STATE_ACTIVE: Transition.TRANSITION_ACTIVE_SHUTDOWN,
}


class Lifecycle:
    """One node, led by a bench.

    Args:
        bench: Calls the services.
        node: Name of the node, in the root namespace.
    """

    def __init__(self, bench: Any, node: str) -> None:
        self._bench, self._node = bench, node

    def state(self) -> str:
        """Label of the state."""
        return self._ask().label

    def go(self, *names: str) -> None:
        """Make transitions; each must succeed."""
        for name in names:
            assert self.tries(name), f"{name} failed in state {self.state()}"

    def tries(self, name: str) -> bool:
        """Try one transition."""
        number = SHUTDOWN[self._ask().id] if name == "shutdown" else IDS[name]
        request = ChangeState.Request(transition=Transition(id=number))
        return self._bench.call(ChangeState, f"{self._node}/change_state", request).success

    def entities(self) -> Counter:
        """How many publishers, subscriptions and services the node has by name."""
        node, found = self._bench.node, Counter()
        for topic, _ in node.get_topic_names_and_types():
            for kind, infos in (
                ("publisher", node.get_publishers_info_by_topic(topic)),
                ("subscription", node.get_subscriptions_info_by_topic(topic)),
            ):
                found[kind, topic] += sum(info.node_name == self._node for info in infos)
        for name, _ in node.get_service_names_and_types_by_node(self._node, "/"):
            found["service", name] = node.count_services(name)
        return +found

    def settled(self) -> Counter:
        """The entities once no new ones turn up."""
        seen = [self.entities()]
        while self._bench.until(lambda: self.entities() != seen[-1], 0.5):
            seen.append(self.entities())
        return seen[-1]

    def require(self, wanted: Counter) -> None:
        """The graph shows exactly these entities; it takes a moment to hear of changes."""
        settled = self._bench.until(lambda: self.entities() == wanted, 5.0)
        assert settled, f"missing {wanted - self.entities()}, too many {self.entities() - wanted}"

    def _ask(self) -> State:
        return self._bench.call(GetState, f"{self._node}/get_state", GetState.Request()).current_state
