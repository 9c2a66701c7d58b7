"""Everything: (simulated) robot, controller, policy and, if asked for, the recorder."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from vla_adapter_ros.nodes.graph import graph_environment, launch_options, node_list

ARGUMENTS = {
    "contract": ("franka_sim", "Robot contract: shipped name or path of a YAML file."),
    "checkpoint": ("", "Checkpoint directory; empty: the shipped one."),
    "simulate": ("true", "Start the simulator instead of using a real robot."),
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
SWITCH = ["true", "false", "True", "False"]
CHOICES = {
    "simulate": SWITCH,
    "lock_step": SWITCH,
    "renderer": ["auto", "egl", "osmesa", "raycast"],
    "mode": ["drive", "dry_run", "shadow", "row_pass_through"],
}


def start_nodes(context, given):
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    nodes = node_list(
        **values
        | {name: values[name].lower() == "true" for name in ("simulate", "lock_step")}
        | {"seed": int(values["seed"])}
    )
    return [LifecycleNode(**launch_options(node, ARGUMENTS.keys() - given)) for node in nodes]


def generate_launch_description():
    given = set()
    return LaunchDescription(
        [OpaqueFunction(function=lambda context: given.update(context.launch_configurations))]
        + [
            DeclareLaunchArgument(name, default_value=value, description=text, choices=CHOICES.get(name))
            for name, (value, text) in ARGUMENTS.items()
        ]
        + [SetEnvironmentVariable(name, value) for name, value in graph_environment().items()]
        + [OpaqueFunction(function=start_nodes, args=[given])]
    )
