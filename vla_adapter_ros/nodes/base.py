"""What all nodes share: lifecycle, ownership of entities, parameters, contract, diagnostics, lock step."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.msg import StepAck
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.entities import GatedPublisher, GatedService
from vla_adapter_ros.nodes.faults import Faults
from vla_adapter_ros.nodes.node_parameters import declare, read
from vla_adapter_ros.nodes.twins import claim_name
from vla_adapter_ros.observation.lateness import kind_of
from vla_adapter_ros.simulation.lock_step import LEAVING_S

ACK_TOPIC = "simulator/step_ack"
# Latched: a node that starts before the simulator must still be heard.
ACK_QOS = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
CHUNK_TOPIC = "action_chunk"
STATUS_TOPIC = "controller/status"
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class ManagedNode(LifecycleNode):
    """A lifecycle node that owns what it makes, and that works while it is active and only then.

    Children override `configure`, `activate`, `deactivate` and `cleanup`. What
    they make with `publish_on`, `listen`, `serve`, `every` and `own` in
    `configure` lives until the clean-up, what they make in `activate` or later
    until the deactivation; it is destroyed in reverse order. A transition that
    fails takes back what it made, and neither `deactivate` nor `cleanup` is
    called for it.

    While the node is not active, callbacks are not called, services answer
    that it is inactive, and what is published is dropped. An error in a
    callback is reported and ends nothing.

    Args:
        name: Of the node, unless remapped.
        parameters_kind: Class of its parameters.
        options: Of rclpy's node, such as `parameter_overrides`.
    """

    def __init__(self, name: str, parameters_kind: type, **options: Any) -> None:
        super().__init__(name, **options)
        self._born = time.monotonic()
        self._role = name.removesuffix("_node")
        self._kind = parameters_kind
        declare(self, parameters_kind)
        self._owned: list[Callable[[], None]] = []
        self._mark = 0  # what was owned before the activation
        self._configured = self._active = False
        self._taking = self._sending = False
        self._acks: GatedPublisher | None = None
        self._faults = Faults(self.get_logger())
        self._diagnosis: tuple[bytes, str, dict[str, Any]] = (DiagnosticStatus.OK, "unconfigured", {})
        self._reported = ""
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", QoSProfile(depth=10))
        self._diagnostics_timer = self.create_timer(1.0, self._publish_diagnostics, clock=STEADY)

    # For children to override

    def configure(self) -> None:
        """Make everything; `self.parameters` and `self.contract` are there."""

    def activate(self) -> None:
        """Begin to work. What is published goes out from here on; callbacks come after it."""

    def deactivate(self) -> None:
        """Stop working; called once per activation, however it ends. Callbacks no longer come."""

    def cleanup(self) -> None:
        """Let go of what `configure` made, except for what the node owns; called once per configuration."""

    # For children to use

    @property
    def active(self) -> bool:
        """Whether the node takes in and sends."""
        return self._active

    def publish_on(self, kind: type, topic: str, qos: QoSProfile, *, always: bool = False) -> GatedPublisher:
        """A publisher; what an inactive node publishes through it is dropped, unless `always`."""
        publisher = self.create_publisher(kind, topic, qos)
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
            if always or self._taking:
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
        service = GatedService(self, kind, name, callback, group, self._refusal)
        self.own(service.destroy)

    def every(
        self, period_s: float, callback: Callable[[], None], *, steady: bool = False, always: bool = False
    ) -> Any:
        """A timer by the node's clock, or by the steady one; calls while the node is active, or `always`."""

        def call() -> None:
            if always or self._taking:
                with self.boundary(getattr(callback, "__name__", "timer")):
                    callback()

        timer = self.create_timer(period_s, call, clock=STEADY if steady else None)
        self.own(partial(self.destroy_timer, timer))
        return timer

    def own(self, destroy: Callable[[], None]) -> None:
        """Have `destroy` called when what was made here must go."""
        self._owned.append(destroy)

    @contextmanager
    def boundary(self, what: str) -> Iterator[None]:
        """Whatever goes wrong inside becomes one report about `what`, said once and when it ends."""
        try:
            yield
        except VlaAdapterError as error:
            self._faults.report(what, str(error))
        except Exception as error:
            self._faults.report(what, f"{type(error).__name__}: {error}", traceback.format_exc())

    def now(self) -> float:
        """ROS time [s]."""
        return self.get_clock().now().nanoseconds * 1e-9

    def diagnose(self, problem: str, **values: Any) -> None:
        """Say how the node is: an empty `problem` is good.

        A new problem is logged once; one that differs in numbers only is not new.
        """
        level = DiagnosticStatus.WARN if problem else DiagnosticStatus.OK
        self._diagnosis = (level, problem or "ok", values)
        kind = kind_of(problem)
        if problem and kind != self._reported:
            self.get_logger().warning(problem, throttle_duration_sec=1.0)
        self._reported = kind

    def acknowledge(self, stamp: float, inputs: int = 0, outputs: int = 0) -> None:
        """In lock step, tell the simulator that everything up to `stamp` has been handled: see `LockStep`."""
        if self._acks is not None:
            self._acks.publish(
                StepAck(node=self._role, stamp=to_stamp(stamp), inputs=inputs, outputs=outputs)
            )

    # Lifecycle

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        """Read parameters and contract, then `configure`; a failure leaves nothing behind."""
        try:
            self.parameters = read(self, self._kind)
            self.contract = read_contract(self.parameters.contract)
            if warning := self.contract.verification_warning:
                self.get_logger().warning(warning)
            self._acks = self.publish_on(StepAck, ACK_TOPIC, ACK_QOS) if self.parameters.lock_step else None
            self.configure()
        except Exception as error:
            self._failed("configuration", error)
            self._release(0)
            return TransitionCallbackReturn.FAILURE
        self._configured = True
        self._settle("inactive")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        """Claim the name, then `activate`; a failure leaves the node inactive, as it was."""
        self._mark = len(self._owned)
        try:
            self.own(claim_name(self, self._born))
            self._settle("active")
            self._sending = True
            self.acknowledge(0.0)
            self.activate()
        except Exception as error:
            self._failed("activation", error)
            self._release(self._mark)
            self._leave()
            return TransitionCallbackReturn.FAILURE
        self._active = self._taking = True
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
        self._diagnostics_timer.cancel()
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
        self._taking = False
        if not self._active:
            return True
        self._active = False
        good = self._attempt("deactivation", self.deactivate)
        good = self._release(self._mark) and good
        self._leave()
        self._settle("inactive")
        return good

    def _leave(self) -> None:
        """Send nothing more; the simulator need not wait."""
        self.acknowledge(LEAVING_S)
        self._sending = False

    def _clean_up(self) -> bool:
        good = True
        if self._configured:
            self._configured = False
            good = self._attempt("clean-up", self.cleanup)
        good = self._release(0) and good
        self._acks, self._sending = None, False
        self._settle("unconfigured")
        return good

    def _release(self, mark: int) -> bool:
        """Destroy what was made since `mark`, last made first."""
        good = True
        while len(self._owned) > mark:
            good = self._attempt("clean-up", self._owned.pop()) and good
        return good

    def _attempt(self, what: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:
            self._failed(what, error)
            return False
        return True

    def _failed(self, what: str, error: Exception) -> None:
        """Say why a transition failed; rclpy itself would say nothing."""
        if isinstance(error, VlaAdapterError):
            self.get_logger().error(str(error))
        else:
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            self.get_logger().error(f"{what} failed:\n{text}")
        self._diagnosis = (DiagnosticStatus.ERROR, f"{what} failed: {error}", {})

    def _settle(self, state: str) -> None:
        """What an earlier state had to report is over."""
        self._diagnosis, self._reported = (DiagnosticStatus.OK, state, {}), ""

    def _refusal(self) -> str:
        """Why no service can be had now; empty if they can."""
        return "" if self._taking else f"{self.get_name()} is inactive: activate it first"

    def _publish_diagnostics(self) -> None:
        with self.boundary("diagnostics"):
            self._diagnose()

    def _diagnose(self) -> None:
        level, text, values = self._diagnosis
        if faults := self._faults.current():
            level = max(level, DiagnosticStatus.WARN)
            text = "; ".join([text] * (text != "ok") + faults)
        status = DiagnosticStatus(level=level, name=self.get_fully_qualified_name(), message=text)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
