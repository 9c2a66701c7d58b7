"""What all nodes share: lifecycle, parameters, contract, diagnostics, lock-step acknowledgements."""

from __future__ import annotations

import dataclasses
import signal
import threading
import traceback
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.msg import StepAck
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.parameters import build

ACK_TOPIC = "simulator/step_ack"
# Latched: a node that starts before the simulator must still be heard.
ACK_QOS = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
CHUNK_TOPIC = "action_chunk"
STATUS_TOPIC = "controller/status"


class ManagedNode(LifecycleNode):
    """A lifecycle node that configures itself from its parameter class and the robot's contract.

    Children override `configure`, `activate`, `deactivate` and `release`; a
    `VlaAdapterError` in `configure` fails the transition with its message.
    """

    def __init__(self, name: str, parameters_kind: type) -> None:
        super().__init__(name)
        self._kind = parameters_kind
        for field in dataclasses.fields(parameters_kind):
            descriptor = ParameterDescriptor(
                description=field.metadata["text"], read_only=True, dynamic_typing=True
            )
            self.declare_parameter(field.name, field.default, descriptor)
        self._ack_publisher = None
        self._diagnosis: tuple[bytes, str, dict[str, Any]] = (DiagnosticStatus.OK, "starting", {})
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", QoSProfile(depth=10))
        self._reported = ""
        self.create_timer(1.0, self._publish_diagnostics)

    # For children

    def configure(self) -> None:
        """Create everything; `self.parameters` and `self.contract` are there."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Stop working; called on shutdown too."""

    def now(self) -> float:
        """ROS time [s]."""
        return self.get_clock().now().nanoseconds * 1e-9

    def diagnose(self, problem: str, **values: Any) -> None:
        """Say how the node is: an empty `problem` is good. A new problem is logged once."""
        level = DiagnosticStatus.WARN if problem else DiagnosticStatus.OK
        self._diagnosis = (level, problem or "ok", values)
        if problem and problem != self._reported:
            self.get_logger().warning(problem, throttle_duration_sec=1.0)
        self._reported = problem

    def acknowledge(self, node: str, stamp: float, inputs: int = 0, outputs: int = 0) -> None:
        """In lock step, tell the simulator that everything up to `stamp` has been handled."""
        if self._ack_publisher is not None:
            message = StepAck(node=node, stamp=to_stamp(stamp), inputs=inputs, outputs=outputs)
            self._ack_publisher.publish(message)

    # Lifecycle

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        try:
            names = [field.name for field in dataclasses.fields(self._kind)]
            self.parameters = build(self._kind, {n: self.get_parameter(n).value for n in names})
            self.contract = read_contract(self.parameters.contract)
            if self.parameters.lock_step:
                self._ack_publisher = self.create_publisher(StepAck, ACK_TOPIC, ACK_QOS)
            self.configure()
        except VlaAdapterError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:  # rclpy would end the transition without a word
            self.get_logger().error(f"configuration failed:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        self.activate()
        return super().on_activate(state)

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        self.deactivate()
        return super().on_deactivate(state)

    def _publish_diagnostics(self) -> None:
        level, text, values = self._diagnosis
        status = DiagnosticStatus(level=level, name=self.get_fully_qualified_name(), message=text)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def run(kind: type[ManagedNode]) -> int:
    """Run a node until SIGINT or SIGTERM.

    rclpy's own handlers would end the context at once, under threads that still
    publish. Here the callbacks run in a thread, the main thread waits for the
    signal, and the context ends last.

    Returns:
        Exit status: 1 if autostart was asked for and the configuration failed.
    """
    ended, failure = threading.Event(), []

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except Exception as error:
            failure.append(error)
        finally:
            ended.set()

    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = kind()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=spin, name="callbacks", daemon=True)
    try:
        if node.get_parameter("autostart").value:
            if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
                return 1
            node.trigger_activate()
        thread.start()
        ended.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for sign in (signal.SIGINT, signal.SIGTERM):  # a second one must not spoil the orderly end
            signal.signal(sign, signal.SIG_IGN)
        executor.shutdown()
        if thread.ident is not None:
            thread.join()
        node.deactivate()
        node.destroy_node()
        rclpy.try_shutdown()
    if failure:
        raise failure[0]
    return 0
