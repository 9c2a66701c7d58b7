"""What a configured node has and does: a typed object that exists from its configuration to its clean-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from vla_adapter_ros.nodes.parameter_rules import P

if TYPE_CHECKING:
    from vla_adapter_ros.nodes.base import ManagedNode


class Configured(Generic[P]):
    """Base of what `ManagedNode.configure` makes; complete once it is made.

    Its `__init__` makes publishers, subscriptions, services and timers with the node's `publish_on`,
    `listen`, `serve`, `every` and `own`; they live until the clean-up. What `activate` makes, or what is made
    later, lives until the deactivation. An error in `__init__` or in `activate` refuses the transition and
    takes back what it made; neither `deactivate` nor `cleanup` is called for it.

    Args:
        node: With its parameters and its contract.
    """

    def __init__(self, node: ManagedNode[P]) -> None:
        self.node, self.parameters, self.contract = node, node.parameters, node.contract

    def activate(self) -> None:
        """Begin to work. What is published goes out from here on; callbacks come after it."""

    def deactivate(self) -> None:
        """Stop working; called once per activation, however it ends. Callbacks no longer come."""

    def cleanup(self) -> None:
        """Let go of what `__init__` made, except for what the node owns."""
