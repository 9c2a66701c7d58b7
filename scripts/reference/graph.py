"""Topics and services of the nodes as Markdown, asked of a running graph; the texts stand in `MEANING`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from rclpy.node import NodeNameNonExistentError

from vla_adapter_ros.contract import full_name, read_contract
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.nodes.ros_client import RosClient

NODES = ("policy_node", "controller_node", "teleop_node", "recorder_node", "simulator_node")
COMMON = (
    "rcl_interfaces/",
    "lifecycle_msgs/",
    "rosgraph_msgs/",
    "type_description_interfaces/",
)  # every node's own
SETTLED_S, PATIENCE_S = 3.0, 90.0
MEANING = {
    "/action_chunk": "the rows that the policy predicts; none: stop and hold",
    "/arm_controller/joint_trajectory": "what the arm is sent; with another `command.type` another message",
    "/controller/command": "the action before limiting: what is recorded",
    "/controller/committed_motion": "where the arm will be, while a policy with delays leads",
    "/controller/status": "state, reason, who leads, counters",
    "/controller_node/arm": "allow motion; moves nothing by itself",
    "/controller_node/hold": "come to rest and end the instruction",
    "/controller_node/home": "bring the arm to the home pose; answered once the motion has begun",
    "/controller_node/set_speed": "carry out the policy's motion at a fraction of its own speed",
    "/controller_node/reset": "leave the latched stop; moves nothing",
    "/controller_node/row": "only with mode `row_pass_through`: rows as they are, not limited",
    "/controller_node/shadow_command": "only with mode `shadow`: the policy's action beside the human's",
    "/controller_node/software_stop": "`true` stops, latched; no safety function",
    "/controller_node/stop": "come to rest, latched until `reset`; no safety function",
    "/controller_node/save_capsule": "write the last 20 s into a capsule; the answer names it",
    "/policy_node/save_capsule": "write the last 20 s into a capsule; the answer names it",
    "/diagnostics": "what is wrong, in sentences",
    "/end_effector_pose": "pose of the tool",
    "/gripper_camera/camera_info": "its calibration",
    "/gripper_camera/image_raw": "images of the gripper camera; `CompressedImage` where compressed",
    "/gripper_controller/commands": "what the gripper is sent; with another `type` another message",
    "/instruct": "give, change or clear the instruction; the answer says why not",
    "/instruction": "the instruction that is followed now; empty: none",
    "/joint_states": "positions, velocities and efforts of the joints, by name",
    "/joy": "axes and buttons of the gamepad, as joy_node or game_controller_node sends them",
    "/recorder_node/command": "`start TEXT`, `stop`, `toggle`, `discard`, `rerecord`, `save`, in order",
    "/recorder_node/discard_episode": "drop the running or the pending episode",
    "/recorder_node/label_episode": "say how an episode ended, with a reason",
    "/recorder_node/rerecord_episode": "drop or take back the newest episode, and begin again",
    "/recorder_node/save_pending": "save an episode that failed its quality checks",
    "/recorder_node/start_episode": "begin an episode; the answer says why not",
    "/recorder_node/status": "state, rows, rate, ages, disk, quality report; 5 Hz",
    "/recorder_node/stop_episode": "end, check and save the episode; answers when it is on disk",
    "/robot_description": "the URDF; read where `kinematics.urdf` is `robot_description`",
    "/simulator/demonstrate": "let the scripted expert teleoperate",
    "/simulator/reset": "put a new scene up",
    "/simulator/scene": "true positions of the cubes; no input of a policy",
    "/simulator/step_ack": "lock step: a node has handled everything up to a time",
    "/teleop/clutch": "jogging: `true`, again and again, as long as the arm may move",
    "/teleop/gripper": "jogging: how far the gripper shall be open, 0 to 1",
    "/teleop/joint_velocities": "jogging: velocities of joints, by name",
    "/teleop/twist": "jogging: velocity of the tool, m/s and rad/s along the axes of the parameter `frame`",
    "/teleop/command": "what a human, or the scripted expert, commands",
    "/third_view/camera_info": "its calibration",
    "/third_view/image_raw": "images of the third-view camera; `CompressedImage` where compressed",
}


def topics_and_services() -> str:
    """Start every node with the contract `franka_sim`, and list what each of them has.

    Raises:
        KeyError: a topic or a service without a text in `MEANING`.
    """
    with tempfile.TemporaryDirectory() as folder:
        nodes = node_list(record=str(Path(folder) / "set"), teleop="gamepad")
        with GraphRunner(nodes, Path(folder) / "logs") as runner, RosClient("reference") as client:
            return tables(rows(client.node, runner.check_alive))


def rows(node: Any, check_alive: Any = lambda: None) -> dict[str, list[tuple[str, ...]]]:
    """Node name -> (kind, name, type, quality of service), sorted; waits until nothing changes any more."""
    begun, found, since = time.monotonic(), {}, time.monotonic()
    while time.monotonic() - begun < PATIENCE_S:
        check_alive()
        now = {name: _of(node, name) for name in NODES if name in node.get_node_names()}
        if now != found or len(now) < len(NODES):
            found, since = now, time.monotonic()
        if time.monotonic() - since > SETTLED_S:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"nodes found after {PATIENCE_S:g} s: {sorted(found)}")


def _of(node: Any, name: str) -> list[tuple[str, ...]]:
    kinds = (
        ("publishes", node.get_publisher_names_and_types_by_node, node.get_publishers_info_by_topic),
        ("subscribes", node.get_subscriber_names_and_types_by_node, node.get_subscriptions_info_by_topic),
        ("serves", node.get_service_names_and_types_by_node, None),
    )
    found = []
    for kind, ask, info in kinds:
        try:
            offered = ask(name, "/")
        except NodeNameNonExistentError:
            continue  # not known well enough yet
        for topic, types in offered:
            if not types[0].startswith(COMMON) and "/_action/" not in topic:
                quality = "" if info is None else _quality(info(topic), name)
                found.append((kind, topic, types[0], quality))
    return sorted(found)


def _quality(ends: list[Any], name: str) -> str:
    for end in ends:
        if end.node_name == name:
            profile = end.qos_profile
            words = [profile.reliability.name.lower().replace("_", " ")]
            return ", ".join(words + ["latched"] * (profile.durability.name == "TRANSIENT_LOCAL"))
    return ""


def _key(topic: str) -> str:
    """The key of the contract that names a topic, in brackets; empty if none does."""
    contract = read_contract("franka_sim")
    keys = {camera.topic: f"cameras.{name}.topic" for name, camera in contract.cameras.items()}
    keys |= dict.fromkeys(contract.topics, "topics")
    keys |= {contract.action.topic: "action.topic", contract.teleop.topic: "teleop.topic"}
    keys |= {contract.command.topic: "command.topic", contract.grippers[0].topic: "grippers[0].topic"}
    found = {full_name(name): key for name, key in keys.items()}
    return f" (`{found[topic]}`)" if topic in found else ""


def tables(found: dict[str, list[tuple[str, ...]]]) -> str:
    """One table per node."""
    lines = []
    for name, entries in found.items():
        lines += [f"### {name}\n", "| | name | type | quality | meaning |", "|---|---|---|---|---|"]
        for kind, topic, type_name, quality in entries:
            lines.append(
                f"| {kind} | `{topic}` | `{type_name}` | {quality} | {MEANING[topic]}{_key(topic)} |"
            )
        lines.append("")
    return "\n".join(lines)
