"""Several episodes per file: nothing but the place of rows and images changes, and nothing is ever lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_samples import make_ours
from recording_samples import CONTRACT, record

from vla_adapter_ros import files
from vla_adapter_ros.cli.main import main
from vla_adapter_ros.dataset import joining, layout
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.consolidate import consolidate, consolidate_in_place, has_file_per_episode
from vla_adapter_ros.dataset.tools.editing import split, trim_idle
from vla_adapter_ros.dataset.tools.new_folder import clear_unfinished, new_folder
from vla_adapter_ros.dataset.tools.repair import repair_dataset
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> DatasetReader:
    return make_ours(tmp_path_factory.mktemp("ours") / "set")


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def assert_same(new: DatasetReader, old: DatasetReader) -> None:
    assert [e.length for e in new.episodes] == [e.length for e in old.episodes]
    assert new.tasks == old.tasks and new.stats == old.stats and new.features == old.features
    for episode in range(old.num_episodes):
        ours, theirs = new.rows(episode), old.rows(episode)
        assert list(ours) == list(theirs)
        for name, column in theirs.items():
            assert ours[name].dtype == column.dtype
            np.testing.assert_array_equal(ours[name], column, err_msg=name)
        for camera in old.video_cameras:
            np.testing.assert_array_equal(new.decode(camera, episode), old.decode(camera, episode))
            last = old.episodes[episode].length - 1
            np.testing.assert_array_equal(new.image(camera, episode, last), old.image(camera, episode, last))


def facts_of(root: Path) -> pa.Table:
    return pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet")


def test_rows_images_and_times_stay_and_files_are_joined(tmp_path, ours):
    before = everything(ours.root)
    done = consolidate(ours.root, tmp_path / "new")
    assert everything(ours.root) == before
    assert (done.data_files, done.video_files, done.before) == (1, 2, (3, 6))
    new = DatasetReader(tmp_path / "new")
    assert_same(new, ours)
    names = {str(p.relative_to(new.root)) for p in new.root.rglob("*") if p.is_file()}
    assert {n for n in names if "chunk" in n} == {
        "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet",
        "videos/observation.images.third_view/chunk-000/file-000.mp4",
        "videos/observation.images.gripper/chunk-000/file-000.mp4",
    }  # fmt: skip
    assert {layout.CONTRACT, layout.HISTOGRAMS, layout.RECORDINGS} < names
    facts = facts_of(new.root)
    key = "videos/observation.images.gripper"
    assert facts[f"{key}/from_timestamp"].to_pylist() == [0.0, 1.2, 2.1]
    assert facts[f"{key}/to_timestamp"].to_pylist() == [1.2, 2.1, 3.6]
    for place in ("data/", f"{key}/", "meta/episodes/"):
        assert facts[f"{place}file_index"].to_pylist() == [0, 0, 0]
    data = pq.ParquetFile(new.root / "data/chunk-000/file-000.parquet").metadata
    assert [data.row_group(n).num_rows for n in range(data.num_row_groups)] == [12, 9, 15]
    assert has_file_per_episode(ours) and not has_file_per_episode(new)


def test_files_keep_to_the_sizes_that_info_json_says(tmp_path, ours):
    root = shutil.copytree(ours.root, tmp_path / "old")
    sizes = [p.stat().st_size for p in sorted(root.glob("videos/*gripper/*/*.mp4"))]
    info = json.loads((root / layout.INFO).read_text())
    info |= {"data_files_size_in_mb": 1e-6, "video_files_size_in_mb": (sizes[0] + sizes[1]) / 1e6}
    (root / layout.INFO).write_text(json.dumps(info))
    done = consolidate(root, tmp_path / "new")
    assert done.data_files == 3
    facts = facts_of(done.root)
    assert facts["videos/observation.images.gripper/file_index"].to_pylist() == [0, 0, 1]
    assert facts["videos/observation.images.gripper/from_timestamp"].to_pylist() == [0.0, 1.2, 0.0]
    assert_same(DatasetReader(done.root), ours)


def test_a_file_stays_short_enough_for_times_in_single_precision(tmp_path, ours, monkeypatch):
    monkeypatch.setattr(joining, "LONGEST_VIDEO_S", 2.2)
    done = consolidate(ours.root, tmp_path / "new")
    assert facts_of(done.root)["videos/observation.images.third_view/file_index"].to_pylist() == [0, 0, 1]
    assert_same(DatasetReader(done.root), ours)


def test_videos_that_were_encoded_otherwise_begin_a_new_file(tmp_path, ours):
    root = shutil.copytree(ours.root, tmp_path / "old")
    with DatasetWriter(root, CONTRACT, codec="av1") as writer:
        record(writer, "lift", 7, seed=5)
    with DatasetWriter(root, CONTRACT, gop=4) as writer:
        record(writer, "lift", 6, seed=6)
    done = consolidate(root, tmp_path / "new")
    facts = facts_of(done.root)
    assert facts["videos/observation.images.gripper/file_index"].to_pylist() == [0, 0, 0, 1, 2]
    assert_same(DatasetReader(done.root), DatasetReader(root))


def encode(path: Path, images: np.ndarray, fps: int, **options: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, fps)
        stream.options = {"crf": "12", "g": "5", **options}
        for n, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_others_with_b_frames_images_in_rows_and_shared_files(tmp_path, ours):
    """A set by others: B-frames, PNG columns and texts, two episodes in one file, columns of one's own."""
    root = shutil.copytree(ours.root, tmp_path / "old")
    for unwanted in (layout.CONTRACT, layout.HISTOGRAMS, layout.RECORDINGS):
        (root / unwanted).unlink()
    info = json.loads((root / layout.INFO).read_text())
    info["features"]["note"] = {"dtype": "string", "shape": [1], "names": None}
    info["features"]["observation.images.eye"] = {"dtype": "image", "shape": [2, 2, 3], "names": None}
    (root / layout.INFO).write_text(json.dumps(info))
    for n, path in enumerate(sorted(root.glob("data/*/*.parquet"))):
        table = pq.read_table(path)
        cells = [{"bytes": bytes([n, k]), "path": None} for k in range(table.num_rows)]
        table = table.append_column("note", pa.array([f"row {k} of {n}" for k in range(table.num_rows)]))
        pq.write_table(table.append_column("observation.images.eye", pa.array(cells)), path)
    for path in sorted(root.glob("videos/*/*/*.mp4")):
        images = np.stack([f.to_ndarray(format="rgb24") for f in av.open(str(path)).decode(video=0)])
        encode(path, images, 10, bf="2")
    once = consolidate(root, tmp_path / "once").root
    assert_same(DatasetReader(once), DatasetReader(root))
    twice = consolidate(once, tmp_path / "twice").root
    assert_same(DatasetReader(twice), DatasetReader(root))
    rows = pa.concat_tables(pq.read_table(p) for p in sorted(root.glob("data/*/*.parquet")))
    assert pq.read_table(twice / "data/chunk-000/file-000.parquet").equals(rows)


def test_recording_goes_on_after_it_and_undo_and_crash_are_as_ever(tmp_path, ours):
    root = consolidate(ours.root, tmp_path / "new").root
    kept = everything(root)
    with DatasetWriter(root, CONTRACT, gop=4) as writer:
        record(writer, "wave", 4, seed=7)
        record(writer, "push", 5, seed=8)
        writer.undo_episode()
    reader = DatasetReader(root)
    assert [e.length for e in reader.episodes] == [12, 9, 15, 4]
    for name in kept:
        if "chunk" in name:
            assert (root / name).read_bytes() == kept[name]
    np.testing.assert_array_equal(reader.decode("gripper", 2), ours.decode("gripper", 2))
    leftover = root / "meta/episodes/chunk-000/file-002.parquet"  # as of a crash before info.json
    shutil.copy(root / "meta/episodes/chunk-000/file-001.parquet", leftover)
    (root / "meta/unfinished.json").write_text(
        json.dumps({"unfinished": ["meta/episodes/chunk-000/file-002.parquet"]})
    )
    with DatasetWriter(root, CONTRACT) as writer:
        assert writer.num_episodes == 4 and not leftover.exists()
    joined = consolidate_in_place(root)
    assert joined.root == root and joined.data_files == 1
    assert DatasetReader(root).episodes[3].length == 4
    assert os.listdir(tmp_path) == ["new"]


def test_every_tool_reads_it(tmp_path, ours):
    root = consolidate(ours.root, tmp_path / "new").root
    report, wanted = (check_dataset(path, decode=True).as_json() for path in (root, ours.root))
    assert report["episodes"] == wanted["episodes"]
    assert [c["level"] for c in report["structure"]] == [c["level"] for c in wanted["structure"]]
    reader = DatasetReader(root)
    parts = split(reader, {"a": [2, 0]}, tmp_path / "parts")
    assert [(e.index, e.remarks) for e in parts["a"]] == [(0, []), (1, [])]
    made = DatasetReader(tmp_path / "parts/a")
    for new, old in ((0, 2), (1, 0)):
        np.testing.assert_array_equal(made.decode("gripper", new), ours.decode("gripper", old))
    assert len(trim_idle(reader, tmp_path / "trimmed")) == 3
    assert repair_dataset(root).output is None


def test_what_is_wrong_is_said_and_nothing_is_left_behind(tmp_path, ours):
    with pytest.raises(DatasetError, match="lies in"):
        consolidate(ours.root, ours.root / "new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note").write_text("mine")
    with pytest.raises(DatasetError, match="exists: allowed is a new folder"):
        consolidate(ours.root, tmp_path / "full")
    with DatasetWriter(shutil.copytree(ours.root, tmp_path / "open"), CONTRACT):
        with pytest.raises(DatasetError, match="another process is recording"):
            consolidate(tmp_path / "open", tmp_path / "new")
    for victim in ("videos/observation.images.gripper/chunk-000/file-001.mp4",
                   "data/chunk-000/file-001.parquet"):  # fmt: skip
        root = shutil.copytree(ours.root, tmp_path / "broken")
        (root / victim).write_bytes((root / victim).read_bytes()[:500])
        with pytest.raises(DatasetError, match="file-001"):
            consolidate(root, tmp_path / "new")
        with pytest.raises(DatasetError, match="file-001"):
            consolidate_in_place(root)
        shutil.rmtree(root)
    assert sorted(os.listdir(tmp_path)) == ["full", "open"]


KILLER = """
import os, signal, sys
from vla_adapter_ros.dataset.tools import consolidate
from vla_adapter_ros import files
left = int(sys.argv[2])
def die_at(step):
    def stepped(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **named)
    return stepped
os.replace, os.rename, os.fsync = die_at(os.replace), die_at(os.rename), die_at(os.fsync)
consolidate.shutil.rmtree = die_at(consolidate.shutil.rmtree)
files.exchange = die_at(files.exchange)
consolidate.consolidate_in_place(sys.argv[1])
"""


@pytest.mark.slow
def test_killed_at_every_step_the_old_or_the_new_is_whole(tmp_path, ours):
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    died = 0
    for step in range(60):
        root = shutil.copytree(ours.root, tmp_path / f"set{step}")
        run = subprocess.run([sys.executable, "-c", KILLER, str(root), str(step)], env=environment)
        clear_unfinished(root)
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
        assert_same(DatasetReader(root), ours)
        with DatasetWriter(root, CONTRACT, gop=4) as writer:
            record(writer, "wave", 2)
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL
        died += 1
    assert run.returncode == 0 and died >= 10


def leave(target: Path, *, replaces: bool = True, names: tuple[str, ...] = ("-12ab", "-12ab-old")) -> Path:
    """What a killed process leaves beside a data set, and a folder that somebody else has there."""
    (target.parent / f".{target.name}{names[0]}/data").mkdir(parents=True)
    (target.parent / f".{target.name}-backup").mkdir()
    journal = target.parent / f".{target.name}-unfinished.json"
    listed = [f".{target.name}{name}" for name in names]
    journal.write_text(json.dumps({"unfinished": listed, "replaces": replaces}))
    return journal


def test_the_next_command_says_and_removes_what_a_killed_one_left(tmp_path, ours, capsys):
    root = shutil.copytree(ours.root, tmp_path / "set")
    leave(root)
    assert main(["dataset", "info", str(root)]) == 0
    said = capsys.readouterr().err
    assert f"removed {tmp_path}/.set-12ab: a command was killed while it wrote {root}" in said
    assert sorted(os.listdir(tmp_path)) == [".set-backup", "set"]
    assert main(["dataset", "info", str(root)]) == 0 and not capsys.readouterr().err
    (tmp_path / ".set-backup").rmdir()
    leave(root)
    consolidate_in_place(root)
    assert sorted(os.listdir(tmp_path)) == [".set-backup", "set"]


def test_only_what_the_journal_of_a_dead_process_lists_is_removed(tmp_path, ours):
    root = shutil.copytree(ours.root, tmp_path / "set")
    with new_folder(root, replaces=True) as folder:  # its writer lives
        assert clear_unfinished(root) == [] and folder.is_dir()
        with pytest.raises(DatasetError, match="another process is writing it"):
            consolidate_in_place(root)
    assert os.listdir(tmp_path) == ["set"]
    journal = leave(root, names=("-1", "/../set"))
    with pytest.raises(DatasetError, match="which no command of ours makes: move it away"):
        clear_unfinished(root)
    journal.write_text("[1")
    with pytest.raises(DatasetError, match="not readable"):
        clear_unfinished(root)
    journal.write_text("")  # killed before anything was made
    assert clear_unfinished(root) == [] and (tmp_path / ".set-1").is_dir() and not journal.exists()


def test_the_only_copy_of_a_data_set_is_not_removed(tmp_path, ours):
    shutil.copytree(ours.root, tmp_path / ".set-12ab-old")
    journal = leave(tmp_path / "set")
    with pytest.raises(DatasetError, match=r"\.set-12ab-old may be the only copy: move it to"):
        clear_unfinished(tmp_path / "set")
    assert_same(DatasetReader(tmp_path / ".set-12ab-old"), ours)
    assert journal.exists()
    leave(tmp_path / "new", replaces=False)  # of a command that makes a new one: nothing is there yet
    assert len(clear_unfinished(tmp_path / "new")) == 1


def test_two_folders_change_places_also_without_the_step_of_linux(tmp_path, monkeypatch):
    for missing in (False, True):
        one, other = tmp_path / f"one{missing}", tmp_path / f"other{missing}"
        for folder in (one, other):
            folder.mkdir()
            (folder / "name").write_text(folder.name)
        if missing:
            monkeypatch.setattr(files.ctypes, "CDLL", lambda *a, **k: object())
        files.exchange(one, other)
        assert (other / "name").read_text() == one.name and (one / "name").read_text() == other.name
    with pytest.raises(OSError):
        files.exchange(tmp_path / "nowhere", tmp_path / "other")
