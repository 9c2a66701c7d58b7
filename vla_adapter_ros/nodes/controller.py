"""Controller node: action chunks and teleoperation in, limited trajectories out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.control import MotionCore, Tick
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.msg import ActionChunk, ControllerStatus
from vla_adapter_ros.nodes.base import CHUNK_TOPIC, STATUS_TOPIC, ManagedNode, run
from vla_adapter_ros.nodes.conversions import (
    chunk_of,
    command_message,
    command_of,
    joint_positions,
    seconds,
    to_stamp,
    trajectory_message,
)
from vla_adapter_ros.nodes.parameters import ControllerParameters
from vla_adapter_ros.nodes.ticker import Ticker


class ControllerNode(ManagedNode):
    """Runs `MotionCore` in a fixed-rate thread; keeps holding when everything else is gone."""

    def __init__(self) -> None:
        super().__init__("controller_node", ControllerParameters)
        self._ticker: Ticker | None = None

    def configure(self) -> None:
        contract, parameters = self.contract, self.parameters
        self._lock = threading.Lock()
        self._core = MotionCore(contract, 1.0 / parameters.rate_hz, parameters.armed)
        self._ticks = self._sent = self._newest_chunk = 0
        self._last_gripper: float | None = None
        self._last_state = ""
        self._trajectories = self.create_publisher(
            JointTrajectory, contract.command.topic, QoSProfile(depth=10)
        )
        self._grippers = self.create_publisher(
            Float64MultiArray, contract.command.gripper_topic, QoSProfile(depth=10)
        )
        self._commands = self.create_publisher(JointState, contract.action.topic, QoSProfile(depth=10))
        self._status = self.create_publisher(ControllerStatus, STATUS_TOPIC, QoSProfile(depth=10))
        self.create_subscription(
            JointState, contract.joint_state_topic, self._on_joints, QoSProfile(depth=10)
        )
        self.create_subscription(JointState, contract.teleop.topic, self._on_teleop, QoSProfile(depth=10))
        self.create_subscription(ActionChunk, CHUNK_TOPIC, self._on_chunk, QoSProfile(depth=1))
        for name in ("arm", "hold", "stop", "reset"):
            self.create_service(Trigger, f"~/{name}", self._service(name))

    def activate(self) -> None:
        simulated = self.get_parameter("use_sim_time").value
        self._ticker = Ticker(self.get_clock(), self._core.period_s, self._tick, simulated)
        self._ticker.start()
        self.acknowledge("controller", 0.0)

    def deactivate(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    def _on_joints(self, message: JointState) -> None:
        self._guard(lambda: self._core.measure(joint_positions(message), seconds(message.header.stamp)))

    def _on_teleop(self, message: JointState) -> None:
        command = lambda: command_of(message, self.contract.action_names)  # noqa: E731
        if self.contract.teleop.route == "through_controller":
            self._guard(lambda: self._core.accept_teleop(command(), seconds(message.header.stamp)))

    def _on_chunk(self, message: ActionChunk) -> None:
        self._guard(lambda: self._core.accept_chunk(chunk_of(message), self.now()))
        # The sequence and not a count: of two chunks in quick succession the first may be replaced.
        self._newest_chunk = message.sequence
        self.acknowledge("controller", 0.0, self._newest_chunk, self._sent)

    def _guard(self, action: Callable[[], None]) -> None:
        """Run `action` on the core; what it refuses is reported and has no effect."""
        try:
            with self._lock:
                action()
        except VlaAdapterError as error:
            self.diagnose(f"refused: {error}")

    def _tick(self, now: float) -> None:
        with self._lock:
            tick = self._core.tick(now)
            due = self._ticks % self.parameters.publish_every == 0
            trajectory = self._core.trajectory(now) if due else None
            gripper = self._core.gripper_position
        self._ticks += 1
        if tick.reference is not None:
            self._commands.publish(command_message(tick.reference, self.contract.action_names, now))
        if trajectory is not None:
            self._trajectories.publish(trajectory_message(trajectory, now))
            self._sent += 1
        if gripper is not None and (gripper != self._last_gripper or trajectory is not None):
            self._last_gripper = gripper
            self._grippers.publish(Float64MultiArray(data=[gripper]))
            self._sent += 1
        if tick.state != self._last_state or self._ticks % self.parameters.status_every == 0:
            self._publish_status(tick)
        self.acknowledge("controller", now, self._newest_chunk, self._sent)

    def _publish_status(self, tick: Tick) -> None:
        if tick.state != self._last_state:
            text = f": {tick.reason}" if tick.reason else ""
            self.get_logger().info(f"{self._last_state or 'start'} -> {tick.state}{text}")
            self._last_state = tick.state
        counters = self._core.counters
        p50, p99 = counters.latency_percentiles()
        _, instruction, sequence = self._core.newest_chunk
        message = ControllerStatus(
            state=tick.state,
            reason=tick.reason,
            control_source=tick.source,
            instruction_id=max(instruction, 0),
            sequence=max(sequence, 0),
            starved_ticks=counters.starved_ticks,
            missed_ticks=counters.missed_ticks,
            rejected_chunks=counters.rejected_chunks,
            seam_step=counters.seam_step,
            latency_p50=p50,
            latency_p99=p99,
            position_limited=counters.position_limited,
            velocity_limited=counters.velocity_limited,
            acceleration_limited=counters.acceleration_limited,
        )
        message.header.stamp = to_stamp(tick.time)
        self._status.publish(message)
        self.diagnose(tick.reason, state=tick.state, source=tick.source, missed_ticks=counters.missed_ticks)

    def _service(self, name: str) -> Callable[[Any, Any], Any]:
        def call(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            with self._lock:
                getattr(self._core, name)()
                state = self._core.state
            response.success, response.message = True, f"state is {state}"
            return response

        return call


def main() -> int:
    """Entry point of `controller_node`."""
    return run(ControllerNode)


if __name__ == "__main__":
    raise SystemExit(main())
