"""Hand guiding: nobody commands the arm, and a row's action is what the state says one row later."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import two_hands

from vla_adapter_ros.contract import contract_differences, parse_contract, read_contract, require_same
from vla_adapter_ros.dataset.leader import Leader, Report
from vla_adapter_ros.dataset.next_state import NextState
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.editing import merge
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import ContractError, ContractMismatch
from vla_adapter_ros.observation.builder import ObservationBuilder
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.recorder.session import RecordingSession
from vla_adapter_ros.recorder.session_types import SessionSettings

HZ = 10.0


def guided(**action) -> dict:
    """The two arms with hands, guided by hand: no teleop, and next states for actions."""
    data = two_hands.raw()
    del data["teleop"]
    data["action"] |= {"source": "next_state"} | action
    return data


CONTRACT = parse_contract(guided())


def make_frame(n: int, problem: str = "") -> Frame:
    """What the streams of the arms say at row n; nobody commands."""
    frame = two_hands.make_frame(n)
    images = {
        name: np.roll(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3), 7 * n, 1)
        for name in frame.images
    }
    ages = dict.fromkeys((*CONTRACT.cameras, *two_hands.TOPICS), 0.0)
    action = np.full(6, np.nan)
    return dataclasses.replace(frame, images=images, action=action, ages=ages, problem=problem)


def states(count: int) -> np.ndarray:
    return np.array([make_frame(n).state for n in range(count)])


@pytest.fixture
def start_session(tmp_path):
    made = []

    def make(contract=CONTRACT, leader=None, root=tmp_path / "set"):
        writer = DatasetWriter(root, contract)
        made.append(RecordingSession(writer, contract, SessionSettings(min_disk_bytes=0.0), leader=leader))
        return made[-1]

    yield make
    for session in made:
        session.close()


def record(session: RecordingSession, frames) -> RecordingSession:
    assert session.start("lift the box", 100.0).ok
    for frame in frames:
        session.add_frame(frame)
    return session


def rows_of(session: RecordingSession, root) -> dict[str, np.ndarray]:
    reply = session.stop()
    assert reply.ok, reply.message
    reply.saved.result(20)
    session.close()
    return DatasetReader(root).rows(0)


def test_the_action_of_a_row_is_the_state_of_the_next(start_session, tmp_path):
    session = record(start_session(), [make_frame(n) for n in range(30)])
    rows = rows_of(session, tmp_path / "set")
    state, action = rows["observation.state"], rows["action"]
    assert len(action) == 29  # the last has no next
    following = states(30)[1:]
    arms = [0, 1, 3, 4]
    np.testing.assert_allclose(action[:, arms], following[:, arms], atol=1e-6)
    np.testing.assert_array_equal(action[:, 2], following[:, 2] > 0.02)  # binary
    np.testing.assert_allclose(action[:, 5], (0.08 - following[:, 5]) / 0.06, atol=1e-5)  # 0 open, 1 closed
    np.testing.assert_array_equal(state[:, arms], states(29)[:, arms].astype(np.float32))
    assert set(rows["control_source"]) == {1}  # a human's
    report = {line.split(":")[0]: line for line in session.status().report_lines}
    assert "pass action_is_next_state" in report and "pass unled_rows" in report
    assert not any(line.startswith("fail") for line in report)


def test_the_data_set_says_where_its_actions_come_from(start_session, tmp_path):
    rows_of(record(start_session(), [make_frame(n) for n in range(30)]), tmp_path / "set")
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert info["features"]["action"]["info"] == {"source": "next_state"}
    assert info["features"]["capture.age"]["names"] == ["top", "left_wrist", *two_hands.TOPICS]
    assert read_contract(tmp_path / "set/meta/contract.yaml").action.source == "next_state"
    report = check_dataset(tmp_path / "set")
    assert report.episodes[0]["action_is_next_state"].level == "pass"
    commands = dataclasses.replace(CONTRACT, action=dataclasses.replace(CONTRACT.action, source="command"))
    told = check_dataset(two_hands.make_set(tmp_path / "told", parse_contract(two_hands.raw())))
    assert told.episodes[0]["action_is_next_state"].level == "pass"  # 0.02 rad ahead of the state
    assert contract_differences(CONTRACT, commands) == []  # a checkpoint fits both


def test_an_action_that_is_none_is_found(start_session, tmp_path):
    rows = rows_of(record(start_session(), [make_frame(n) for n in range(30)]), tmp_path / "set")
    with DatasetWriter(tmp_path / "wrong", CONTRACT) as writer:
        writer.start_episode("lift the box")
        for n, action in enumerate(np.roll(rows["action"], 5, axis=0).astype(float)):
            writer.add_frame(dataclasses.replace(make_frame(n), action=action), 1)
        writer.save_episode()
    found = check_dataset(tmp_path / "wrong").episodes[0]["action_is_next_state"]
    assert found.level == "fail" and "0.0% of moving rows, as action.source says" in found.text


def test_commands_and_next_states_do_not_come_into_one_data_set(start_session, tmp_path):
    rows_of(record(start_session(), [make_frame(n) for n in range(30)]), tmp_path / "set")
    told = two_hands.make_set(tmp_path / "told", two_hands.CONTRACT)
    words = "action.source: 'next_state' here, 'command' there"
    with pytest.raises(ContractMismatch, match=words):
        merge([open_dataset(tmp_path / "set"), open_dataset(told)], tmp_path / "both")
    with pytest.raises(ContractMismatch, match=words):
        DatasetWriter(told, CONTRACT)
    require_same(CONTRACT, two_hands.CONTRACT, "a checkpoint")  # which fits both


def test_a_gap_leaves_out_the_row_before_it(start_session, tmp_path):
    frames = [make_frame(n, "camera top: late" * (n == 12)) for n in range(40) if n != 20]
    session = record(start_session(), frames)
    assert session.status().dropped == 3  # 12, 11 before it, and 19
    assert "10.3%" in session.stop().message  # it fails: gaps are no small thing
    session.save().saved.result(20)
    rows = DatasetReader(tmp_path / "set").rows(0)
    kept = [n for n in range(39) if n not in (11, 12, 19, 20)]
    np.testing.assert_allclose(rows["capture.stamp"], [100.0 + 0.1 * n for n in kept])
    np.testing.assert_allclose(rows["action"][:, 0], states(41)[[n + 1 for n in kept], 0], atol=1e-6)


def test_bad_frames_at_the_end_count(start_session):
    session = record(start_session(), [make_frame(n, "camera top: late" * (n > 20)) for n in range(24)])
    assert "4 frames (16.7%)" in session.stop().message  # 21 to 23, and 20 before them
    assert session.status().dropped == 4 and session.status().frames == 20


def test_what_is_between_frames_keeps_its_place():
    items = [make_frame(0), "a", make_frame(1, "late"), make_frame(2), "b", make_frame(3), "c"]
    given = list(NextState(CONTRACT).with_actions(items))
    told = [
        item if isinstance(item, str) else (round(10 * item.stamp) - 1000, item.problem) for item in given
    ]
    assert told == [
        (0, "no good row follows it, from whose state its action would come"), "a", (1, "late"),
        (2, ""), "b", "c",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "mode"), [("disarmed", "drive"), ("stopped", "drive"), ("running", "dry_run")]
)
def test_a_controller_out_of_the_way_does_not_matter(start_session, tmp_path, state, mode):
    leader = Leader(CONTRACT)
    leader.hear(Report(100.0, state, "none", "not armed yet: call ~/arm", mode))
    session = record(start_session(leader=leader), [make_frame(n) for n in range(20)])  # it falls silent
    assert set(rows_of(session, tmp_path / "set")["control_source"]) == {1}
    assert not any("controller" in line for line in session.status().report_lines)


def test_an_armed_controller_refuses_the_start_and_fails_an_episode(start_session):
    leader = Leader(CONTRACT)
    session = start_session(leader=leader)
    leader.hear(Report(100.0, "idle", "none"))
    refusal = session.start("lift the box", 100.0)
    assert not refusal.ok and "the controller is armed (idle)" in refusal.message
    assert "`vla-adapter stop`" in refusal.message and "dry_run" in refusal.message
    leader.hear(Report(100.0, "disarmed", "none", "not armed yet: call ~/arm"))
    record(session, [make_frame(n) for n in range(5)])
    leader.hear(Report(100.5, "idle", "none"))  # somebody arms it
    for n in range(5, 40):
        session.add_frame(make_frame(n))
    assert session.stop().ok
    lines = "; ".join(session.status().report_lines)
    assert "warn controller: nothing could move from 0.5 s on: the controller is armed (idle)" in lines
    assert "34 rows led by nobody" in lines


def test_frames_need_no_command_but_that_of_a_gripper_which_has_a_topic():
    data = guided()
    data["topics"]["/left/grip"] = {"type": "float64_array", "joints": ["left_grip"], "max_age_s": 3600.0}
    data["action"]["dimensions"][2]["topic"] = "/left/grip"
    contract = parse_contract(data)
    measured = {"top", "left_wrist", *two_hands.TOPICS}
    assert set(ObservationBuilder(CONTRACT, with_action=True).streams) == measured
    assert set(ObservationBuilder(contract, with_action=True).streams) == {*measured, "/left/grip"}
    builder = ObservationBuilder(contract, with_action=True)
    builder.add_values("/left/grip", 90.0, 90.0, ["left_grip"], [0.25])
    frames = []
    for n in range(3):
        stamp = 100.0 + n / HZ
        for topic in two_hands.TOPICS:
            builder.add_joint_state(topic, stamp, stamp, ("finger", "elbow", "waist"), (0.01, 0.2, 0.1 * n))
        for camera in contract.cameras:
            builder.add_image(camera, stamp, stamp, np.zeros((48, 64, 3), np.uint8))
        frames += builder.take_frames(stamp + 0.06)
    assert [frame.problem for frame in frames] == [""] * 3
    (first, second) = NextState(contract).with_actions(frames)
    assert first.action[:3].tolist() == pytest.approx([0.1, 0.2, 0.25])  # the gripper's is its command
    assert second.action[0] == pytest.approx(0.2)


def test_displacements_and_tool_poses():
    delta = parse_contract(guided(space="joint_delta", delta_reference="measured"))
    (frame, _) = NextState(delta).with_actions([make_frame(n) for n in range(3)])
    whole = states(2)
    assert frame.action[[0, 1, 3, 4]] == pytest.approx((whole[1] - whole[0])[[0, 1, 3, 4]])
    assert frame.action[2] == 1.0  # a gripper's is no displacement
    data = guided(space="ee_pose", dimensions=[{"name": n, "unit": "rad" if "r" in n else "m"} for n in
                                               ("x", "y", "z", "rx", "ry", "rz")])  # fmt: skip
    del data["grippers"]
    data["kinematics"] = {"urdf": "robot_description", "base_link": "base", "tool_link": "tool"}
    with pytest.raises(ContractError, match=r"position.x to orientation.w of a pose topic"):
        parse_contract(data)
    data["topics"]["/tool"] = {"type": "pose"}
    data["state"] += [
        {"name": field, "topic": "/tool", "field": field, "unit": "1"}
        for field in ("orientation.z", "orientation.w", "orientation.x", "orientation.y",
                      "position.z", "position.x", "position.y")
    ]  # fmt: skip
    quarter = np.sqrt(0.5)
    state = np.array([*np.zeros(6), quarter, quarter, 0.0, 0.0, 0.3, 0.1, 0.2])
    action = NextState(parse_contract(data)).action_of(np.zeros(13), state)
    assert action == pytest.approx([0.1, 0.2, 0.3, 0.0, 0.0, np.pi / 2])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"space": "ee_delta"}, "next_state in joint_position, joint_delta, ee_pose; else command"),
        ({"space": "joint_delta", "delta_reference": "chunk_start"}, "delta_reference measured or commanded"),
        ({"source": "state"}, "'state': allowed is one of 'command' or 'next_state'"),
    ],
)
def test_what_cannot_be_is_said_at_load(change, words):
    with pytest.raises(ContractError, match=words):
        parse_contract(guided(**change))


def test_a_human_who_commands_needs_a_topic():
    data = guided()
    data["action"]["source"] = "command"
    with pytest.raises(ContractError, match=r"teleop.topic = '': allowed is one with no groups"):
        parse_contract(data)
