"""Tasks that change inside an episode stay with their rows; and where an episode begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bag_samples import (
    START_NS,
    bag_of,
    controller_status,
    make_samples,
    recorder_status,
    text,
)
from foreign_samples import MAPPING, make_foreign, make_ours
from recording_samples import CONTRACT, make_frame

from vla_adapter_ros.cli.dataset_view import draw_dataset
from vla_adapter_ros.dataset.episode_head import HOLD_S, EpisodeHead
from vla_adapter_ros.dataset.leader import Leader, Report
from vla_adapter_ros.dataset.mapping import parse_mapping
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.quality.settings import read_settings
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.editing import TrimSettings, merge, split, trim_idle
from vla_adapter_ros.dataset.tools.importing import import_bag, import_lerobot
from vla_adapter_ros.dataset.tools.info import describe_dataset, overview
from vla_adapter_ros.dataset.tools.repair import repair_dataset
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.recorder.session import RecordingSession
from vla_adapter_ros.recorder.session_types import SessionSettings

SAID = ["reach"] * 3 + ["grasp"] * 2 + ["lift"] * 4


def record(root: Path, said: list[str] = SAID) -> DatasetReader:
    with DatasetWriter(root, CONTRACT) as writer:
        writer.start_episode(said[0])
        for n, task in enumerate(said):
            writer.add_frame(make_frame(n), 1, task=task)
        summary = writer.save_episode()
        assert summary.tasks == ("reach", "grasp", "lift") and summary.task == "reach"
        writer.start_episode("grasp")
        for n in range(4):
            writer.add_frame(make_frame(n, 1), 1)
        writer.save_episode()
    return DatasetReader(root)


@pytest.fixture
def ours(tmp_path) -> DatasetReader:
    return record(tmp_path / "ours")


def test_the_writer_keeps_the_task_of_each_row(ours):
    assert ours.tasks == ("reach", "grasp", "lift")
    assert ours.row_tasks(0) == SAID and ours.row_tasks(1) == ["grasp"] * 4
    assert ours.episodes[0].tasks == ("reach", "grasp", "lift")  # as LeRobot lists them
    assert ours.rows(0)["task_index"].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    levels = {check.name: check for check in check_dataset(ours.root).structure}
    assert levels["tasks"].level == "pass" and "1 episodes change it" in levels["tasks"].text
    assert "1 episodes change their task on the way" in overview(describe_dataset(ours.root))


def test_merge_split_trim_and_repair_keep_them(ours, tmp_path):
    (report, *_) = merge([ours, ours], tmp_path / "merged")
    assert "its task changes on the way: 'reach', 'grasp', 'lift'" in report.remarks
    assert DatasetReader(tmp_path / "merged").row_tasks(2) == SAID
    split(ours, {"part": [1, 0]}, tmp_path / "parts")
    part = DatasetReader(tmp_path / "parts/part")
    assert part.row_tasks(1) == SAID and part.tasks == ("grasp", "reach", "lift")
    trim_idle(ours, tmp_path / "trimmed", TrimSettings(idle_range=1e9))
    assert DatasetReader(tmp_path / "trimmed").row_tasks(0) == SAID
    (ours.root / "meta/stats.json").unlink()
    repair_dataset(ours.root, tmp_path / "repaired")
    assert DatasetReader(tmp_path / "repaired").row_tasks(0) == SAID


def test_a_cut_keeps_the_tasks_of_the_rows_that_stay(ours, tmp_path):
    from vla_adapter_ros.dataset.tools.importer import DatasetImporter

    with DatasetImporter(tmp_path / "cut", CONTRACT) as importer:
        importer.import_episode(ours, 0, range(2, 6))
    assert DatasetReader(tmp_path / "cut").row_tasks(0) == ["reach", "grasp", "grasp", "lift"]


def test_an_import_keeps_the_annotations_of_others(tmp_path):
    root = make_foreign(tmp_path / "set", make_ours(tmp_path / "ours", (8, 3, 3)))
    path = root / "data/chunk-000/episode_000000.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("task_index")
    changed = pa.array([0, 0, 0, 1, 1, 1, 0, 0], pa.int64())
    pq.write_table(table.set_column(at, "task_index", changed), path)
    report = import_lerobot(open_dataset(root, parse_mapping(MAPPING)), CONTRACT, tmp_path / "imported")
    said = ["wave"] * 3 + ["push"] * 3 + ["wave"] * 2
    assert DatasetReader(tmp_path / "imported").row_tasks(0) == said
    assert any("its task changes" in line for line in report.episodes[0].remarks)


def test_a_page_shows_when_the_task_changes(ours, tmp_path):
    page = draw_dataset(ours.root, tmp_path / "page", episodes=[0]).read_text()
    assert "from 0.0 s reach; from 0.3 s grasp; from 0.5 s lift" in page


# While recording


OFF = [float("inf")] * 2
# The made-up numbers are no motion of a robot.
LENIENT = read_settings(
    {"repeated_frames": OFF, "action_is_next_state": OFF, "state_limits": OFF, "action_limits": OFF}
    | {"frozen_camera": OFF, "action_jumps": OFF, "stuck_state": OFF}
)


def at(n: int) -> float:
    return 50.0 + 0.1 * n


@pytest.fixture
def session(tmp_path):
    leader = Leader(CONTRACT)
    writer = DatasetWriter(tmp_path / "set", CONTRACT)
    made = RecordingSession(writer, CONTRACT, SessionSettings(min_disk_bytes=0.0), LENIENT, leader=leader)
    yield made, leader
    made.close()


def play(session: RecordingSession, first: int, count: int) -> None:
    for n in range(first, first + count):
        session.add_frame(make_frame(n))


def test_a_task_given_in_motion_holds_from_then_on(session, tmp_path):
    session, _ = session
    session.start("reach", at(0))
    play(session, 0, 4)
    session.change_instruction("grasp", at(5) + 0.05)  # its frame comes later
    session.change_instruction("", at(5) + 0.06)  # stopping says nothing about the task
    play(session, 4, 6)
    assert session.instruction == "grasp"
    assert session.stop().saved.result(20).tasks == ("reach", "grasp")
    session.change_instruction("lift", at(11))  # no episode is being recorded
    session.start("", at(12))
    play(session, 12, 10)
    session.stop().saved.result(20)
    session.close()
    reader = DatasetReader(tmp_path / "set")
    assert reader.row_tasks(0) == ["reach"] * 6 + ["grasp"] * 4
    assert set(reader.row_tasks(1)) == {"grasp"}


def test_an_episode_begins_with_the_first_command(session, tmp_path):
    session, leader = session
    leader.hear(Report(at(0), "idle", "none"))
    session.start("wave", at(0))
    for n in range(0, 40):
        if n == 33:
            leader.hear(Report(at(30) - 0.01, "running", "human"))  # word of it comes 0.3 s late
        elif n % 5 == 0 and n < 30:
            leader.hear(Report(at(n), "idle", "none"))
        play(session, n, 1)
        session.check_faults(at(n))
    assert session.state == "recording" and session.status().frames == 10
    session.stop().saved.result(20)
    session.close()
    reader = DatasetReader(tmp_path / "set")
    rows = reader.rows(0)
    assert rows["control_source"].tolist() == [1] * 10 and rows["capture.stamp"][0] == pytest.approx(at(30))
    np.testing.assert_allclose(rows["action"][0], make_frame(30).action, rtol=1e-6)
    wanted = make_frame(30).images["third_view"].astype(int)
    assert np.abs(reader.image("third_view", 0, 0) - wanted).mean() < 4  # images follow the rows


def test_without_a_controller_every_row_stays(session):
    session, _ = session
    session.start("wave", at(0))
    play(session, 0, 10)
    assert session.stop().saved.result(20).frames == 10


def test_frames_are_held_for_a_bounded_time():
    head, frames = EpisodeHead(), [make_frame(n) for n in range(20)]
    passed = [len(head.add_frame(frame, "", lambda stamp: 0)[0]) for frame in frames]
    assert sum(passed) + head.held == 20 and head.held == round(10 * HOLD_S) + 1
    later, begins = head.add_frame(
        replace(make_frame(20), problem="late"), "", lambda stamp: stamp > at(17) - 0.01
    )
    assert begins and [round(10 * (f.stamp - 50)) for f, _ in later] == [17, 18, 19, 20]
    frames, begins = head.add_frame(make_frame(21), "", lambda stamp: 0)
    assert len(frames) == 1 and not begins  # a pause in the middle stays


def test_a_bag_begins_and_changes_as_the_recorder_does(tmp_path):
    samples = make_samples(CONTRACT, 3.0, 0, longest_delay_s=0.01)
    said = (("reach", 0), ("lift", 2_000_000_000), ("", 2_100_000_000))
    more = [("/instruction", START_NS + since, text(words)) for words, since in said]
    for n in range(60):
        time = START_NS + n * 50_000_000
        state, source = "recording" if n > 4 else "idle", "human" if n >= 20 else "none"
        more.append(("/recorder/status", time + 500_000, recorder_status(time, state, 0)))
        source = "human" if n >= 20 else "none"
        more.append(("/controller/status", time + 1_000_000, controller_status(time, source)))
    bag = bag_of(tmp_path / "bag", CONTRACT, samples, more)
    (episode,) = import_bag(bag, CONTRACT, tmp_path / "set").episodes
    reader = DatasetReader(tmp_path / "set")
    rows = reader.rows(0)
    time = rows["capture.stamp"] - 1e-9 * START_NS
    assert 1.0 <= time[0] < 1.15 and set(rows["control_source"]) == {1}
    assert reader.row_tasks(0) == ["reach" if t < 2.0 else "lift" for t in time]
    assert "its task changes on the way: 'reach', 'lift'" in episode.remarks
