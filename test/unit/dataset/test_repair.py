"""Repair: what a crash leaves is saved into a new data set, and the old one stays as it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from killed_writer import kill_while_saving
from recording_samples import CONTRACT, make_frame, record

from vla_adapter_ros.dataset.quality.checks import BY_NAME, Need
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.repair import repair_dataset
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError

TASKS = ("lift", "push", "lift")
LENGTHS = (4, 6, 5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "set"
    with DatasetWriter(root, CONTRACT) as writer:
        for seed, (task, length) in enumerate(zip(TASKS, LENGTHS, strict=True)):
            record(writer, task, length, seed=seed)
    return root


@pytest.fixture
def wreck(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "wreck"))


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def forget_the_last(root: Path) -> None:
    """As after a crash just before info.json: everything else is written."""
    info = json.loads((root / "meta/info.json").read_text())
    info |= {"total_episodes": 2, "total_frames": 10, "splits": {"train": "0:2"}}
    (root / "meta/info.json").write_text(json.dumps(info))


def repaired(root: Path):
    """Repair, make sure that nothing old changed and that the new one is sound; its reader and outcome."""
    before = contents(root)
    outcome = repair_dataset(root)
    assert contents(root) == before
    assert outcome.output == root.with_name("wreck_repaired")
    reader = DatasetReader(outcome.output)
    assert reader.num_episodes == outcome.kept
    report = check_dataset(outcome.output)
    for check in report.structure:  # the made-up numbers are no motion of a robot
        assert check.level == "pass" or Need.FILES not in BY_NAME[check.name].needs, check.line
    for episode in reader.episodes:
        (seed,) = np.flatnonzero([length == episode.length for length in LENGTHS])
        frames = [make_frame(n, seed=int(seed)) for n in range(episode.length)]
        assert reader.task_of(episode.index) == TASKS[seed]
        np.testing.assert_array_equal(
            reader.rows(episode.index)["action"], np.float32([frame.action for frame in frames])
        )
        images = reader.decode("gripper", episode.index).astype(int)
        wanted = np.stack([frame.images["gripper"] for frame in frames])
        assert np.abs(images - wanted).mean(axis=(1, 2, 3)).max() < 6
    values = np.concatenate([reader.rows(n)["action"] for n in range(reader.num_episodes)])
    np.testing.assert_allclose(reader.stats["action"]["mean"], values.mean(axis=0), atol=1e-6)
    with DatasetWriter(outcome.output, CONTRACT) as writer:  # recording goes on
        assert record(writer, "go on", 3, seed=1).index == outcome.kept
    assert contents(root) == before  # although the videos are shared
    return reader, outcome


def lengths(reader: DatasetReader) -> list[int]:
    return [episode.length for episode in reader.episodes]


def test_a_whole_data_set_is_left_alone(wreck):
    outcome = repair_dataset(wreck)
    assert (outcome.output, outcome.kept, outcome.dropped, outcome.recovered) == (None, 3, (), ())
    assert "nothing to repair" in outcome.lines[-1]
    assert not wreck.with_name("wreck_repaired").exists()


def test_complete_episodes_that_were_not_committed_are_recovered(wreck):
    forget_the_last(wreck)
    assert DatasetReader(wreck).num_episodes == 2
    reader, outcome = repaired(wreck)
    assert lengths(reader) == [4, 6, 5]
    assert outcome.recovered == ("episode 2 was complete but not committed",)
    assert outcome.dropped == ()


def test_without_info_and_stats(wreck):
    (wreck / "meta/info.json").write_text("")
    (wreck / "meta/stats.json").unlink()
    reader, outcome = repaired(wreck)
    assert lengths(reader) == [4, 6, 5]
    assert any("info.json" in text for text in outcome.recovered)


def test_stats_alone_are_made_anew(wreck):
    (wreck / "meta/stats.json").unlink()
    reader, outcome = repaired(wreck)
    assert lengths(reader) == [4, 6, 5]
    assert "stats.json" in outcome.recovered[0]


def test_a_truncated_table_of_facts_costs_nothing(wreck):
    cut(wreck / "meta/episodes/chunk-000/file-002.parquet")
    (wreck / "meta/tasks.parquet").write_bytes(b"")
    with pytest.raises(DatasetError):
        DatasetReader(wreck)
    reader, outcome = repaired(wreck)
    assert lengths(reader) == [4, 6, 5]
    assert any("facts of episode 2" in text for text in outcome.recovered)
    assert any("tasks.parquet" in text for text in outcome.recovered)


@pytest.mark.parametrize(
    ("damage", "victim", "kept"),
    [
        (cut, "data/chunk-000/file-002.parquet", [4, 6]),
        (Path.unlink, "data/chunk-000/file-001.parquet", [4, 5]),
        (cut, "videos/observation.images.gripper/chunk-000/file-002.mp4", [4, 6]),
        (Path.unlink, "videos/observation.images.third_view/chunk-000/file-000.mp4", [6, 5]),
    ],
)
def test_a_damaged_episode_is_dropped_and_the_others_close_ranks(wreck, damage, victim, kept):
    damage(wreck / victim)
    reader, outcome = repaired(wreck)
    assert lengths(reader) == kept
    assert len([text for text in outcome.dropped if text.startswith("episode ")]) == 1
    assert any(Path(victim).name in text for text in outcome.dropped)
    assert reader.rows(1)["index"].tolist() == list(range(kept[0], sum(kept)))
    notes = json.loads((outcome.output / "meta/recordings.json").read_text())["episodes"]
    assert [entry["episode"] for entry in notes][:2] == [0, 1]


def test_a_video_of_another_length_is_dropped(wreck):
    folder = wreck / "videos/observation.images.gripper/chunk-000"
    shutil.copy(folder / "file-001.mp4", folder / "file-000.mp4")
    reader, outcome = repaired(wreck)
    assert lengths(reader) == [6, 5]
    assert "6 images, 4 rows" in outcome.dropped[0]


def test_an_episode_whose_instruction_was_not_written_is_dropped(wreck):
    forget_the_last(wreck)
    (wreck / "meta/episodes/chunk-000/file-001.parquet").unlink()
    tasks = pq.read_table(wreck / "meta/tasks.parquet")
    pq.write_table(tasks.slice(0, 1), wreck / "meta/tasks.parquet")
    reader, outcome = repaired(wreck)
    assert lengths(reader) == [4, 5]
    assert "instruction" in outcome.dropped[0]


def test_unfinished_files_are_named_and_left(wreck):
    forget_the_last(wreck)
    names = ["data/chunk-000/file-003.parquet.tmp", "meta/info.json.tmp",
             "videos/observation.images.gripper/chunk-000/take-000000.mp4.tmp"]  # fmt: skip
    for name in names:
        (wreck / name).write_bytes(b"half")
    _, outcome = repaired(wreck)
    assert outcome.leftovers == tuple(sorted(names))
    assert not list(outcome.output.rglob("*.tmp"))


def test_refusals(wreck, tmp_path):
    with DatasetWriter(wreck, CONTRACT), pytest.raises(DatasetError, match="another process"):
        repair_dataset(wreck)
    with pytest.raises(DatasetError, match="no folder meta"):
        repair_dataset(tmp_path / "nothing")
    forget_the_last(wreck)
    (tmp_path / "there").mkdir()
    with pytest.raises(DatasetError, match="exists"):
        repair_dataset(wreck, tmp_path / "there")
    assert not os.listdir(tmp_path / "there")
    for video in wreck.rglob("*.mp4"):
        video.unlink()
    with pytest.raises(DatasetError, match="no episode is whole"):
        repair_dataset(wreck, tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["there", "wreck"]
    (wreck / "meta/contract.yaml").unlink()
    (wreck / "meta/info.json").unlink()
    with pytest.raises(DatasetError, match="without a contract"):
        repair_dataset(wreck, tmp_path / "new")


@pytest.mark.parametrize(
    ("moment", "kept", "said"), [("/data/", 1, "nothing"), ("stats", 2, "not committed")]
)
def test_after_a_kill_while_saving(tmp_path, moment, kept, said):
    root = tmp_path / "set"
    kill_while_saving(root, moment)
    outcome = repair_dataset(root)
    assert outcome.kept == kept
    assert said in "\n".join(outcome.lines)
    assert outcome.leftovers
    if outcome.output is not None:
        assert [e.length for e in DatasetReader(outcome.output).episodes] == [4, 5]
