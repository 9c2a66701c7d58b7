"""What a client of the recorder is told of an episode that waits: once, whichever message comes first."""

from __future__ import annotations

import threading
import time

import pytest
from rosgraph_msgs.msg import Clock
from stand_in import StandIn
from std_srvs.srv import Trigger

from vla_adapter_ros.cli.record import require_simulator
from vla_adapter_ros.errors import RecordingError
from vla_adapter_ros.msg import RecorderStatus
from vla_adapter_ros.nodes import recorder_client
from vla_adapter_ros.nodes.recorder_client import RecorderClient
from vla_adapter_ros.srv import LabelEpisode, StartEpisode

WHY = "30 frames wait, save or discard them: fail idle_head: 12 s"


class Recorder(StandIn):
    """A recorder that says what a test wants."""

    def __init__(self, namespace: str | None = None) -> None:
        super().__init__("recorder_node", namespace)
        self.stops = []
        self._status = self.node.create_publisher(RecorderStatus, "recorder_node/status", 10)
        self.on_stop = lambda: None  # called before a stop is answered
        self.serve("stop_episode", self.stops)

    def serve(self, name, heard, lose=False):
        """Offer a service; `heard` tells what was asked for."""

        def answer(request, response):
            heard.append(name)
            self.on_stop()
            if lose:
                raise ConnectionAbortedError
            return Trigger.Response(success=True, message=WHY)

        self.node.create_service(Trigger, f"recorder_node/{name}", answer)

    def tell(self, client, state, reason=""):
        """Publish a status until the client has it."""
        deadline = time.monotonic() + 10.0
        while client.status is None or (client.status.state, client.status.reason) != (state, reason):
            assert time.monotonic() < deadline
            self._status.publish(RecorderStatus(state=state, reason=reason, controller="running"))
            time.sleep(0.05)


@pytest.fixture
def pair():
    with Recorder() as recorder, RecorderClient() as client:
        recorder.spin()
        recorder.tell(client, "recording")
        assert client._commands["stop"].wait(10.0)
        yield recorder, client


def test_recording_alone_in_simulated_time_needs_a_clock(pair):
    recorder, client = pair
    with pytest.raises(RecordingError, match=r"publishes /clock in ROS_DOMAIN_ID .* add --robot"):
        require_simulator(client, 0.2)
    recorder.node.create_publisher(Clock, "/clock", 10)
    require_simulator(client, 10.0)


def test_a_recorder_in_a_namespace_is_joined_there_and_has_its_own_clock():
    with Recorder("left") as recorder, RecorderClient(namespace="left") as client:
        recorder.spin()
        recorder.tell(client, "recording")
        with pytest.raises(RecordingError, match="publishes /left/clock"):
            require_simulator(client, 0.2)
        recorder.node.create_publisher(Clock, "clock", 10)
        require_simulator(client, 10.0)


def test_an_episode_that_ends_by_itself_is_told_once(pair):
    recorder, client = pair
    recorder.tell(client, "pending", WHY)
    recorder.tell(client, "pending", WHY + ".")
    recorder.tell(client, "pending", WHY)
    assert client.events.get_nowait() == (False, WHY) and client.events.empty()


def test_one_that_was_stopped_is_told_by_the_answer_alone(pair):
    recorder, client = pair
    client.command("stop")
    assert client.events.get(timeout=10.0) == (True, WHY)
    recorder.tell(client, "pending", WHY)
    assert client.events.empty() and recorder.stops == ["stop_episode"]


def test_while_the_answer_to_a_stop_is_awaited_a_status_says_nothing(pair):
    recorder, client = pair
    release = threading.Event()
    recorder.on_stop = lambda: release.wait(10.0)  # it writes for long
    client.command("stop")
    while not recorder.stops:
        time.sleep(0.02)
    recorder.tell(client, "pending", WHY)
    assert client.events.empty()
    release.set()
    assert client.events.get(timeout=10.0) == (True, WHY) and client.events.empty()


def test_commands_are_sent_in_order_and_a_lost_answer_is_an_event(pair, monkeypatch):
    monkeypatch.setattr(recorder_client, "ANSWER_WITHIN_S", 0.3)
    recorder, client = pair
    recorder.serve("discard_episode", recorder.stops, lose=True)
    assert client._commands["discard"].wait(10.0)
    client.command("stop")
    client.command("discard")
    assert client.events.get(timeout=5.0) == (True, WHY)
    good, sentence = client.events.get(timeout=5.0)
    assert not good and "no answer from /recorder_node/discard_episode within 0.3 s" in sentence
    assert recorder.stops == ["stop_episode", "discard_episode"]
    client.command("save")
    assert client.events.get(timeout=5.0) == (False, "/recorder_node/save_pending is not there")


def test_a_start_is_answered_to_whoever_asked(pair):
    recorder, client = pair
    recorder.node.create_service(
        StartEpisode, "recorder_node/start_episode",
        lambda request, _: StartEpisode.Response(accepted=False, message=f"no {request.instruction}"),
    )  # fmt: skip
    assert client._start.wait(10.0)
    told = []
    client.start("wave", lambda good, sentence: told.append((good, sentence)))
    deadline = time.monotonic() + 10.0
    while not told and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told == [(False, "no wave")] and client.events.empty()


def test_how_an_episode_ended_is_told_and_answered(pair):
    recorder, client = pair
    heard = []

    def answer(request, response):
        heard.append((request.episode, request.outcome, request.reason))
        return LabelEpisode.Response(success=request.outcome != "won", message=request.outcome)

    recorder.node.create_service(LabelEpisode, "recorder_node/label_episode", answer)
    assert client._label.wait(10.0)
    client.label("failure", "dropped")
    assert client.events.get(timeout=5.0) == (True, "failure")
    client.label("won", episode=3)
    assert client.events.get(timeout=5.0) == (False, "won")
    assert heard == [(-1, "failure", "dropped"), (3, "won", "")]
