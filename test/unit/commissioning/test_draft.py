"""Contracts drafted from a graph: of the simulated arm the shipped one, of others what can be known."""

from __future__ import annotations

import dataclasses

import pytest
import yaml
from surveys import ARRAY, CONTRACT, HOME, NAMES, TRAJECTORY, listener, simulated, stream

from vla_adapter_ros.cli.contract import ask_person
from vla_adapter_ros.commissioning.contract_checks import check_contract, marked_lines
from vla_adapter_ros.commissioning.draft import draft_contract
from vla_adapter_ros.commissioning.graph_checks import check_graph
from vla_adapter_ros.commissioning.results import worst
from vla_adapter_ros.commissioning.robot_parts import Wishes, take_default
from vla_adapter_ros.commissioning.survey import (
    COMPRESSED_IMAGE,
    IMAGE,
    JOINT_STATE,
    Controller,
    Endpoint,
    GraphSurvey,
    TopicSurvey,
)
from vla_adapter_ros.commissioning.urdf import parse_urdf
from vla_adapter_ros.contract import Contract, contract_differences, full_name, parse_contract
from vla_adapter_ros.control.urdf import read_urdf
from vla_adapter_ros.dataset.quality.findings import Level
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.observation.bag import TOPIC_TYPES

URDF = parse_urdf(read_urdf("package:franky_sim/assets/fr3.urdf"))


def draft(graph: GraphSurvey, urdf=URDF, ask=take_default, **wishes) -> tuple[Contract, str]:
    text = draft_contract(graph, urdf, "robot_description", Wishes("arm", **wishes), ask)
    return parse_contract(yaml.safe_load(text)), text


def test_the_graph_of_the_simulated_arm_gives_the_shipped_contract():
    """So that data and checkpoints of the shipped one fit: nothing in it has another meaning."""
    graph = simulated()
    contract, text = draft(graph)
    assert contract_differences(CONTRACT, contract) == []
    assert contract.grippers[0].open_position == 0.04 and contract.kinematics.tool_link == "fr3_hand_tcp"
    assert (contract.command.topic, contract.teleop.topic) == (CONTRACT.command.topic, CONTRACT.teleop.topic)
    assert worst(check_contract(contract, URDF)) is Level.PASS
    assert worst(check_graph(contract, graph)) is Level.WARN  # there is no controller manager to ask
    marked = [text.splitlines()[n - 1] for n in marked_lines(text)]
    assert any("command_delay_s" in line and "vla-adapter measure delay" in line for line in marked)
    assert all(": " in line.partition("CHECK")[2] for line in marked), "each says where to look"


def ur5e() -> GraphSurvey:
    """Scrambled joints at 500 Hz, one raw and one JPEG camera, three controllers of which one is active."""
    names = ("elbow_joint", "shoulder_lift_joint", "shoulder_pan_joint", "wrist_1_joint", "wrist_2_joint",
             "wrist_3_joint", "robotiq_85_left_knuckle_joint")  # fmt: skip
    kind = "joint_trajectory_controller/JointTrajectoryController"
    topics = {
        "/scene/color/image_raw": stream(IMAGE, "/scene", 30.0, size=(640, 480), encoding="bgr8"),
        "/wrist/color/image_raw/compressed": stream(
            COMPRESSED_IMAGE, "/wrist", 30.0, size=(641, 480), encoding="rgb8; jpeg compressed bgr8"
        ),
        "/wrist/depth/image_rect": stream(IMAGE, "/wrist", 30.0, size=(640, 480), encoding="16UC1"),
        "/joint_states": stream(
            JOINT_STATE, "/joint_state_broadcaster", 500.0, names=(names,), counts={"position": 7},
            values=dict.fromkeys(names, 0.1),
        ),
        "/scaled_joint_trajectory_controller/joint_trajectory": listener(TRAJECTORY, "/scaled"),
        "/joint_trajectory_controller/joint_trajectory": listener(TRAJECTORY, "/joint"),
        "/forward_position_controller/commands": listener(ARRAY, "/forward"),
    }  # fmt: skip
    forward = "position_controllers/JointGroupPositionController"
    controllers = (
        Controller("scaled_joint_trajectory_controller", kind, "active", names[:6]),
        Controller("joint_trajectory_controller", kind, "inactive"),
        Controller("forward_position_controller", forward, "inactive"),
    )
    actions = {"/robotiq_gripper_controller/gripper_cmd": "control_msgs/action/GripperCommand"}
    return GraphSurvey(
        3.0, topics, actions=actions, controllers=controllers, manager="", packages={"control_msgs": True}
    )


def test_another_arm_without_a_urdf():
    contract, text = draft(ur5e(), None)
    assert contract.rate_hz == 30 and list(contract.cameras) == ["scene", "wrist"]
    assert contract.reference_camera == "scene" and list(contract.depth_cameras) == ["wrist_depth"]
    wrist = contract.cameras["wrist"]
    assert (wrist.transport, wrist.width, wrist.fit) == ("compressed", 640, "crop")
    assert contract.command.topic == "scaled_joint_trajectory_controller/joint_trajectory"
    assert set(contract.arm_joints) == set(ur5e().controllers[0].joints)
    (gripper,) = contract.grippers
    assert (gripper.joint, gripper.type) == ("robotiq_85_left_knuckle_joint", "gripper_command")
    assert contract.kinematics is None and contract.limits["elbow_joint"].velocity == 1.0
    for words in ("topic: teleop/command", "position: [-3.1, 3.1]", "open_position: 0.1"):
        assert any(words in text.splitlines()[n - 1] for n in marked_lines(text)), words
    assert worst(check_graph(contract, ur5e())) is Level.WARN  # nobody leads yet


@pytest.mark.parametrize("topic", ["/gello/joint_states", "/puppeteer/joint_states"])
def test_a_device_that_is_silent_until_somebody_leads_is_found(topic):
    graph = ur5e()
    silent = stream(JOINT_STATE, "/device", 0.0)
    contract, text = draft(dataclasses.replace(graph, topics={**graph.topics, topic: silent}), None)
    assert full_name(contract.teleop.topic) == topic and contract.teleop.takeover == "command"
    streams = dataclasses.replace(silent, heard=150, rate_hz=50.0)  # while nobody demonstrates
    leader = "/leader/joint_states"
    always, _ = draft(dataclasses.replace(graph, topics={**graph.topics, leader: streams}), None)
    assert full_name(always.teleop.topic) == leader and always.teleop.takeover == "motion"
    for key in ("open: 1.0", "closed: 0.0", "mode: binary"):  # which only the device tells
        assert f"    {key}        # CHECK: " in text


def two_arms() -> GraphSurvey:
    names = ("waist", "elbow", "gripper")
    topics = {"/cam_high/image_raw": stream(IMAGE, "/cam", 25.0, size=(640, 480), encoding="rgb8")}
    for arm in ("left", "right"):
        for who in ("follower", "leader"):
            topics[f"/{who}_{arm}/joint_states"] = stream(
                JOINT_STATE, f"/{who}_{arm}", 50.0, names=(names,), values=dict.fromkeys(names, 0.0),
                counts={"position": 3},
            )  # fmt: skip
        topics[f"/follower_{arm}/arm_controller/joint_trajectory"] = listener(TRAJECTORY, f"/driver_{arm}")
        topics[f"/follower_{arm}/gripper/commands"] = listener(ARRAY, f"/driver_{arm}")
    return GraphSurvey(3.0, topics)


def test_two_arms_with_a_leader_each():
    contract, _ = draft(two_arms(), None, robot_type="aloha")
    assert contract.action_names == (
        "left_waist", "left_elbow", "left_gripper", "right_waist", "right_elbow", "right_gripper",
    )  # fmt: skip
    assert contract.state_names == contract.action_names and contract.rate_hz == 25
    assert [(g.topic, g.joints) for g in contract.command_groups] == [
        ("follower_left/arm_controller/joint_trajectory", ("left_waist", "left_elbow")),
        ("follower_right/arm_controller/joint_trajectory", ("right_waist", "right_elbow")),
    ]
    assert [(g.topic, g.names_in_messages) for g in contract.teleop_groups] == [
        ("leader_left/joint_states", ("waist", "elbow", "gripper")),
        ("leader_right/joint_states", ("waist", "elbow", "gripper")),
    ]
    assert [g.topic for g in contract.grippers] == [
        f"follower_{a}/gripper/commands" for a in ("left", "right")
    ]
    assert worst(check_graph(contract, two_arms())) is Level.WARN


def test_several_controllers_of_one_arm_have_the_joints_that_they_claim():
    graph = ur5e()
    names = graph.controllers[0].joints
    kind = graph.controllers[0].type
    graph = dataclasses.replace(
        graph.with_topic(
            "/base_controller/joint_trajectory", **vars(listener(TRAJECTORY, "/base"))
        ).with_topic("/wrist_controller/joint_trajectory", **vars(listener(TRAJECTORY, "/wrist"))),
        controllers=(
            Controller("base_controller", kind, "active", names[:3]),
            Controller("wrist_controller", kind, "active", names[:2:-1]),
        ),
    )
    topics = tuple(f"/{name}_controller/joint_trajectory" for name in ("base", "wrist"))
    contract, _ = draft(graph, None, commands=topics)
    assert [g.joints for g in contract.command_groups] == [names[:3], names[:2:-1]]
    unknown = dataclasses.replace(graph, controllers=None)
    with pytest.raises(ContractError, match="nothing says which joints its controller drives"):
        draft(unknown, None, commands=topics)


def test_topics_are_relative_to_the_namespace_of_the_robot_and_absolute_elsewhere():
    there = simulated()
    topics = {f"/left{name}": topic for name, topic in there.topics.items() if "third_view" not in name}
    shared = {name: topic for name, topic in there.topics.items() if "third_view" in name}
    graph = dataclasses.replace(there, topics=topics | shared, namespace="/left")
    contract, _ = draft(graph)
    cameras = {camera.topic for camera in contract.cameras.values()}
    assert cameras == {"/third_view/image_raw", "gripper_camera/image_raw"}
    assert "joint_states" in contract.topics
    assert contract.command.topic == "arm_controller/joint_trajectory"
    camera = dataclasses.replace(CONTRACT.cameras["third_view"], topic="/third_view/image_raw")
    shipped = dataclasses.replace(CONTRACT, cameras=CONTRACT.cameras | {"third_view": camera})
    assert worst(check_graph(shipped, graph)) is Level.WARN  # no controller manager


def test_what_is_left_out_is_said():
    graph = simulated().with_topic("/dead/image_raw", **vars(stream(IMAGE, heard=0, rate_hz=0.0)))
    graph = graph.with_topic("/ft/wrench", **vars(stream(TOPIC_TYPES["wrench"])))
    _, text = draft(graph)
    assert "# left out: /dead/image_raw, published, but nothing arrived" in text
    assert "# also there: ft/wrench: {type: wrench}" in text


def test_a_person_answers_with_a_number_or_with_enter(monkeypatch, capsys):
    answers = iter(["9", "x", "2", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    assert ask_person("Which?", ["/a", "/b"], "/a") == "/b"
    assert ask_person("Which?", ["/a", "/b"], "/a") == "/a"
    assert ask_person("Which?", ["/a"], "/a") == "/a"  # nothing to ask
    said = capsys.readouterr().out
    assert "  2  /b" in said and said.count("allowed is a number from 1 to 2") == 2


def test_questions_are_asked_and_answered():
    asked = []

    def ask(question, answers, default):
        asked.append((question, list(answers), default))
        return answers[-1]

    contract, _ = draft(simulated(), ask=ask)
    scene, hand = (full_name(CONTRACT.cameras[name].topic) for name in ("third_view", "gripper"))
    assert asked[0][1:] == ([scene, hand], scene) and contract.reference_camera == "gripper"
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("graph", "wishes", "words"),
    [
        (GraphSurvey(3.0), {}, "no camera sends images: no topic has images"),
        (simulated().with_topic("/joint_states", names=()), {}, "no joint states arrive: /joint_states"),
        (simulated(), {"cameras": ("/cam",)}, "camera /cam: the graph has /third_view/image_raw"),
        (simulated(), {"joints": ("j1",)}, "joint j1: the graph has fr3_finger_joint1"),
        (
            simulated(),
            {"commands": ("/arm",)},
            "command /arm: the graph has /arm_controller",
        ),
        (simulated().with_topic("/joint_states", names=(NAMES[:2],)), {}, "no joint of an arm among"),
    ],
)
def test_what_cannot_become_a_contract_is_said_in_a_sentence(graph, wishes, words):
    with pytest.raises(ContractError) as error:
        draft(graph, **wishes)
    assert words in str(error.value)


def test_only_what_others_send_is_the_robot():
    """The controller's own joint states are no robot's, and a camera's compressed twin is no second one."""
    graph = simulated().with_topic(
        "/third_view/image_raw/compressed",
        **vars(stream(COMPRESSED_IMAGE, rate_hz=10.0, size=(112, 112), encoding="jpeg")),
    )
    graph = graph.with_topic(
        "/controller_node/row", **vars(stream(JOINT_STATE, "/controller_node", names=(NAMES,)))
    )
    contract, _ = draft(graph)
    assert contract_differences(CONTRACT, contract) == [] and len(HOME) == len(NAMES)


def test_images_that_were_lost_on_the_way_do_not_lower_the_rate():
    graph = simulated()
    for camera in CONTRACT.cameras.values():
        graph = graph.with_topic(full_name(camera.topic), rate_hz=9.2, stamped_hz=10.0)
    assert draft(graph)[0].rate_hz == 10


def test_a_driver_that_does_not_stamp_is_timed_by_receipt():
    contract, _ = draft(simulated().with_topic("/joint_states", stamped=False, delay_s=None, late_s=None))
    assert contract.topics["joint_states"].time == "receive"
    slow = dataclasses.replace(simulated().topic("/joint_states"), rate_hz=12.0, late_s=0.2)
    contract, _ = draft(simulated().with_topic("/joint_states", **vars(slow)))
    assert contract.topics["joint_states"].max_age_s == pytest.approx(0.167) and contract.settle_s == 0.26
    assert isinstance(slow, TopicSurvey) and isinstance(slow.publishers[0], Endpoint)
