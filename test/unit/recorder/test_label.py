"""What is known of a run when it ends, and what the operator says of it: while it waits, and later."""

from __future__ import annotations

import re
import threading
from dataclasses import replace

import pytest
from recording_samples import CONTRACT, make_frame

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.dataset.leader import Leader, Report
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.outcome import INTERVENTION, Label
from vla_adapter_ros.dataset.quality.settings import read_settings
from vla_adapter_ros.dataset.trial_facts import read_facts_of, read_labels, read_notes
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import RecordingError
from vla_adapter_ros.recorder.session import RecordingSession
from vla_adapter_ros.recorder.session_types import SessionSettings

NOT_ASKED = (float("inf"), float("inf"))
DROPPED = Label(Outcome.FAILURE, "dropped")


@pytest.fixture
def leader():
    leader = Leader(CONTRACT, lambda: 1)
    leader.hear(Report(at(0), "running", "policy", checkpoint="tiny@1", latency_p50_s=0.2, latency_p99_s=0.3))
    return leader


@pytest.fixture
def session(tmp_path, leader):
    names = ("repeated_frames", "action_is_next_state", "state_limits", "action_limits", "frozen_camera",
             "action_jumps")  # fmt: skip
    lenient = read_settings(dict.fromkeys(names, NOT_ASKED))
    settings = SessionSettings(min_disk_bytes=0.0)
    made = RecordingSession(
        DatasetWriter(tmp_path / "set", CONTRACT), CONTRACT, settings, lenient, leader=leader
    )
    yield made
    made.close()


def at(n: float) -> float:
    return 50.0 + 0.1 * n


def record(session: RecordingSession, leader: Leader, first: int, *, spoiled: bool = False):
    """Twenty rows: the policy leads six, a human five, the policy five, a human four; then the stop."""
    assert session.start("wave", at(first)).ok
    for n in range(first, first + 20):
        frame = make_frame(n)
        late = spoiled and n % 2
        session.add_frame(replace(frame, problem="camera gripper: late") if late else frame)
    for row, source in ((6, "human"), (11, "policy"), (16, "human")):
        said = {"checkpoint": "tiny@2", "latency_p50_s": 0.1, "latency_p99_s": 0.4}
        leader.hear(Report(at(first + row) - 0.05, "running", source, **said))
    return session.stop()


def stored(tmp_path):
    return read_labels(open_dataset(tmp_path / "set"))


def test_a_corrected_run_is_one_episode_with_its_facts(session, leader, tmp_path):
    assert record(session, leader, 0).saved.result(20).index == 0
    status = session.status()
    assert (status.newest, status.interventions, status.intervention_share) == (0, 2, 9 / 20)
    assert status.checkpoint == "tiny@2" and status.label == Label()
    dataset = open_dataset(tmp_path / "set")
    assert dataset.rows(0)["control_source"].tolist() == [2] * 6 + [1] * 5 + [2] * 5 + [1] * 4
    assert dataset.rows(0)[INTERVENTION].tolist() == [False] * 6 + [True] * 5 + [False] * 5 + [True] * 4
    facts = read_facts_of(read_notes(dataset)[0])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", facts.started)
    assert (facts.checkpoint, facts.latency_p50_s, facts.latency_p99_s) == ("tiny@2", 0.1, 0.4)
    assert (facts.interventions, facts.intervention_share, facts.policy_share) == (2, 9 / 20, 11 / 20)
    assert facts.duration_s == pytest.approx(1.9)


def test_the_newest_is_labeled_on_disk_and_while_it_is_saved(session, leader, tmp_path, monkeypatch):
    record(session, leader, 0).saved.result(20)
    assert session.label(-1, "success", "").labeled.result(20) == 0
    assert session.status().label == Label(Outcome.SUCCESS) == stored(tmp_path)[0]
    go, commit = threading.Event(), DatasetWriter.commit
    monkeypatch.setattr(DatasetWriter, "commit", lambda *a, **k: (go.wait(20), commit(*a, **k))[1])
    record(session, leader, 30)
    assert session.status().label == Label()  # of the new one
    reply = session.label(-1, "failure", "dropped")
    assert session.status().newest == 1
    earlier = session.label(0, "", "")
    go.set()
    assert (reply.labeled.result(20), earlier.labeled.result(20)) == (1, 0)
    assert stored(tmp_path) == [Label(), DROPPED] and session.status().label == DROPPED


def test_one_that_waits_keeps_its_label_when_it_is_saved(session, leader, tmp_path):
    assert not record(session, leader, 0, spoiled=True).ok and session.state == "pending"
    reply = session.label(-1, "failure", "dropped")
    assert reply.ok and reply.labeled is None and session.status().label == DROPPED
    assert session.label(0, "failure", "missed").ok  # by its number; the last word counts
    assert session.label(0, "failure", "dropped").ok
    session.save().saved.result(20)
    assert stored(tmp_path) == [DROPPED]


def test_no_label_goes_to_an_episode_that_was_not_meant(session, leader, tmp_path, monkeypatch):
    reply = session.label(-1, "success", "")
    with pytest.raises(RecordingError, match="there is no episode yet"):
        reply.labeled.result(20)
    record(session, leader, 0).saved.result(20)
    assert session.start("wave", at(30)).ok
    for number in (-1, 1):
        assert "being recorded: stop it first" in session.label(number, "success", "").message
    assert session.label(0, "failure", "dropped").labeled.result(20) == 0
    assert session.status().label == Label()  # that of the one that is recorded
    session.discard()
    assert "the newest episode is gone" in session.label(-1, "success", "").message
    with pytest.raises(RecordingError, match="episode 5: allowed are 0 to 0"):
        session.label(5, "success", "").labeled.result(20)
    assert "no label: episode 5" in session.status().reason
    for words in (("won", ""), ("success", "a\nb")):
        assert not session.label(0, *words).ok

    asked = threading.Event()

    def fail(*_):
        asked.wait(20)  # the label is asked for while the episode is being saved
        raise RecordingError("the disk is full")

    monkeypatch.setattr(DatasetWriter, "commit", fail)
    record(session, leader, 60)
    reply = session.label(-1, "success", "")
    asked.set()
    with pytest.raises(RecordingError, match="the disk is full"):
        reply.labeled.result(20)
    assert "the newest episode is gone" in session.label(-1, "success", "").message
    assert stored(tmp_path) == [DROPPED]
