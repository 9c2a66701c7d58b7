"""What a client of the recorder is told of an episode that waits: once, whichever message comes first."""

from __future__ import annotations

import queue
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from vla_adapter_ros.nodes.recorder_client import RecorderClient

WHY = "30 frames wait, save or discard them: fail idle_head: 12 s"


def status(state, reason=""):
    return SimpleNamespace(state=state, reason=reason, controller="running")


@pytest.fixture
def client():
    """A client without a node, whose recorder records."""
    client = RecorderClient.__new__(RecorderClient)
    client.status, client.events, client._awaited, client._answered = (
        status("recording"),
        queue.Queue(),
        {},
        "",
    )
    return client


def test_an_episode_that_ends_by_itself_is_told(client):
    client._on_status(status("pending", WHY))
    client._on_status(status("pending", WHY))
    assert client.events.get_nowait() == (False, WHY) and client.events.empty()


def test_one_that_was_stopped_is_told_by_the_answer_alone(client):
    client._awaited = {"future": (1.0, "no answer", True)}
    client._on_status(status("pending", WHY))
    assert client.events.empty()


def test_a_status_after_the_answer_says_nothing_new(client):
    client._answered = WHY
    client._on_status(status("pending", WHY))
    assert client.events.empty()
