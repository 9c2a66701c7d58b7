"""Everything: (simulated) robot, controller, policy and, if asked for, the recorder; each can be left out."""

from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.launch_arguments import BRINGUP
from vla_adapter_ros.nodes.launching import describe


def generate_launch_description():
    """Everything that a run needs, by the arguments of `BRINGUP`."""
    return describe(BRINGUP, lambda values: node_list(**values))
