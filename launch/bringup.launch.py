"""Everything: (simulated) robot, controller, policy and, if asked for, the recorder; each can be left out."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.launching import launch_nodes

ARGUMENTS = {
    "contract": ("franka_sim", "Robot contract: shipped name or path of a YAML file."),
    "checkpoint": ("", "Checkpoint directory; empty: the shipped one."),
    "simulate": ("true", "Start the simulator instead of using a real robot."),
    "controller": ("true", "Start the controller; false where it runs on another computer."),
    "policy": ("true", "Start the policy; false where it runs on another computer, or not at all."),
    "record": ("", "Data set directory for the recorder; empty: no recorder."),
    "lock_step": ("false", "Simulated time waits for the nodes instead of running in real time."),
    "renderer": ("auto", "Renderer of the simulator: auto, egl, osmesa or raycast."),
    "seed": ("0", "First scene of the simulator."),
    "device": ("auto", "torch device of the policy."),
    "mode": (
        "drive",
        "Controller: drive, or everything but commands (dry_run), or scored beside a human (shadow).",
    ),
}
SWITCHES = ("simulate", "controller", "policy", "lock_step")
CHOICES = {name: ["true", "false", "True", "False"] for name in SWITCHES} | {
    "renderer": ["auto", "egl", "osmesa", "raycast"],
    "mode": ["drive", "dry_run", "shadow", "row_pass_through"],
}


def start_nodes(context, given):
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    nodes = node_list(
        **values | {name: values[name].lower() == "true" for name in SWITCHES} | {"seed": int(values["seed"])}
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
