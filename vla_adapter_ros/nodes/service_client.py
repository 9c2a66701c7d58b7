"""Calls of one service, each answered, refused or given up in words.

The graph says that a service is there as soon as this process knows the server. The server may not know
this process yet, and would then lose the request, or send its answer to nobody. DDS announces the endpoints
of a process in the order in which they were made. Every ROS 2 node answers questions about its parameters,
so a client of those, made after the client of the service, is answered only once the server knows both. It
is asked before each request, as often as needed, since the question changes nothing.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rcl_interfaces.srv import GetParameterTypes
from rclpy.client import Client
from rclpy.task import Future

from vla_adapter_ros.errors import NoAnswerError, VlaAdapterError

if TYPE_CHECKING:
    from vla_adapter_ros.nodes.ros_client import RosClient

QUESTION = "get_parameter_types"  # the service of every node that changes nothing
ASK_AGAIN_S = 0.5
SERVER_UNKNOWN_S = 2.0  # after this the server has no name, or no parameters, and the request is sent anyway
CHECK_S = 0.1
Done = Callable[[Any, str], None]
"""Called with the response, or with None and why there is none."""


class ServiceClient:
    """Calls one service; made by `RosClient.service`.

    Args:
        owner: The client.
        kind: Type of the service.
        name: Of the service, relative to the owner's namespace.
        jobs: Where requests wait that are sent by the owner's thread.
    """

    def __init__(self, owner: RosClient, kind: type, name: str, jobs: queue.SimpleQueue[Job | None]) -> None:
        self._owner, self._jobs = owner, jobs
        self._client: Client[Any, Any] = owner.node.create_client(kind, name)
        self._question: Client[Any, Any] | None = None  # made after the client of the service: see above
        self.name = owner.node.resolve_service_name(name)

    @property
    def is_there(self) -> bool:
        """Whether a server is known."""
        return self._client.service_is_ready()

    def wait(self, patience_s: float) -> bool:
        """Wait until a server is known; False if there was none within so long [s]."""
        return self._owner.poll_until(lambda: self.is_there, patience_s)

    def call(
        self,
        request: Any,
        patience_s: float,
        *,
        found_within_s: float | None = None,
        repeat_after_s: float | None = None,
    ) -> Any:
        """Send a request and wait for its answer.

        Args:
            request: Of the service's type.
            patience_s: Longest wait for the answer [s], by the wall clock as all times here.
            found_within_s: Longest wait for the server; None: as `patience_s`.
            repeat_after_s: Send the request again after each such time without an answer; None: send it
                once. Never repeat what begins motion: somebody may have stopped it meanwhile.

        Returns:
            The response.

        Raises:
            NoAnswerError: says in `sent` whether the request was sent.
        """
        deadline = time.monotonic() + patience_s
        self.prepare(patience_s if found_within_s is None else found_within_s, patience_s)
        done = threading.Event()
        futures: list[Future[Any]] = []
        try:
            while True:
                futures.append(self._client.call_async(request))
                futures[-1].add_done_callback(lambda _: done.set())
                again = time.monotonic() + repeat_after_s if repeat_after_s is not None else deadline
                while time.monotonic() < min(again, deadline):
                    if done.wait(CHECK_S):
                        return next(future for future in futures if future.done()).result()
                    self._owner.check_alive()
                if time.monotonic() >= deadline:
                    raise NoAnswerError(self.unanswered(patience_s), sent=True)
        finally:
            for future in futures:
                self._client.remove_pending_request(future)

    def send(self, request: Any, done: Done, patience_s: float, *, found_within_s: float = 0.0) -> None:
        """Send a request and return at once.

        Args:
            request: Of the service's type.
            done: Called by a thread of the client, once or twice: with None and the reason when no
                answer has come in time, and with the answer, even a late one.
            patience_s: Longest wait for the answer [s].
            found_within_s: Longest wait for the server [s].
        """
        self._jobs.put(Job(self, request, done, patience_s, found_within_s))

    def send_now(self, request: Any) -> Future[Any]:
        """Send a request without asking anything before; returns the future of the answer."""
        return self._client.call_async(request)

    def prepare(self, found_within_s: float, patience_s: float) -> None:
        """Wait until the server is there and knows this client, as far as that can be found out.

        Raises:
            NoAnswerError: it is not there, or is there but answers nothing within `patience_s`.
        """
        if not self.wait(found_within_s):
            raise NoAnswerError(f"no service {self.name} after {found_within_s:g} s", sent=False)
        begun = time.monotonic()
        while self._question is None:
            server = self._server()
            if server:
                name = f"{server}/{QUESTION}"
                self._question = self._owner.node.create_client(GetParameterTypes, name)
            elif time.monotonic() > begun + SERVER_UNKNOWN_S:
                return
            else:
                self._owner.check_alive()
                time.sleep(0.02)
        answered = threading.Event()
        futures: list[Future[Any]] = []
        ask_at = begun
        try:
            while not answered.wait(0.02 if not futures else CHECK_S):
                self._owner.check_alive()
                now = time.monotonic()
                if now > begun + patience_s:
                    raise NoAnswerError(
                        f"no answer from {self.name} within {patience_s:g} s: its node is there, but does "
                        "not answer, so nothing was sent",
                        sent=False,
                    )
                if now >= ask_at and self._question.service_is_ready():
                    futures.append(self._question.call_async(GetParameterTypes.Request()))
                    futures[-1].add_done_callback(lambda _: answered.set())
                    ask_at = now + ASK_AGAIN_S
        finally:
            for future in futures:
                self._question.remove_pending_request(future)

    def _server(self) -> str:
        """Full name of the node that serves and answers questions; empty where none is known."""
        node = self._owner.node
        for name, namespace in node.get_node_names_and_namespaces():
            try:
                served = dict(node.get_service_names_and_types_by_node(name, namespace))
            except RuntimeError:  # the node has just left
                continue
            full_name = f"{namespace.rstrip('/')}/{name}"
            if self.name in served and f"{full_name}/{QUESTION}" in served:
                return full_name
        return ""

    def unanswered(self, patience_s: float) -> str:
        """What to say when no answer has come within so long [s]."""
        return f"no answer from {self.name} within {patience_s:g} s, yet it may have been heard"


@dataclass(frozen=True)
class Job:
    """A request that the client's thread is to send."""

    service: ServiceClient
    request: Any
    done: Done
    patience_s: float
    found_within_s: float

    def begin(self) -> Sent | None:
        """Send the request; None if it could not be sent, which is reported."""
        try:
            self.service.prepare(self.found_within_s, self.patience_s)
        except VlaAdapterError as error:
            self.done(None, str(error))
            return None
        deadline = time.monotonic() + self.patience_s
        future = self.service.send_now(self.request)
        future.add_done_callback(lambda future: self.done(future.result(), ""))
        return Sent(self, deadline, future)


@dataclass(frozen=True)
class Sent:
    """A request that was sent, and waits for its answer until the deadline by the steady clock [s]."""

    job: Job
    deadline: float
    future: Future[Any]

    def is_over(self) -> bool:
        """Whether it was answered or its time is over, which is reported."""
        if self.future.done():
            return True
        if time.monotonic() < self.deadline:
            return False
        self.job.done(None, self.job.service.unanswered(self.job.patience_s))
        return True
