"""Teleoperation node: a gamepad, a 6D mouse or jogging in, a human's commands of the contract out."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, Float64, String

from vla_adapter_ros.choices import JogSpace
from vla_adapter_ros.contract.enums import TakeoverKind, TimeSource
from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION, read_urdf
from vla_adapter_ros.msg import ControllerStatus
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.configured import Configured
from vla_adapter_ros.nodes.conversions import JointReader, action_of, seconds, teleop_messages
from vla_adapter_ros.nodes.operator_parameters import TeleopParameters
from vla_adapter_ros.nodes.process import run
from vla_adapter_ros.nodes.readiness import controller_problem
from vla_adapter_ros.nodes.streams import best_effort
from vla_adapter_ros.nodes.topics import DEPTH, LATCHED, STATUS_TOPIC
from vla_adapter_ros.teleop.arm_part import arm_part, part_kinematics, require_drivable
from vla_adapter_ros.teleop.device_input import DeviceInput, require_fresh
from vla_adapter_ros.teleop.device_settings import read_device
from vla_adapter_ros.teleop.hands import Hands
from vla_adapter_ros.teleop.jog_input import JogInput
from vla_adapter_ros.teleop.partners import Partners, frame_id
from vla_adapter_ros.teleop.teleoperator import LET_GO, MotionSettings, Teleoperator

HEARS_NEWEST = best_effort(1)  # spacenav_node sends up to 1000 messages per second
HEARS_ALL = best_effort(10)


class TeleopNode(ManagedNode[TeleopParameters]):
    """Lets a human drive the arm without a leader arm; what it does is a `ConfiguredTeleop`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("teleop_node", TeleopParameters, **options)

    def configure(self) -> ConfiguredTeleop:
        """Read the device's settings, and make everything that the node hears and sends."""
        return ConfiguredTeleop(self)


class ConfiguredTeleop(Configured[TeleopParameters]):
    """Callbacks note what comes; a `Teleoperator` says, many times per second, what to send."""

    def __init__(self, node: TeleopNode) -> None:
        super().__init__(node)
        contract, parameters = self.contract, self.parameters
        require_drivable(contract)
        self._part = arm_part(contract, parameters.group)
        settings = MotionSettings(
            parameters.space, parameters.frame, parameters.linear_speed, parameters.angular_speed,
            parameters.joint_speed, parameters.slow_factor, parameters.ramp_s,
        )  # fmt: skip
        self._teleoperator = Teleoperator(contract, self._part, settings)
        self._device_settings = read_device(parameters.device)
        self._device = DeviceInput(self._device_settings, parameters.silence_s)
        self._jog = JogInput(parameters.linear_speed, parameters.angular_speed, parameters.silence_s)
        self._hands = Hands()
        self._status: ControllerStatus | None = None
        self._status_at = -math.inf
        self._ticked = -math.inf
        self._publish_parts()
        self._listen_to_robot()
        self._listen_to_human()
        self._watch_urdf()
        if not parameters.lock_step:
            node.every(1.0 / parameters.rate_hz, self._tick)
        node.get_logger().info(self._device_settings.description)

    def deactivate(self) -> None:
        """Forget that the clutch is held: whoever holds it must take it anew."""
        self._teleoperator.advance(None, self.node.now())

    # What is published, and what is heard

    def _publish_parts(self) -> None:
        node, contract = self.node, self.contract
        self._parts = {g.topic: node.publish_on(JointState, g.topic, DEPTH) for g in contract.teleop_groups}
        ours = set(self._part.dimensions)
        self._ours = {g.topic for g in contract.teleop_groups if not ours.isdisjoint(g.dimensions)}
        others = self._parts.keys() - self._ours
        self._partners = Partners(node.get_fully_qualified_name(), others, self.parameters.silence_s)
        for topic in others:
            node.listen(JointState, topic, partial(self._on_partner, topic), HEARS_ALL)
        topic = contract.teleop.takeover_topic
        by_topic = contract.teleop.takeover is TakeoverKind.TOPIC
        self._takeover = node.publish_on(Bool, topic, DEPTH) if by_topic else None

    def _listen_to_robot(self) -> None:
        node, contract = self.node, self.contract
        for topic in contract.joint_state_topics:
            hear = partial(self._on_joints, topic, JointReader(contract, topic))
            node.listen(JointState, topic, hear, DEPTH if self.parameters.lock_step else HEARS_ALL)
        node.listen(JointState, contract.action.topic, self._on_command, HEARS_NEWEST)
        node.listen(ControllerStatus, STATUS_TOPIC, self._on_status, DEPTH)

    def _listen_to_human(self) -> None:
        node, device = self.node, self._device_settings
        if device.joy_topic:
            node.listen(Joy, device.joy_topic, self._on_joy, HEARS_ALL)  # a press must not be lost
        if device.twist is not None:
            kind, hear = (TwistStamped, self._on_stamped) if device.twist.stamped else (Twist, self._on_twist)
            node.listen(kind, device.twist.topic, hear, HEARS_NEWEST)
        node.listen(TwistStamped, "teleop/twist", self._on_jog_twist, HEARS_NEWEST)
        node.listen(JointState, "teleop/joint_velocities", self._on_jog_joints, HEARS_NEWEST)
        node.listen(Float64, "teleop/gripper", lambda m: self._jog.accept_gripper(m.data), DEPTH)
        node.listen(Bool, "teleop/clutch", self._on_jog_clutch, DEPTH)

    def _watch_urdf(self) -> None:
        entry = self.contract.kinematics
        if self.parameters.space is JogSpace.JOINTS and not self.contract.action.space.is_cartesian:
            return
        source = self.parameters.urdf or (entry.urdf if entry else ROBOT_DESCRIPTION)
        if source == ROBOT_DESCRIPTION:
            self.node.listen(
                String, ROBOT_DESCRIPTION, lambda m: self._set_urdf(m.data), LATCHED, always=True
            )
        else:
            self._set_urdf(read_urdf(source))

    def _set_urdf(self, text: str) -> None:
        parameters = self.parameters
        self._teleoperator.set_kinematics(
            part_kinematics(self.contract, self._part, text, parameters.base_link, parameters.tool_link)
        )

    # Callbacks

    def _on_joints(self, topic: str, reader: JointReader, message: JointState) -> None:
        now = self.node.now()
        by_receipt = self.contract.topics[topic].time is TimeSource.RECEIVE
        stamp = now if by_receipt else seconds(message.header.stamp)
        self._teleoperator.measure(reader.positions(message), stamp)
        if self.parameters.lock_step:  # a timer might wait for a time that waits for this node
            if stamp - self._ticked >= 1.0 / self.parameters.rate_hz - 1e-6:
                self._tick()
            self.node.acknowledge(stamp)

    def _on_command(self, message: JointState) -> None:
        self._teleoperator.note_command(action_of(message, self.contract), self.node.now())

    def _on_status(self, message: ControllerStatus) -> None:
        self._status, self._status_at = message, self.node.now()

    def _on_partner(self, topic: str, message: JointState) -> None:
        self._partners.note(topic, message.header.frame_id, self.node.now())

    def _on_joy(self, message: Joy) -> None:
        self._require_fresh(self._device_settings.joy_topic, message)
        self._device.accept_joy(message.axes, message.buttons, self.node.now())

    def _on_twist(self, message: Twist) -> None:
        self._device.accept_twist(_twist_values(message), self.node.now())

    def _on_stamped(self, message: TwistStamped) -> None:
        self._require_fresh("twist", message)
        self._on_twist(message.twist)

    def _on_jog_twist(self, message: TwistStamped) -> None:
        self._jog.accept_twist(_twist_values(message.twist), self.node.now())

    def _on_jog_joints(self, message: JointState) -> None:
        velocities = dict(zip(message.name, message.velocity, strict=False))
        self._jog.accept_joints(velocities, self.contract.arm_joints, self.node.now())

    def _on_jog_clutch(self, message: Bool) -> None:
        self._jog.accept_clutch(message.data, self.node.now())

    def _require_fresh(self, topic: str, message: Any) -> None:
        if not self.node.simulated_time:  # a device's driver may not follow the simulated clock
            stamp = seconds(message.header.stamp)
            require_fresh(topic, stamp, self.node.now(), self.parameters.silence_s)

    # What is sent

    def _tick(self) -> None:
        now = self.node.now()
        self._ticked = now
        before = self._teleoperator.leading
        hand = self._hands.choose(self._device.state(now), self._jog.state(now), before)
        row = self._teleoperator.advance(hand, now)
        leading = self._teleoperator.leading
        if leading != before:
            what = "the tool" if self._teleoperator.moves_tool else "joints"
            self.node.get_logger().info(f"the clutch is taken: {what} can move" if leading else "let go")
        if row is not None:
            missing = set(self._partners.absent(now))
            self._send(self._ours, row, now, rests=False)
            self._send(missing, row, now, rests=True)
        elif self._partners.drive(now) and (resting := self._teleoperator.resting_row(now)) is not None:
            self._send(self._ours, resting, now, rests=True)
        if self._takeover is not None:
            self._takeover.publish(Bool(data=row is not None))
        self.node.diagnose(self._problem(now), leading=leading, device=self._device_settings.description)

    def _send(self, topics: set[str], row: Any, now: float, *, rests: bool) -> None:
        if not topics:
            return
        messages = teleop_messages(self.contract, row, now)
        for topic in topics:
            messages[topic].header.frame_id = frame_id(self.node.get_fully_qualified_name(), rests=rests)
            self._parts[topic].publish(messages[topic])

    def _problem(self, now: float) -> str:
        """What keeps the human from driving, in a sentence; empty: nothing does."""
        if self._hands.stuck or self._teleoperator.problem:
            return self._teleoperator.problem or LET_GO
        if self._teleoperator.leading:
            return controller_problem(self._status, now - self._status_at)
        if silent := self._device.silent(now):
            return f"nothing comes on {', '.join(silent)}: is the device's driver up?"
        return ""


def _twist_values(twist: Twist) -> list[float]:
    linear, angular = twist.linear, twist.angular
    return [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]


def main() -> int:
    """Entry point of `teleop_node`."""
    return run(TeleopNode)


if __name__ == "__main__":
    raise SystemExit(main())
