"""Contracts drafted from a graph: of the simulated arm the shipped one, of others what can be known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import yaml
from surveys import ARRAY, CONTRACT, HOME, NAMES, TRAJECTORY, listener, simulated, stream

from vla_adapter_ros.cli.contract import ask_person
from vla_adapter_ros.commissioning.contract_checks import check_contract, marked_lines
from vla_adapter_ros.commissioning.draft import draft_contract
from vla_adapter_ros.commissioning.graph_checks import check_graph
from vla_adapter_ros.commissioning.results import worst
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
from vla_adapter_ros.commissioning.wishes import Wishes, take_default
from vla_adapter_ros.contract import (
    Contract,
    contract_differences,
    full_name,
    parse_contract,
    read_contract,
)
from vla_adapter_ros.control.urdf import read_urdf
from vla_adapter_ros.dataset.quality.findings import Level
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.observation.bag import TOPIC_TYPES
from vla_adapter_ros.simulation.meshes import robot_description

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


@pytest.mark.parametrize(("measured", "rate"), [(29.2, 29), (9.6, 10), (5.6, 5), (12.5, 12), (0.4, 0.4)])
def test_a_drafted_rate_is_a_whole_number_as_data_sets_need_it(measured, rate):
    graph = simulated()
    for camera in CONTRACT.cameras.values():
        graph = graph.with_topic(full_name(camera.topic), rate_hz=measured, stamped_hz=measured)
    contract, _ = draft(graph)
    assert contract.rate_hz == rate
    said = [r.advice for r in check_contract(contract, URDF) if r.subject == "rate_hz"]
    assert said == ([] if rate >= 1 else ["To record, write 1"])


def test_a_driver_that_does_not_stamp_is_timed_by_receipt():
    contract, _ = draft(simulated().with_topic("/joint_states", stamped=False, delay_s=None, late_s=None))
    assert contract.topics["joint_states"].time == "receive"
    slow = dataclasses.replace(simulated().topic("/joint_states"), rate_hz=12.0, late_s=0.2)
    contract, _ = draft(simulated().with_topic("/joint_states", **vars(slow)))
    assert contract.topics["joint_states"].max_age_s == pytest.approx(0.167) and contract.settle_s == 0.26
    assert isinstance(slow, TopicSurvey) and isinstance(slow.publishers[0], Endpoint)


@pytest.mark.parametrize("late_s", [0.9, 40.0, 1.8e9])
def test_clocks_that_disagree_are_named_and_no_frame_waits_for_them(late_s):
    contract, text = draft(simulated().with_topic("/joint_states", delay_s=late_s, late_s=late_s))
    assert contract.settle_s == 0.05
    (line,) = [line for line in text.splitlines() if line.startswith("settle_s")]
    assert "joint_states arrives" in line and "bring the clocks in step, or write time: receive" in line


SO101 = parse_urdf(robot_description("so101"))
LEADER_FOLLOWER = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
RESTING = (-0.09, -0.17, 0.275, 1.48, -1.62, 1.2)


def so101(values=RESTING, leader=RESTING, **changes) -> GraphSurvey:
    """Leader and follower: one forward controller, without a manager, has all six joints."""
    topics = {
        "/static_camera/image_raw": stream(IMAGE, "/static", 30.0, size=(640, 480), encoding="bgr8"),
        "/follower/forward_controller/commands": listener(ARRAY, "/follower_driver"),
    }
    for who, its in (("follower", values), ("leader", leader)):
        topics[f"/{who}/joint_states"] = stream(
            JOINT_STATE, f"/{who}", 50.0, names=(LEADER_FOLLOWER,), counts={"position": 6},
            values=dict(zip(LEADER_FOLLOWER, its, strict=True)),
        )  # fmt: skip
    return GraphSurvey(3.0, topics | changes)


def marked(text: str) -> list[str]:
    return [text.splitlines()[n - 1] for n in marked_lines(text)]


@pytest.mark.parametrize("known_by", ["manager", "names", "size", "nothing else"])
def test_a_gripper_that_the_arms_controller_moves_is_one_of_its_joints(known_by):
    """As of so101.yaml: no gap, no separate gripper, and nobody waits for a finger that holds something."""
    graph, topic = so101(), "/follower/forward_controller/commands"
    kind, names = ARRAY, LEADER_FOLLOWER
    if known_by == "manager":
        claims = (Controller("forward_controller", "forward_command_controller", "active", names),)
        graph = dataclasses.replace(graph, controllers=claims, manager="")
    elif known_by == "names":
        kind, topic = TRAJECTORY, "/follower/arm_controller/joint_trajectory"
        topics = {t: s for t, s in graph.topics.items() if "forward" not in t}
        told = stream(TRAJECTORY, "/teleop", names=(names,), subscriptions=(Endpoint("/driver", kind),))
        graph = dataclasses.replace(graph, topics=topics | {topic: told})
    elif known_by == "size":
        told = stream(ARRAY, "/teleop", counts={"data": 6}, subscriptions=(Endpoint("/driver", kind),))
        graph = graph.with_topic(topic, **vars(told))
    contract, text = draft(graph, SO101)
    shipped = read_contract("so101")
    assert "FILL_IN" not in text and contract.grippers == ()
    assert contract.arm_joints == contract.action_names == shipped.arm_joints
    assert contract.state == shipped.state and contract.kinematics is None
    low, high = contract.limits["gripper"].position
    assert (low, high) == (pytest.approx(-0.1745, abs=1e-3), pytest.approx(1.7453, abs=1e-3))
    assert contract.limits["elbow_flex"].velocity == 2.0, "not half of the 10 rad/s that its exporter wrote"
    assert contract.safety == shipped.safety
    asked = any("ros2 param get /CONTROLLER joints" in line for line in marked(text))
    assert asked == (known_by in ("size", "nothing else")), "the order of a forward controller's values"
    if known_by not in ("names", "size"):  # there somebody else drives the arm
        assert worst(check_graph(contract, graph)) is not Level.FAIL


def test_a_forward_controller_with_another_order_of_joints_gets_them_in_its_order():
    order = (*LEADER_FOLLOWER[3:], *LEADER_FOLLOWER[:3])
    claims = (Controller("forward_controller", "forward_command_controller", "active", order),)
    graph = dataclasses.replace(so101(), controllers=claims, manager="")
    contract, _ = draft(graph, SO101)
    assert contract.arm_joints == LEADER_FOLLOWER and contract.command_groups[0].joints == order
    assert worst(check_graph(contract, graph)) is not Level.FAIL


def test_a_gripper_with_a_command_of_its_own_is_none_of_the_arms_joints():
    graph = so101(**{"/follower/gripper_controller/commands": listener(ARRAY, "/driver")})
    contract, _ = draft(graph, SO101)
    assert len(contract.arm_joints) == 5 and len(contract.grippers) == 1
    five = Controller("forward_controller", "forward_command_controller", "active", LEADER_FOLLOWER[:5])
    graph = dataclasses.replace(so101(), controllers=(five,), manager="")
    assert "FILL_IN" in draft(graph, SO101)[1], "the controller says that it does not move the gripper"


IN_DEGREES = (*np.degrees(RESTING[:5]), 72.0)


@pytest.mark.parametrize("urdf", [SO101, None], ids=["with its URDF", "without one"])
def test_a_driver_that_counts_in_degrees_is_noticed(urdf):
    graph = so101(IN_DEGREES, IN_DEGREES)
    contract, text = draft(graph, urdf)
    assert [d.unit for d in contract.state] == ["degree"] * 5 + ["percent"]
    assert [d.unit for d in contract.action.dimensions] == ["degree"] * 5 + ["percent"]
    asked = [line for line in marked(text) if "ros2 topic echo /follower/joint_states" in line]
    assert len(asked) == 2 and all("degree by 90" in line for line in asked), "once per unit of a driver"
    assert contract.limits["gripper"].position == (0.0, 1.0)
    assert contract.limits["elbow_flex"].position[1] < 3.2, "limits are in rad"
    results = [*check_graph(contract, graph), *check_contract(contract, urdf)]
    assert not [r for r in results if r.level is Level.FAIL], "a contract in the driver's units fits"
    plain = parse_contract(yaml.safe_load(text.replace("unit: degree", "unit: rad")))
    for subject in ("limits.wrist_flex", "teleop"):
        (said,) = [r for r in check_graph(plain, graph) if r.subject == subject and r.level is Level.FAIL]
        assert "unit: degree" in said.advice


def test_a_leader_whose_commands_are_a_little_late_is_no_matter_of_frames():
    """Commands are followed as they come: no frame waits for them, and settle_s does not help."""
    graph = so101()
    graph = graph.with_topic("/leader/joint_states", delay_s=0.05, late_s=0.08)
    contract, _ = draft(graph, SO101)
    (said,) = [r for r in check_graph(contract, graph) if r.subject == "teleop" and "stamp" in r.text]
    assert said.level is Level.PASS and not said.advice


def test_leader_and_follower_may_count_differently():
    contract, text = draft(so101(RESTING, IN_DEGREES), SO101)
    assert {d.unit for d in contract.state} == {"rad"}
    assert [d.unit for d in contract.action.dimensions] == ["degree"] * 5 + ["percent"]
    assert len([line for line in marked(text) if "unit: degree" in line]) == 1
