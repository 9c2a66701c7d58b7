"""Requests reach servers that are slow, busy or lose an answer; what begins motion is sent once."""

from __future__ import annotations

import threading
import time

import pytest
from bench import CONTRACT
from stand_in import StandIn
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.cli import client as client_module
from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.errors import NoAnswerError, ProcessError
from vla_adapter_ros.nodes import instruct_client
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.srv import Instruct, ResetScene

PICK = "pick up the red cube"


def losing(heard, server=None, follow=None):
    """A callback whose answer is lost; the policy then says that it follows `follow`."""

    def lose(request, response):
        heard.append(getattr(request, "instruction", ""))
        if follow is not None:
            server.instruction.publish(String(data=follow))
        raise ConnectionAbortedError

    return lose


@pytest.fixture
def short(monkeypatch):
    """No test waits ten seconds."""
    monkeypatch.setattr(instruct_client, "ANSWER_S", 0.6)


@pytest.mark.parametrize("text", [PICK, ""])
def test_an_instruction_whose_answer_is_lost_is_asked_after_and_not_repeated(short, text):
    heard = []
    with StandIn() as server, GraphClient(CONTRACT, lambda: None) as client:
        server.node.create_service(Instruct, "instruct", losing(heard, server, text))
        server.spin()
        client.instruct(text)
        assert heard == [text]


@pytest.mark.parametrize(
    ("follow", "told"),
    [
        (None, "the policy has said nothing since"),
        ("", "the policy follows no instruction now"),
        ("wave", "the policy follows 'wave' now"),
    ],
)
def test_an_instruction_that_is_not_followed_is_an_error_and_not_repeated(short, follow, told):
    heard = []
    with StandIn() as server, GraphClient(CONTRACT, lambda: None) as client:
        server.node.create_service(Instruct, "instruct", losing(heard, server, follow))
        server.spin()
        with pytest.raises(NoAnswerError, match=f"no answer from /instruct .*{told}") as caught:
            client.instruct(PICK)
        assert caught.value.sent and heard == [PICK]


def test_what_a_policy_said_before_it_died_counts_no_more(short):
    heard = []
    with StandIn() as server, GraphClient(CONTRACT, lambda: None) as client:
        server.instruction.publish(String(data=PICK))
        server.node.create_service(Instruct, "instruct", losing(heard))
        server.spin()
        assert client.wait_until(lambda: client._policy._followed == [PICK], 10.0)
        with pytest.raises(NoAnswerError, match="the policy has said nothing since"):
            client.instruct(PICK)
        assert heard == [PICK]


def test_a_request_is_not_sent_before_the_server_knows_its_client():
    with StandIn() as server, RosClient("asking") as client:
        service = server.node.create_service(
            Instruct, "instruct", lambda _, response: Instruct.Response(accepted=True)
        )
        asking, answers = client.service(Instruct, "instruct"), []
        thread = threading.Thread(target=lambda: answers.append(asking.call(Instruct.Request(), 20.0)))
        thread.start()
        time.sleep(1.5)  # the server is found at once, and answers nothing yet
        assert asking.is_there
        with service.handle:
            assert service.handle.service_take_request(Instruct.Request)[0] is None
        server.spin()
        thread.join()
        assert answers[0].accepted


def test_a_server_that_answers_nothing_gets_no_request():
    with StandIn() as server, RosClient("asking") as client:
        server.node.create_service(Trigger, "controller_node/arm", lambda _, response: response)
        arm = client.service(Trigger, "controller_node/arm")
        with pytest.raises(NoAnswerError, match=r"no answer from .*/arm within 1 s: .*so nothing was sent"):
            arm.call(Trigger.Request(), 1.0, found_within_s=10.0)


def test_a_server_without_parameters_is_called_too():
    with StandIn(start_parameter_services=False) as server, RosClient("asking") as client:
        server.node.create_service(Trigger, "plain", lambda _, response: Trigger.Response(success=True))
        server.spin()
        assert client.service(Trigger, "plain").call(Trigger.Request(), 10.0).success


def test_only_what_may_be_carried_out_twice_is_repeated(monkeypatch):
    monkeypatch.setitem(client_module.REPEAT_AFTER_S, "simulator/reset", 0.3)
    heard = []

    def second(request, response):
        heard.append(request.seed)
        if len(heard) == 1:
            raise ConnectionAbortedError
        response.success = False
        response.message = "no table"
        return response

    with StandIn("simulator_node") as server, GraphClient(CONTRACT, lambda: None) as client:
        server.node.create_service(ResetScene, "simulator/reset", second)
        server.spin()
        assert client.call("simulator/reset", ResetScene.Request(seed=7)).message == "no table"
        assert heard == [7, 7]


def test_a_dead_graph_ends_the_wait():
    def dead():
        raise ProcessError("controller_node ended with status 1")

    with RosClient("asking", check_alive=dead) as client:
        with pytest.raises(ProcessError):
            client.service(Trigger, "nobody").call(Trigger.Request(), 30.0)
