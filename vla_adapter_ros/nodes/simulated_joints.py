"""The joint states of the simulated arms and grippers, as real drivers would publish them."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import Unit
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.simulation.robot import SimulatedRobot

DEPTH = QoSProfile(depth=10)


class JointStates:
    """Publishes all joints, in the contract's units, on each topic of joint states that its state reads.

    Args:
        node: Publishes.
        contract: Topics and units.

    Raises:
        SimulationError: a joint is in percent: of which range, nobody says.
    """

    def __init__(self, node: ManagedNode[Any], contract: Contract) -> None:
        for i, dimension in enumerate(contract.state):
            if dimension.unit is Unit.PERCENT:
                raise SimulationError(
                    f"contract.state[{i}].unit = percent: allowed for a simulated robot are rad, degree and m"
                )
        read = {d.topic for d in contract.state}
        topics = [topic for topic in contract.joint_state_topics if topic in read]
        self._publishers = [node.publish_on(JointState, topic, DEPTH) for topic in topics]
        factors = contract.joint_factors
        self._factors = {contract.joint_in_messages(joint): factor for joint, factor in factors.items()}

    def publish(self, robot: SimulatedRobot, stamp: Time) -> None:
        """Publish where the joints are and how fast they move."""
        # Like real drivers: grippers first, so the order is not the kinematic one.
        arm = len(robot.model.joints)
        order = [*range(arm, len(robot.joint_names)), *range(arm)]
        names = [robot.joint_names[i] for i in order]
        factors = np.array([self._factors.get(name, 1.0) for name in names])
        message = JointState(
            name=names,
            position=(robot.joint_positions()[order] / factors).tolist(),
            velocity=(robot.joint_velocities()[order] / factors).tolist(),
        )
        message.header.stamp = stamp
        for publisher in self._publishers:
            publisher.publish(message)
