"""Users without `ros2` speak to the running nodes through `vla-adapter instruct`, `arm` and others."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from bench import CONTRACT
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import JointState
from stand_in import StandIn

from vla_adapter_ros.msg import ControllerStatus
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.srv import Instruct


def run(*words: str) -> SimpleNamespace:
    command = [sys.executable, "-m", "vla_adapter_ros.cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return SimpleNamespace(status=done.returncode, out=done.stdout.strip(), error=done.stderr.strip())


@pytest.fixture
def node():
    """A node that spins in a thread."""
    with StandIn("policy_stand_in", "/left") as policy:
        policy.spin()
        yield policy.node


def test_an_instruction_in_a_namespace_is_accepted_or_refused(node):
    heard = []

    def answer(request: Instruct.Request, response: Instruct.Response) -> Instruct.Response:
        heard.append(request.instruction)
        response.accepted = request.instruction != "fly"
        response.message = f"heard {request.instruction}"
        return response

    node.create_service(Instruct, "instruct", answer)
    done = run("instruct", "pick up the red cube", "--namespace", "/left", "--wait", "30")
    assert (done.status, done.out) == (0, "heard pick up the red cube")
    refused = run("instruct", "fly", "--namespace", "left", "--wait", "30")
    assert (refused.status, refused.out) == (1, "refused: heard fly")
    assert heard == ["pick up the red cube", "fly"]  # what begins motion is sent once


def test_a_service_of_another_name_is_found_and_no_other_namespace_is_guessed(node):
    def answer(request: Instruct.Request, response: Instruct.Response) -> Instruct.Response:
        response.accepted, response.message = True, "heard"
        return response

    node.create_service(Instruct, "tell", answer)
    assert run("instruct", "wave", "--namespace", "/left", "--wait", "30").out == "heard"
    for _ in range(10):  # a busy machine discovers the other one later
        lost = run("instruct", "wave", "--wait", "3")
        assert lost.status == 1
        if "others are in /left (--namespace)" in lost.error:
            break
    else:
        pytest.fail(lost.error)


@pytest.mark.slow
def test_the_status_is_that_of_a_namespace_whatever_topics_are_called(node):
    status = ControllerStatus(
        state="disarmed", first_cause="not armed yet: call ~/arm", control_source="none"
    )
    publisher = node.create_publisher(ControllerStatus, "odd/name", 10)
    node.create_timer(0.05, lambda: publisher.publish(status))
    report = DiagnosticStatus(name="/left/arm_mover", message="ok")
    report.values = [KeyValue(key="kind", value="controller"), KeyValue(key="lifecycle", value="active")]
    diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    node.create_timer(0.1, lambda: diagnostics.publish(DiagnosticArray(status=[report])))
    told = json.loads(run("status", "--json", "--namespace", "/left").out)
    assert (told["state"], told["why"]) == ("disarmed", "not armed yet: `vla-adapter arm`")
    assert told["nodes"]["controller"]["name"] == "/left/arm_mover"
    elsewhere = run("status")
    assert elsewhere.status == 1
    assert "no controller runs; there is one in /left (--namespace)" in elsewhere.out


def test_without_nodes_one_sentence_says_what_to_start():
    for words, service in ((("instruct", "wave"), "instruct"), (("arm",), "controller_node/arm")):
        done = run(*words, "--namespace", "/nobody", "--wait", "0.2")
        assert done.status == 1 and done.out == ""
        assert f"no service /nobody/{service} after 0.2 s in ROS_DOMAIN_ID" in done.error
        assert "start the nodes first, such as with `vla-adapter bringup`" in done.error
        assert len(done.error.splitlines()) == 1


@pytest.mark.slow
def test_a_disarmed_controller_says_once_how_to_arm_it_and_is_armed(graph, tmp_path):
    runner = graph(node_list(policy=False, armed=False))
    log, deadline = "", time.monotonic() + 40
    while "not armed yet" not in log and time.monotonic() < deadline:
        time.sleep(0.1)
        log = (tmp_path / "logs" / "controller_node.log").read_text()
    armed = run("arm")
    log = (tmp_path / "logs" / "controller_node.log").read_text()
    assert (armed.status, armed.out) == (0, "armed, state is idle: waits for an instruction"), log
    assert (
        log.count("`vla-adapter arm`, or `ros2 service call /controller_node/arm std_srvs/srv/Trigger`") == 1
    )
    assert log.count("not armed yet") == 1
    assert run("stop").status == 0
    refused = run("arm")
    assert refused.status == 1 and refused.out.startswith("refused: stopped")
    runner.check_alive()


@pytest.mark.slow
def test_the_arm_of_a_bring_up_moves_when_told_to_from_a_second_terminal(graph, node):
    seen: list[np.ndarray] = []

    def note(message: JointState) -> None:
        joints = dict(zip(message.name, message.position, strict=True))
        seen.append(np.array([joints[name] for name in CONTRACT.arm_joints]))

    node.create_subscription(JointState, "/joint_states", note, 10)
    graph(node_list())
    while run("instruct", "pick up the red cube", "--wait", "60").status:
        time.sleep(1.0)  # it is not ready yet
    moved = threading.Event()
    for _ in range(600):
        if seen and np.abs(seen[-1] - seen[0]).max() > 0.1:
            break
        moved.wait(0.1)
    assert np.abs(seen[-1] - seen[0]).max() > 0.1
    assert run("instruct", "").out == "stopped and holding"
