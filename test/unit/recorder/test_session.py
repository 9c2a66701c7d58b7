"""Recording sessions: checks before saving, faults that end an episode, saving in the background."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
from recording_samples import CONTRACT, make_frame

from vla_adapter_ros.dataset.leader import Leader, Report
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.quality.settings import read_settings
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.video import VideoEncoder
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import ParameterError, RecordingError
from vla_adapter_ros.recorder import session as sessions
from vla_adapter_ros.recorder.commands import run_command
from vla_adapter_ros.recorder.disk import DiskGauge
from vla_adapter_ros.recorder.session import RecordingSession
from vla_adapter_ros.recorder.session_types import SessionSettings

OFF = (float("inf"), float("inf"))
# The made-up numbers are no motion of a robot; only what a recorder itself can spoil is checked here.
LENIENT = read_settings(
    dict.fromkeys(
        (
            "repeated_frames",
            "action_is_next_state",
            "state_limits",
            "action_limits",
            "frozen_camera",
            "action_jumps",
        ),
        OFF,
    )
)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def start_session(tmp_path, lines):
    made = []

    def make(leader=None, losses=dict, **settings):
        settings = SessionSettings(**({"min_disk_bytes": 0.0} | settings))
        writer = DatasetWriter(tmp_path / "set", CONTRACT)
        made.append(RecordingSession(writer, CONTRACT, settings, LENIENT, lines.append, leader, losses))
        return made[-1]

    yield make
    for session in made:
        session.close()


def play(session, first, count, spoil=None):
    """Frames n = first ... of stamps 50 + n / 10."""
    for n in range(first, first + count):
        frame = make_frame(n)
        session.add_frame(spoil(frame) if spoil else frame)


def at(n):
    return 50.0 + 0.1 * n


def saved(reply):
    assert reply.ok, reply.message
    return reply.saved.result(20)


def test_an_episode_is_checked_and_saved_with_its_report(start_session, tmp_path, lines):
    session = start_session()
    reply = session.start("wave", at(3))
    assert reply.ok and session.state == "recording"
    play(session, 0, 23)
    status = session.status()
    assert (status.frames, status.episode, status.episodes) == (20, 0, 0)  # the first three came too early
    assert status.rate_hz == pytest.approx(10.0)
    summary = saved(session.stop())
    assert (summary.index, summary.frames) == (0, 20)
    session.close()
    assert "saved episode 0: 20 frames in 1.9 s, 10.00 Hz, 0 left out" in lines
    assert any(line.startswith("pass rate_error") for line in lines)
    reader = DatasetReader(tmp_path / "set")
    assert reader.task_of(0) == "wave"
    (entry,) = sessions_of(reader)
    assert {check["name"] for check in entry["verdict"]} >= {"rate_error", "dropped_frames", "black_camera"}
    assert entry["software"].startswith("vla_adapter_ros ") and entry["dropped"] == 0


def sessions_of(reader):
    return json.loads((reader.root / "meta/recordings.json").read_text())["episodes"]


def test_a_start_is_refused_while_a_stream_is_missing(start_session):
    session = start_session()
    reply = session.start("wave", at(0), ["camera gripper: no sample"])
    assert not reply.ok and "camera gripper" in reply.message
    assert session.state == "idle" and session.status().reason == reply.message
    assert not session.start("", at(0)).ok  # no task was ever given


def test_a_controller_that_lets_nothing_move_refuses_start_and_rerecord(start_session):
    leader = Leader(CONTRACT)
    session = start_session(leader)
    leader.hear(Report(at(0), "disarmed", "none", "not armed yet: call ~/arm"))
    for words in ("start wave", "toggle"):
        reply = run_command(session, words, at(0))
        assert not reply.ok and "not armed yet: call ~/arm" in reply.message and session.state == "idle"
    leader.hear(Report(at(0), "idle", "none"))
    assert session.start("wave", at(0)).ok
    play(session, 0, 5)
    leader.hear(Report(at(1), "stopped", "none", "stopped (by hand): call ~/reset first"))
    refused = session.rerecord(at(5))
    assert not refused.ok and "call ~/reset first" in refused.message
    assert session.state == "recording" and session.status().frames == 5  # nothing was dropped
    assert session.start("again", at(5)).message == refused.message


def test_rows_tell_who_led_at_their_own_time(start_session, tmp_path):
    leader = Leader(CONTRACT)
    session = start_session(leader)
    leader.hear(Report(at(0), "idle", "none"))
    session.start("wave", at(0))
    play(session, 0, 8)
    leader.hear(Report(at(3), "running", "human"))  # what was said of these frames comes after them
    leader.hear(Report(at(7) + 0.01, "running", "policy"))
    play(session, 8, 12)
    assert saved(session.stop()).frames == 17
    session.close()
    found = DatasetReader(tmp_path / "set").rows(0)["control_source"].tolist()
    assert found == [1] * 5 + [2] * 10 + [0] * 2  # the controller is silent from then on


def test_an_episode_ends_where_the_arm_is_sent_home(start_session, tmp_path, lines):
    leader = Leader(CONTRACT)
    session = start_session(leader)
    leader.hear(Report(at(0), "running", "human"))
    session.start("wave", at(0))
    play(session, 0, 8)
    leader.hear(Report(at(7) + 0.01, "homing", "home", "the arm goes home: wait until it is there"))
    play(session, 8, 12)
    assert session.state == "idle" and "the arm goes home: the episode ends here" in lines
    refused = session.start("wave", at(20))
    assert not refused.ok and "wait until it is there" in refused.message
    leader.hear(Report(at(21), "idle", "none"))
    assert session.start("wave", at(21)).ok
    play(session, 22, 5)
    assert session.status().frames == 5  # the next one is recorded again
    session.discard()
    session.close()
    assert DatasetReader(tmp_path / "set").rows(0)["control_source"].tolist() == [1] * 8


def test_an_episode_that_nobody_led_fails_and_one_with_a_block_tells_of_it(start_session, tmp_path, lines):
    leader = Leader(CONTRACT)
    session = start_session(leader)
    leader.hear(Report(at(0), "idle", "none"))
    session.start("wave", at(0))
    play(session, 0, 10)
    leader.hear(Report(at(9), "stopped", "none", "stopped (by hand): call ~/reset first"))
    session.check_faults(at(9))
    assert session.status().reason.startswith("the controller lets nothing move: stopped (by hand)")
    reply = session.stop()
    assert session.state == "pending"
    assert "fail unled_rows: 10 rows led by nobody, 0 by a human, 0 by the policy" in reply.message
    assert "warn controller: nothing could move from 0.9 s on: stopped (by hand)" in "; ".join(lines)
    saved(session.save())
    session.close()
    (entry,) = sessions_of(DatasetReader(tmp_path / "set"))
    assert [c["level"] for c in entry["verdict"] if c["name"] == "controller"] == ["warn"]
    report = check_dataset(tmp_path / "set", settings=LENIENT)
    assert report.episodes[0]["unled_rows"].level == "fail"


def test_what_the_streams_lost_during_an_episode_is_in_its_report(start_session, lines):
    losses = {"image that repeats": 7}
    session = start_session(losses=lambda: losses)
    session.start("wave", at(0))
    play(session, 0, 20)
    losses |= {"image that repeats": 9, "frame that nobody took in time": 1}
    saved(session.stop())
    lost = [line for line in session.status().report_lines if " streams: " in line]
    assert lost == [
        "warn streams: 2 x image that repeats",
        "warn streams: 1 x frame that nobody took in time",
    ] and set(lost) <= set(lines)  # fmt: skip
    session.start("wave", at(20))
    play(session, 20, 20)
    saved(session.stop())
    assert not any(" streams: " in line for line in session.status().report_lines)


def test_a_failed_check_asks_and_the_operator_decides(start_session, tmp_path):
    session = start_session()

    def spoiled(frame):
        return replace(frame, problem="camera gripper: late") if round(frame.stamp * 10) % 2 else frame

    for decision in (session.save, session.discard):
        session.start("wave", at(0))
        play(session, 0, 20, spoil=spoiled)
        reply = session.stop()
        assert not reply.ok and "fail dropped_frames" in reply.message and reply.saved is None
        assert session.state == "pending"
        assert not session.start("next", at(30)).ok
        assert not session.stop().ok
        reply = decision()
        assert reply.ok
        if reply.saved:
            assert reply.saved.result(20).frames == 10
        assert session.state == "idle"
    assert not session.save().ok and not session.discard().ok
    session.close()
    reader = DatasetReader(tmp_path / "set")
    assert [e.length for e in reader.episodes] == [10]
    assert sessions_of(reader)[0]["saved_despite_verdict"] is True


@pytest.mark.parametrize(("on_fail", "kept"), [("discard", 0), ("save", 1)])
def test_a_failed_check_can_decide_by_itself(start_session, on_fail, kept):
    session = start_session(on_fail=on_fail)
    session.start("wave", at(0))
    play(session, 0, 20, spoil=lambda f: replace(f, images={k: v * 0 for k, v in f.images.items()}))
    reply = session.stop()
    assert reply.ok == bool(kept)
    if kept:
        reply.saved.result(20)
    else:
        assert "black_camera" in reply.message
    assert session.state == "idle" and session.status().episodes == kept
    assert any(line.startswith("fail black_camera") for line in session.status().report_lines)


def test_recording_goes_on_while_the_former_episode_is_being_saved(start_session, tmp_path, monkeypatch):
    session = start_session(max_saving=1)
    go = threading.Event()
    commit = DatasetWriter.commit
    monkeypatch.setattr(DatasetWriter, "commit", lambda *a, **k: (go.wait(20), commit(*a, **k))[1])
    replies = []
    for number in range(2):
        assert session.start(f"task {number}", at(0)).ok
        play(session, 0, 20 + number)
        replies.append(session.stop())
    assert session.status().saving == 2 and session.status().episodes == 0
    reply = session.start("third", at(0))
    assert not reply.ok and "still being saved" in reply.message  # memory stays bounded
    go.set()
    assert [saved(reply).index for reply in replies] == [0, 1]
    assert [e.length for e in DatasetReader(tmp_path / "set").episodes] == [20, 21]


def test_rerecord_drops_the_current_the_pending_or_the_last_episode(start_session, tmp_path):
    session = start_session()
    assert not session.rerecord(at(0)).ok
    session.start("wave", at(0))
    play(session, 0, 5)
    reply = session.rerecord(at(10))
    assert reply.ok and "discarded an episode of 5 frames" in reply.message
    play(session, 0, 30)
    assert session.status().frames == 20
    assert saved(session.stop()).frames == 20
    refused = session.rerecord(at(40), ["camera gripper: no sample"])
    assert not refused.ok and session.status().episodes == 1  # nothing is dropped before it can go on
    wait_for_savers(session)
    reply = session.rerecord(at(40))
    assert reply.ok and "took back episode 0" in reply.message
    play(session, 40, 25)
    assert saved(session.stop()).index == 0
    session.close()
    reader = DatasetReader(tmp_path / "set")
    assert [(reader.task_of(e.index), e.length) for e in reader.episodes] == [("wave", 25)]


def wait_for_savers(session):
    session._ended.saver._thread.submit(lambda: None).result(20)


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        ([at(20), at(20) - 3.0], r"clock jumped by -3\.\d\d s"),
        ([at(20), at(20) + 5.0], r"clock jumped by \+5\.\d\d s"),
        ([at(20), at(21)], ""),
    ],
)
def test_a_clock_that_jumps_ends_the_episode(start_session, steps, word):
    session = start_session()
    session.start("wave", at(0))
    play(session, 0, 20)
    for now in steps:
        session.check_faults(now)
    assert session.state == ("pending" if word else "recording")
    assert bool(re.search(word or "jumped", session.status().reason)) == bool(word)


def test_a_silent_stream_ends_the_episode_and_is_named(start_session, monkeypatch):
    steady = [0.0]
    monkeypatch.setattr(sessions.time, "monotonic", lambda: steady[0])
    session = start_session(silence_s=1.0)

    def pass_time(n):
        steady[0] = 0.1 * n
        session.check_faults(at(n), lambda: ["camera third_view: newest sample is 1.1 s old"])

    session.start("wave", at(0))
    for n in range(20):
        play(session, n, 1)
        pass_time(n)
    for n in range(20, 40):
        play(session, n, 1, spoil=lambda f: replace(f, problem="camera gripper: image is 8x8"))
        pass_time(n)
    status = session.status()
    assert (
        status.state == "pending" and "no good frame for 1.1 s: camera gripper: image is 8x8" in status.reason
    )
    assert status.dropped == 11
    session.discard()
    session.start("wave", at(40))
    for n in range(40, 60):
        pass_time(n)
    assert session.state == "idle"  # without a frame there is nothing to keep
    assert "camera third_view" in session.status().reason


def test_a_full_disk_refuses_and_ends_episodes(start_session, monkeypatch, tmp_path):
    free = [10e9]
    monkeypatch.setattr(DiskGauge, "free", lambda self: free[0])
    steady = [0.0]
    monkeypatch.setattr(sessions.time, "monotonic", lambda: steady[0])
    session = start_session(min_disk_bytes=1e9)
    assert session.start("wave", at(0)).ok
    assert session.status().minutes_left == pytest.approx(9e9 / (0.02 * 2 * 112 * 112 * 10) / 60)
    play(session, 0, 20)
    free[0], steady[0] = 0.9e9, 2.0
    session.check_faults(at(20))
    session.check_faults(at(20))
    assert session.state == "pending" and "0.90 GB left, allowed is at least 1.00" in session.status().reason
    assert saved(session.save()).frames == 20  # the floor leaves room for what was recorded
    reply = session.start("wave", at(30))
    assert not reply.ok and "GB left" in reply.message
    assert session.status().minutes_left == 0
    session.close()
    assert DatasetReader(tmp_path / "set").num_episodes == 1


def test_an_encoder_that_fails_loses_its_episode_alone(start_session, monkeypatch, tmp_path):
    session = start_session()
    session.start("wave", at(0))
    play(session, 0, 20)
    saved(session.stop())

    def fail(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VideoEncoder, "_encode", fail)
    session.start("wave", at(0))
    reply = None
    for n in range(20):
        play(session, n, 1)
    if session.state == "recording":
        reply = session.stop()
        with pytest.raises(RecordingError, match="No space left"):
            reply.saved.result(20)
        wait_for_savers(session)
    assert "episode lost" in session.status().reason and "No space left" in session.status().reason
    monkeypatch.undo()
    session.start("wave", at(0))
    play(session, 0, 22)
    assert saved(session.stop()).index == 1
    session.close()
    assert [e.length for e in DatasetReader(tmp_path / "set").episodes] == [20, 22]


def test_a_save_that_ends_late_does_not_cover_what_was_lost_meanwhile(start_session, monkeypatch):
    session = start_session()
    gate, commit = threading.Event(), session._writer.commit
    monkeypatch.setattr(session._writer, "commit", lambda *args: gate.wait(20) and commit(*args))
    session.start("wave", at(0))
    play(session, 0, 20)
    reply = session.stop()
    session.start("wave", at(2))
    lost = session.stop()
    assert not lost.ok and "no frame was recorded" in session.status().reason
    gate.set()
    saved(reply)
    wait_for_savers(session)
    assert session.status().reason == lost.message and session.status().episodes == 1


def test_closing_finishes_what_was_stopped_and_drops_the_rest(start_session, tmp_path):
    session = start_session()
    session.start("wave", at(0))
    play(session, 0, 20)
    session.stop()
    session.start("wave", at(0))
    play(session, 0, 7)
    session.close()
    assert [e.length for e in DatasetReader(tmp_path / "set").episodes] == [20]
    assert not list((tmp_path / "set").rglob("*.tmp"))


def test_commands_by_name(start_session):
    session = start_session()
    assert (
        run_command(session, "start pick up the cube", at(0)).ok and session.instruction == "pick up the cube"
    )
    assert run_command(session, "discard", at(0)).ok
    assert run_command(session, "toggle", at(0)).ok and session.state == "recording"  # same task again
    play(session, 0, 20)
    assert saved(run_command(session, "toggle", at(20))).task == "pick up the cube"
    assert session.state == "idle"
    reply = run_command(session, "dance", at(0))
    assert not reply.ok and "toggle" in reply.message
    assert not run_command(session, "save", at(0)).ok


def test_settings_out_of_range_are_refused():
    with pytest.raises(ParameterError, match="on_fail"):
        SessionSettings(on_fail="shrug")
    with pytest.raises(ParameterError, match="silence_s"):
        SessionSettings(silence_s=float(np.nan))


@pytest.mark.parametrize("task", ["\u200b", "\u2060 \u3164", "\ufeff\n"], ids=ascii)
def test_a_task_that_nobody_can_see_is_refused(start_session, tmp_path, task):
    session = start_session()
    for reply in (session.start(task, at(0)), run_command(session, f"start {task}", at(0))):
        assert not reply.ok and "allowed is a text" in reply.message and session.state == "idle"


def test_a_lost_episode_raises_an_alarm(tmp_path, lines, monkeypatch):
    alarms = []
    writer = DatasetWriter(tmp_path / "set", CONTRACT)
    settings = SessionSettings(min_disk_bytes=0.0)
    session = RecordingSession(writer, CONTRACT, settings, LENIENT, lines.append, alarm=alarms.append)

    def fail(*_):
        raise RecordingError("the disk is gone")

    session.start("wave", at(0))
    play(session, 0, 5)
    monkeypatch.setattr(writer, "commit", fail)
    with pytest.raises(RecordingError):
        session.stop().saved.result(20)
    session.close()
    assert alarms == ["episode lost: the disk is gone"] and not any("lost" in line for line in lines)


@pytest.mark.parametrize(
    ("report", "cause"),
    [
        (
            Report(at(0), "disarmed", "none", "not armed yet: call ~/arm"),
            "the controller let nothing move (not",
        ),
        (Report(at(0), "idle", "none"), "nobody led the arm"),
    ],
)
def test_an_arm_that_stands_still_is_explained_by_the_first_cause(start_session, tmp_path, report, cause):
    leader = Leader(replace(CONTRACT, teleop=replace(CONTRACT.teleop, route="direct")))  # else none begins
    session = start_session(leader)
    leader.hear(report)
    assert session.start("wave", at(0)).ok
    play(session, 0, 10, spoil=lambda frame: replace(frame, state=np.zeros(11)))
    message = session.stop().message
    assert re.search(rf"fail constant_joints: {re.escape(cause)}.*; \d of \d", message)
    first = next(check for check in message.split("fail ")[1:] if check.startswith("constant_joints"))
    assert first.index(cause) < first.index(" of ")


def test_a_file_system_that_tells_no_size_stops_nothing(tmp_path, monkeypatch):
    from vla_adapter_ros.recorder import disk

    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: disk.shutil._ntuple_diskusage(0, 0, 0))
    gauge = DiskGauge(tmp_path, CONTRACT, 1e9)
    assert gauge.shortage() == "" and np.isnan(gauge.minutes_left())
