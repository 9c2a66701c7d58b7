"""Teleoperation and recording: (simulated) robot, controller and recorder, no policy."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from vla_adapter_ros.nodes.graph import graph_environment, node_list

ARGUMENTS = {
    "dataset": ("demonstrations", "Directory of the LeRobot data set; continued if it exists."),
    "contract": ("franka_sim", "Robot contract: shipped name or path of a YAML file."),
    "simulate": ("true", "Start the simulator instead of using a real robot."),
}
CHOICES = {"simulate": ["true", "false", "True", "False"]}


def start_nodes(context):
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    nodes = node_list(
        contract=values["contract"],
        simulate=values["simulate"].lower() == "true",
        policy=False,
        record=values["dataset"],
    )
    return [
        Node(
            package="vla_adapter_ros",
            executable=node.name,
            name=node.name,
            output="screen",
            parameters=[str(node.defaults), node.parameters],
        )
        for node in nodes
    ]


def generate_launch_description():
    return LaunchDescription(
        [
            DeclareLaunchArgument(name, default_value=value, description=text, choices=CHOICES.get(name))
            for name, (value, text) in ARGUMENTS.items()
        ]
        + [SetEnvironmentVariable(name, value) for name, value in graph_environment().items()]
        + [OpaqueFunction(function=start_nodes)]
    )
