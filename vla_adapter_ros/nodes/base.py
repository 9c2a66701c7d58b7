"""What all nodes share: lifecycle, ownership of entities, parameters, contract, diagnostics, lock step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.errors import NodeError
from vla_adapter_ros.msg import StepAck
from vla_adapter_ros.nodes.configured import Configured
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.diagnostics import STEADY, Diagnostics
from vla_adapter_ros.nodes.entities import GatedPublisher, GatedService
from vla_adapter_ros.nodes.faults import Faults
from vla_adapter_ros.nodes.node_parameters import declare_parameters, guard_parameters, read_parameters
from vla_adapter_ros.nodes.parameter_rules import P
from vla_adapter_ros.nodes.topics import ACK_QOS, ACK_TOPIC
from vla_adapter_ros.nodes.twins import claim_name
from vla_adapter_ros.simulation.lock_step import LEAVING_S


@dataclass(frozen=True)
class _Setup(Generic[P]):
    """What a node knows once it has begun to be configured; `acks` only in lock step."""

    parameters: P
    contract: Contract
    acks: GatedPublisher | None


class ManagedNode(LifecycleNode, Generic[P]):
    """A lifecycle node that owns what it makes, and that works while it is active and only then.

    Children override `configure`, whose result has what the node does: see `Configured`. What is made with
    `publish_on`, `listen`, `serve`, `every` and `own` is destroyed in reverse order, at the latest when the
    state in which it was made ends. A transition that fails takes back what it made.

    While the node is not active, callbacks are not called, services answer
    that it is inactive, and what is published is dropped. An error in a
    callback is reported and ends nothing.

    Args:
        name: Of the node, unless remapped.
        parameters_kind: Class of its parameters.
        options: Of rclpy's node, such as `parameter_overrides`.
    """

    def __init__(self, name: str, parameters_kind: type[P], **options: Any) -> None:
        super().__init__(name, **options)
        self._born = time.monotonic()
        self._role = name.removesuffix("_node")
        self._kind = parameters_kind
        declare_parameters(self, parameters_kind)
        self._owned: list[Callable[[], object]] = []
        self._mark = 0  # what was owned before the activation
        self._setup: _Setup[P] | None = None
        self._configured: Configured[P] | None = None
        self._active = self._receiving = self._sending = False
        self._diagnostics = Diagnostics(self, self._role)
        guard_parameters(self, parameters_kind, lambda: self._setup is not None)

    def configure(self) -> Configured[P]:
        """Make everything that the node has until the clean-up; `parameters` and `contract` are there."""
        raise NotImplementedError

    @property
    def active(self) -> bool:
        """Whether the node receives and sends."""
        return self._active

    @property
    def simulated_time(self) -> bool:
        """Whether the node's time is that of /clock."""
        return bool(self.get_parameter("use_sim_time").value)

    @property
    def faults(self) -> Faults:
        """The errors of callbacks."""
        return self._diagnostics.faults

    @property
    def parameters(self) -> P:
        """The node's parameters.

        Raises:
            NodeError: the node is not configured.
        """
        return self._known.parameters

    @property
    def contract(self) -> Contract:
        """The robot's contract.

        Raises:
            NodeError: the node is not configured.
        """
        return self._known.contract

    @property
    def _known(self) -> _Setup[P]:
        if self._setup is None:
            raise NodeError(f"{self.get_name()} is not configured: configure it first")
        return self._setup

    def publish_on(self, kind: type, topic: str, qos: QoSProfile, *, always: bool = False) -> GatedPublisher:
        """A publisher; what an inactive node publishes through it is dropped, unless `always`."""
        publisher: Publisher[Any] = self.create_publisher(kind, topic, qos)
        gated = GatedPublisher(publisher, lambda: always or self._sending)

        def destroy() -> None:
            gated.close()
            self.destroy_publisher(publisher)

        self.own(destroy)
        return gated

    def listen(
        self,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
        *,
        group: CallbackGroup | None = None,
        always: bool = False,
    ) -> Any:
        """A subscription; `callback` is called with each message while the node is active, or `always`.

        What is latched comes once only, perhaps while the node is inactive: listen to it `always`.
        """
        what = self.resolve_topic_name(topic)

        def receive(message: Any) -> None:
            if always or self._receiving:
                with self.boundary(what):
                    callback(message)

        subscription = self.create_subscription(kind, topic, receive, qos, callback_group=group)
        self.own(partial(self.destroy_subscription, subscription))
        return subscription

    def serve(
        self,
        kind: type,
        name: str,
        callback: Callable[[Any, Any], Any],
        *,
        group: CallbackGroup | None = None,
    ) -> None:
        """A service; an inactive node, or one whose `callback` fails, answers with a refusal in words.

        The response has `success` or `accepted`, and `message`. A coroutine may be given, with a group
        that is reentrant: it may await rclpy's futures.
        """
        service = GatedService(self, kind, name, callback, group, self.refusal)
        self.own(service.destroy)

    def every(
        self, period_s: float, callback: Callable[[], None], *, steady: bool = False, always: bool = False
    ) -> Any:
        """A timer by the node's clock, or by the steady one; calls while the node is active, or `always`."""

        def call() -> None:
            if always or self._receiving:
                with self.boundary(getattr(callback, "__name__", "timer")):
                    callback()

        timer = self.create_timer(period_s, call, clock=STEADY if steady else None)
        self.own(partial(self.destroy_timer, timer))
        return timer

    def own(self, destroy: Callable[[], object]) -> None:
        """Have `destroy` called when what was made here must go."""
        self._owned.append(destroy)

    def boundary(self, what: str) -> AbstractContextManager[None]:
        """Whatever goes wrong inside becomes one report about `what`, said once and when it ends."""
        return self.faults.boundary(what)

    def now(self) -> float:
        """ROS time [s]."""
        return self.get_clock().now().nanoseconds * 1e-9

    def diagnose(self, *problems: str, **values: Any) -> None:
        """Say how the node is, with values for /diagnostics; an empty text is no problem."""
        self._diagnostics.set_problems([problem for problem in problems if problem], values)

    def describe_with(self, values: Callable[[], Mapping[str, Any]]) -> None:
        """Have `values` called for every message on /diagnostics, until the clean-up."""
        self._diagnostics.describe = values
        self.own(lambda: setattr(self._diagnostics, "describe", dict))

    def soon(self, action: Callable[..., object], *arguments: Any) -> None:
        """Have `action` called by the thread that executes callbacks; never, if no thread does."""
        if self.executor is not None:
            self.executor.create_task(action, *arguments)

    def acknowledge(self, stamp: float, inputs: int = 0, outputs: int = 0) -> None:
        """In lock step, tell the simulator that everything up to `stamp` has been handled: see `LockStep`."""
        if self._setup is not None and self._setup.acks is not None:
            self._setup.acks.publish(
                StepAck(node=self._role, stamp=to_stamp(stamp), inputs=inputs, outputs=outputs)
            )

    def refusal(self) -> str:
        """Why no service can be had now; empty if they can."""
        return "" if self._receiving else f"{self.get_name()} is inactive: activate it first"

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        """Read parameters and contract, then `configure`; a failure leaves nothing behind."""
        try:
            with self._diagnostics.configuring():
                parameters = read_parameters(self, self._kind)
                contract = read_contract(parameters.contract)
                if warning := contract.verification_warning:
                    self.get_logger().warning(warning)
                acks = self.publish_on(StepAck, ACK_TOPIC, ACK_QOS) if parameters.lock_step else None
                self._setup = _Setup(parameters, contract, acks)
                self._diagnostics.hardware_id = contract.name
                self._configured = self.configure()
        except Exception as error:
            self._diagnostics.set_failure("configuration", error)
            self._release(0)
            self._setup = None
            return TransitionCallbackReturn.FAILURE
        self._diagnostics.set_state("inactive")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        """Claim the name, then `activate`; a failure leaves the node inactive, as it was."""
        self._mark = len(self._owned)
        try:
            if self._configured is None:
                raise NodeError(f"{self.get_name()} is not configured: configure it first")
            self.own(claim_name(self, self._born))
            self._diagnostics.set_state("active")
            self._sending = True
            self.acknowledge(0.0)
            self._configured.activate()
        except Exception as error:
            self._diagnostics.set_failure("activation", error)
            self._release(self._mark)
            self._leave()
            return TransitionCallbackReturn.FAILURE
        self._active = self._receiving = True
        return super().on_activate(state)

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        """Stop, and let go of what the activation made."""
        if not self._deactivate():
            return TransitionCallbackReturn.ERROR
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> TransitionCallbackReturn:
        """Let go of everything but the diagnostics."""
        if not self._clean_up():
            return TransitionCallbackReturn.ERROR
        return super().on_cleanup(state)

    def on_shutdown(self, state: Any) -> TransitionCallbackReturn:
        """End from any state, the diagnostics too."""
        self.end()
        self._diagnostics.stop()
        return super().on_shutdown(state)

    def on_error(self, state: Any) -> TransitionCallbackReturn:
        """Back to unconfigured, with nothing left, however far a transition got."""
        self.end()
        return TransitionCallbackReturn.SUCCESS

    def end(self) -> None:
        """Deactivate and clean up, as far as there is something to end. Raises nothing."""
        self._deactivate()
        self._clean_up()

    def _deactivate(self) -> bool:
        """Returns whether all went well; whatever did not, nothing runs afterwards."""
        self._receiving = False
        if not self._active or self._configured is None:
            return True
        self._active = False
        good = self._attempt("deactivation", self._configured.deactivate)
        good = self._release(self._mark) and good
        self._leave()
        self._diagnostics.set_state("inactive")
        return good

    def _leave(self) -> None:
        """Send nothing more; the simulator need not wait."""
        self.acknowledge(LEAVING_S)
        self._sending = False

    def _clean_up(self) -> bool:
        configured, self._configured = self._configured, None
        good = configured is None or self._attempt("clean-up", configured.cleanup)
        good = self._release(0) and good
        self._setup, self._sending = None, False
        self._diagnostics.set_state("unconfigured")
        return good

    def _release(self, mark: int) -> bool:
        """Destroy what was made since `mark`, last made first."""
        good = True
        while len(self._owned) > mark:
            good = self._attempt("clean-up", self._owned.pop()) and good
        return good

    def _attempt(self, what: str, action: Callable[[], object]) -> bool:
        try:
            action()
        except Exception as error:
            self._diagnostics.set_failure(what, error)
            return False
        return True
