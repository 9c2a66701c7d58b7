"""Publishers and services that know whether their node is active."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.duration import Duration
from rclpy.publisher import Publisher

PATIENCE_S = 0.3  # with listeners, some of which may be dead


class GatedPublisher:
    """A publisher that drops messages while its node does not send, and once it is closed.

    Args:
        publisher: Carries the messages.
        sending: Whether messages may go out now.
    """

    def __init__(self, publisher: Publisher[Any], sending: Callable[[], bool]) -> None:
        self._publisher, self._sending = publisher, sending
        self._closed = False

    def publish(self, message: Any) -> None:
        """Send a message, or drop it."""
        if not self._closed and self._sending():
            self._publisher.publish(message)

    def get_subscription_count(self) -> int:
        """How many listen."""
        return 0 if self._closed else self._publisher.get_subscription_count()

    def flush(self) -> None:
        """Wait until all who listen have what was sent: a publisher that is destroyed repeats nothing."""
        if not self._closed:
            self._publisher.wait_for_all_acked(Duration(seconds=PATIENCE_S))

    def close(self) -> None:
        """Drop everything from now on."""
        self._closed = True


class GatedService:
    """A service of a `ManagedNode`; answers with a refusal while there is one, or when the callback fails.

    Args:
        node: Serves.
        kind, name, callback, group: As for `create_service`; the callback may be a coroutine.
        refusal: Why the service cannot be had now; empty if it can.
    """

    def __init__(
        self,
        node: Any,
        kind: type,
        name: str,
        callback: Callable[[Any, Any], Any],
        group: CallbackGroup | None,
        refusal: Callable[[], str],
    ) -> None:
        self._node, self._callback, self._refusal = node, callback, refusal
        self._name = node.resolve_service_name(name)
        self._waiting, self._closed = 0, False
        answer = self._answer_later if inspect.iscoroutinefunction(callback) else self._answer
        self._service = node.create_service(kind, name, answer, callback_group=group)

    def destroy(self) -> None:
        """Answer no more calls; whoever still waits for an answer gets it first."""
        self._closed = True
        if not self._waiting:
            self._node.destroy_service(self._service)

    def _answer(self, request: Any, response: Any) -> Any:
        if refusal := self._refusal():
            return refuse(response, refusal)
        refuse(response, f"{self._name} failed: see the log of {self._node.get_name()}")
        answer = None
        with self._node.boundary(self._name):
            answer = self._callback(request, type(response)())
        return response if answer is None else answer

    async def _answer_later(self, request: Any, response: Any) -> Any:
        if refusal := self._refusal():
            return refuse(response, refusal)
        refuse(response, f"{self._name} failed: see the log of {self._node.get_name()}")
        answer = None
        self._waiting += 1
        try:
            with self._node.boundary(self._name):
                answer = await self._callback(request, type(response)())
        finally:
            self._waiting -= 1
            if self._closed and not self._waiting:
                self._node.soon(self._node.destroy_service, self._service)  # after the answer
        return response if answer is None else answer


def refuse(response: Any, reason: str) -> Any:
    """Make a response say no, and why."""
    for word in ("success", "accepted"):
        if hasattr(response, word):
            setattr(response, word, False)
    response.message = reason
    return response
