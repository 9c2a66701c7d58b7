"""What the recorder removes, refuses and ignores in a folder that is there already."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from recording_samples import CONTRACT, make_frame, record

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import RecordingError, VlaAdapterError


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def refuse(root: Path, match: str) -> None:
    """The start is refused in one sentence, and nothing was touched."""
    before = everything(root)
    with pytest.raises(VlaAdapterError, match=match) as caught:
        DatasetWriter(root, CONTRACT)
    assert "\n" not in str(caught.value) and "allowed" in str(caught.value)
    assert everything(root) == before


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "set"
    with DatasetWriter(root, CONTRACT) as writer:
        record(writer, "a", 3)
    return root


@pytest.fixture
def root(tmp_path, whole) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "set"))


def test_one_episode_without_info_is_kept(root):
    (root / "meta/info.json").unlink()
    refuse(root, r"file-000\.parquet.*repair")


def test_a_foreign_set_without_info_is_kept(tmp_path):
    for name in ("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet",
                 "videos/observation.images.top/chunk-000/file-000.mp4", "meta/tasks.parquet"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"five episodes")
    refuse(tmp_path, "tasks.parquet|file-000")


def test_a_folder_of_measurements_is_kept(tmp_path):
    (tmp_path / "data/run-1").mkdir(parents=True)
    (tmp_path / "data/run-1/measure-7.csv").write_text("1,2\n")
    refuse(tmp_path, r"measure-7\.csv")


@pytest.mark.parametrize("part", ["data", "videos", "meta"])
@pytest.mark.parametrize("started", [True, False])
def test_a_linked_folder_is_refused(tmp_path, root, part, started):
    target = tmp_path / "elsewhere"
    if started:
        (root / part).rename(target)
    else:
        shutil.rmtree(root)
        root.mkdir()
        (target / "chunk-000").mkdir(parents=True)
        (target / "chunk-000/file-000.parquet").write_bytes(b"mine")
    (root / part).symlink_to(target)
    before = everything(target)
    refuse(root, "link")
    assert everything(target) == before


def test_a_linked_file_is_refused(root, tmp_path):
    path = root / "data/chunk-000/file-000.parquet"
    path.rename(tmp_path / "mine.parquet")
    path.symlink_to(tmp_path / "mine.parquet")
    refuse(root, "link")


def test_files_that_nothing_counts_are_kept(root):
    for name in ("data/chunk-000/file-001.parquet", "data/chunk-000/other.parquet",
                 "videos/observation.images.gripper/chunk-000/take-000000.mp4.tmp"):  # fmt: skip
        (root / name).write_bytes(b"mine")
        refuse(root, Path(name).name.replace(".", r"\."))
        (root / name).unlink()


def test_clutter_does_not_stop_the_start(root):
    clutter = [".DS_Store", "Thumbs.db", "notes.txt", "data/.DS_Store", "data/chunk-000/Thumbs.db",
               "videos/notes.txt", "meta/.DS_Store", "pictures.zip"]  # fmt: skip
    for name in clutter:
        (root / name).write_bytes(b"clutter")
    with DatasetWriter(root, CONTRACT) as writer:
        record(writer, "b", 3)
    assert DatasetReader(root).num_episodes == 2
    assert all((root / name).read_bytes() == b"clutter" for name in clutter)


def test_clutter_alone_is_an_empty_folder(tmp_path):
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / name).touch()
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        record(writer, "a", 3)
    assert DatasetReader(tmp_path).num_episodes == 1


def test_no_list_of_unfinished_files_stays(root):
    with DatasetWriter(root, CONTRACT) as writer:
        writer.start_episode("b")
        listed = json.loads((root / "meta/unfinished.json").read_text())["unfinished"]
        assert len(listed) == 2 and all(name.endswith("take-000000.mp4.tmp") for name in listed)
        writer.discard_episode()
        assert not (root / "meta/unfinished.json").exists()
        record(writer, "b", 3)
        writer.undo_episode()
    assert not (root / "meta/unfinished.json").exists()


def test_a_list_that_was_being_begun_at_a_kill_is_gone_after_the_next_start(root):
    (root / "meta/unfinished.json.tmp").write_text('{"unfin')
    with DatasetWriter(root, CONTRACT) as writer:
        assert writer.num_episodes == 1
    assert not (root / "meta/unfinished.json.tmp").exists()


def test_a_list_by_a_stranger_removes_nothing_else(root, tmp_path):
    (tmp_path / "victim").write_text("mine")
    counted = "data/chunk-000/file-000.parquet"
    (root / "meta/unfinished.json").write_text(json.dumps({"unfinished": [counted, "meta/info.json"]}))
    with DatasetWriter(root, CONTRACT) as writer:
        assert writer.num_episodes == 1
    assert len(DatasetReader(root).rows(0)["index"]) == 3
    for names in (["../victim"], ["data/../../victim"], ["notes.txt"], [7], {}, None):
        (root / "meta/unfinished.json").write_text(json.dumps({"unfinished": names}))
        with pytest.raises(VlaAdapterError, match="unfinished"):
            DatasetWriter(root, CONTRACT)
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_folder_removed_while_recording_ends_the_recording(root, made_anew):
    with DatasetWriter(root, CONTRACT) as writer:
        record(writer, "b", 3)
        writer.start_episode("c")
        shutil.rmtree(root)
        if made_anew:
            (root / "meta").mkdir(parents=True)
        writer.discard_episode()
        for attempt in (lambda: record(writer, "d", 3), writer.undo_episode):
            with pytest.raises(RecordingError, match="removed, moved or replaced"):
                attempt()
    assert not everything(root)


@pytest.mark.parametrize("lost", ["", "meta", "data", "videos", "meta/info.json"])
def test_what_is_lost_during_an_episode_is_not_counted(root, lost):
    with DatasetWriter(root, CONTRACT) as writer:
        writer.start_episode("b")
        writer.add_frame(make_frame(0), 1)
        path = root / lost
        path.unlink() if path.is_file() else shutil.rmtree(path)
        with pytest.raises(RecordingError):
            writer.save_episode()
        assert not (root / "meta/info.json").exists() or lost in ("data", "videos")
        with pytest.raises(RecordingError, match=r"removed, moved or replaced|info\.json"):
            writer.start_episode("c")


def test_a_place_that_is_no_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file/set", tmp_path / ("x" * 300)):
        with pytest.raises(VlaAdapterError, match="cannot be a data set's folder") as caught:
            DatasetWriter(root, CONTRACT)
        assert "\n" not in str(caught.value)
