"""Teleoperation and recording: (simulated) robot, controller and recorder, no policy."""

from vla_adapter_ros.nodes.graph import recording_nodes
from vla_adapter_ros.nodes.launch_arguments import RECORD
from vla_adapter_ros.nodes.launching import describe


def generate_launch_description():
    """Everything that a recording needs, by the arguments of `RECORD`."""
    return describe(RECORD, lambda values: recording_nodes(**values))
