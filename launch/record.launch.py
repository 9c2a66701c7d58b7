"""Teleoperation and recording: (simulated) robot, controller and recorder, no policy."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.launching import launch_nodes

ARGUMENTS = {
    "dataset": ("demonstrations", "Directory of the LeRobot data set; continued if it exists."),
    "contract": ("franka_sim", "Robot contract: shipped name or path of a YAML file."),
    "simulate": ("true", "Start the simulator instead of using a real robot."),
    "controller": ("true", "Start our controller; false for arms that are led by drivers of their own."),
    "instruction": ("", "Task of an episode that is started by a button."),
    "joy_buttons": ("", "Buttons of the topic joy, such as 'toggle=0 discard=1 rerecord=3 save=2'."),
    "on_fail": ("ask", "What happens to an episode whose verdict is fail."),
    "verdict": ("", "YAML file with thresholds of the verdict."),
}
BOOLEAN = ["true", "false", "True", "False"]
CHOICES = {"simulate": BOOLEAN, "controller": BOOLEAN, "on_fail": ["ask", "discard", "save"]}


def start_nodes(context, given):
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    nodes = node_list(
        contract=values["contract"],
        simulate=values["simulate"].lower() == "true",
        controller=values["controller"].lower() == "true",
        policy=False,
        record=values["dataset"],
    )
    for node in nodes:
        if node.kind == "recorder":
            node.parameters.update(
                {n: values[n] for n in ("instruction", "joy_buttons", "on_fail", "verdict")}
            )
    return launch_nodes(nodes, ARGUMENTS.keys() - given)


def generate_launch_description():
    given = set()
    return LaunchDescription(
        [OpaqueFunction(function=lambda context: given.update(context.launch_configurations))]
        + [
            DeclareLaunchArgument(name, default_value=value, description=text, choices=CHOICES.get(name))
            for name, (value, text) in ARGUMENTS.items()
        ]
        + [OpaqueFunction(function=start_nodes, args=[given])]
    )
