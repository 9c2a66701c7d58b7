"""What of ROS 2 this Python can use; nothing that is missing or broken ends it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

from vla_adapter_ros.commissioning.machine import RosInstallation
from vla_adapter_ros.commissioning.machine_facts import broken


def find_ros(environment: Mapping[str, str]) -> RosInstallation:
    """Try rclpy, its middleware, and this package's messages."""
    distribution = environment.get("ROS_DISTRO", "")
    try:
        version = importlib.metadata.version("rclpy")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    try:
        from rclpy.serialization import serialize_message
        from rclpy.utilities import get_rmw_implementation_identifier

        middleware = get_rmw_implementation_identifier()
    except Exception as error:  # an installation can be broken in any way
        return RosInstallation(distribution, version, problem=broken(error))
    try:
        from vla_adapter_ros.msg import ControllerStatus

        serialize_message(ControllerStatus(speed=1.0))
    except Exception as error:
        return RosInstallation(distribution, version, middleware, messages_problem=broken(error))
    return RosInstallation(distribution, version, middleware)
