"""Data sets on disk: content, crashes, resuming, refusals."""

from __future__ import annotations

import errno
import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from killed_writer import kill_while_saving
from recording_samples import CONTRACT, make_frame, record

from vla_adapter_ros import __version__, files
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.video import VideoEncoder
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import ContractMismatch, DatasetError, FrameError, RecordingError


def names_of(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_what_was_recorded_is_read_back(tmp_path):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        summary = record(writer, "lift the cube", 12)
        assert (summary.index, summary.frames, summary.task) == (0, 12, "lift the cube")
        assert summary.duration_s == pytest.approx(1.1)
        assert summary.rate_hz == pytest.approx(10.0)
        record(writer, "öffne die Hand", 7, seed=1)
        record(writer, "lift the cube", 5, seed=2)
        assert writer.num_episodes == 3
    reader = DatasetReader(tmp_path)
    assert (reader.num_episodes, reader.num_frames, reader.fps) == (3, 24, 10.0)
    assert reader.tasks == ("lift the cube", "öffne die Hand")
    assert [reader.task_of(n) for n in range(3)] == ["lift the cube", "öffne die Hand", "lift the cube"]
    assert reader.contract == CONTRACT
    assert reader.cameras == CONTRACT.camera_names
    for episode, (length, seed) in enumerate(((12, 0), (7, 1), (5, 2))):
        rows = reader.rows(episode)
        frames = [make_frame(n, seed=seed) for n in range(length)]
        np.testing.assert_array_equal(rows["observation.state"], np.float32([f.state for f in frames]))
        np.testing.assert_array_equal(rows["action"], np.float32([f.action for f in frames]))
        np.testing.assert_array_equal(rows["capture.stamp"], [f.stamp for f in frames])
        np.testing.assert_allclose(rows["timestamp"], np.arange(length) / 10)
        assert rows["capture.age"].shape == (length, 5)
        assert rows["control_source"].tolist() == [1] * length
        assert rows["frame_index"].tolist() == list(range(length))
        assert rows["index"][0] == reader.episodes[episode].first_row
        for camera in CONTRACT.cameras:
            images = reader.decode(camera, episode)
            wanted = np.stack([f.images[camera] for f in frames])
            assert images.shape == wanted.shape
            assert images.dtype == np.uint8
            errors = np.abs(images.astype(int) - wanted).mean(axis=(1, 2, 3))
            assert errors.max() < 4  # each image is its own: neighbors differ by more than 6
            assert np.abs(images[1:].astype(int) - wanted[:-1]).mean(axis=(1, 2, 3)).min() > 6


def test_files_have_the_layout_and_types_of_the_format(tmp_path):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        record(writer, "a", 4)
        record(writer, "b", 3)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"], info["total_tasks"]) == (
        "v3.0",
        2,
        7,
        2,
    )
    assert info["splits"] == {"train": "0:2"}
    assert info["features"]["observation.images.gripper"]["info"]["video.codec"] == "h264"
    assert names_of(tmp_path) == {
        "README.md", "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/contract.yaml",
        "meta/image_histograms.json", "meta/recordings.json",
        *(f"data/chunk-000/file-00{n}.parquet" for n in range(2)),
        *(f"meta/episodes/chunk-000/file-00{n}.parquet" for n in range(2)),
        *(f"videos/observation.images.gripper/chunk-000/file-00{n}.mp4" for n in range(2)),
        *(f"videos/observation.images.third_view/chunk-000/file-00{n}.mp4" for n in range(2)),
    }  # fmt: skip
    schema = pq.read_schema(tmp_path / "data/chunk-000/file-000.parquet")
    assert str(schema.field("action").type) == "fixed_size_list<element: float>[8]"
    assert [str(schema.field(n).type) for n in ("timestamp", "frame_index", "capture.stamp")] == [
        "float",
        "int64",
        "double",
    ]
    row = pq.read_table(tmp_path / "meta/episodes/chunk-000/file-001.parquet")
    assert str(row.schema.field("stats/index/min").type) == "list<element: int64>"
    assert np.shape(row["stats/observation.images.gripper/mean"].to_pylist()[0]) == (3, 1, 1)
    assert row["dataset_from_index"].to_pylist() == [4]
    assert row["videos/observation.images.gripper/to_timestamp"].to_pylist() == [0.3]


def test_statistics_are_exact_also_after_resuming(tmp_path):
    for seed in range(3):
        with DatasetWriter(tmp_path, CONTRACT) as writer:
            record(writer, "a", 9 + seed, seed=seed)
    reader = DatasetReader(tmp_path)
    everything = [reader.rows(n) for n in range(3)]
    for feature in ("action", "observation.state", "capture.stamp", "episode_index"):
        values = np.concatenate([rows[feature] for rows in everything]).astype(np.float64).reshape(30, -1)
        stats = reader.stats[feature]
        np.testing.assert_allclose(stats["mean"], values.mean(axis=0))
        np.testing.assert_allclose(stats["std"], values.std(axis=0), atol=1e-12)
        np.testing.assert_allclose(stats["q01"], np.quantile(values, 0.01, axis=0))
        np.testing.assert_allclose(stats["q99"], np.quantile(values, 0.99, axis=0))
        np.testing.assert_allclose(stats["max"], values.max(axis=0))
        assert stats["count"] == [30]
    originals = [make_frame(n, seed=s).images["gripper"] for s in range(3) for n in range(9 + s)]
    pixels = np.stack(originals).reshape(-1, 3) / 255
    image = reader.stats["observation.images.gripper"]
    np.testing.assert_allclose(np.ravel(image["mean"]), pixels.mean(axis=0))
    np.testing.assert_allclose(np.ravel(image["std"]), pixels.std(axis=0))
    np.testing.assert_allclose(np.ravel(image["q50"]), np.quantile(pixels, 0.5, axis=0), atol=1 / 255)
    assert np.shape(image["min"]) == (3, 1, 1)
    (tmp_path / "meta/image_histograms.json").unlink()  # as after a crash: rebuilt from the videos
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        record(writer, "a", 9, seed=0)
    rebuilt = DatasetReader(tmp_path).stats["observation.images.gripper"]
    np.testing.assert_allclose(np.ravel(rebuilt["mean"]), np.ravel(image["mean"]), atol=0.05)


def test_discard_leaves_no_trace(tmp_path):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        record(writer, "a", 4)
        before = names_of(tmp_path)
        writer.start_episode("b")
        for n in range(6):
            writer.add_frame(make_frame(n, seed=5), 1)
        writer.discard_episode()
        assert names_of(tmp_path) == before
        assert not writer.recording
        record(writer, "c", 3, seed=1)
    reader = DatasetReader(tmp_path)
    assert [reader.task_of(n) for n in range(2)] == ["a", "c"]
    wanted = make_frame(0, seed=1).images["gripper"]
    assert np.abs(reader.decode("gripper", 1)[0].astype(int) - wanted).mean() < 4


@pytest.mark.parametrize(
    "change", ["problem", "nan state", "no action", "camera missing", "size", "stamp", "source"]
)
def test_a_frame_is_taken_whole_or_not_at_all(tmp_path, change):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        writer.start_episode("a")
        writer.add_frame(make_frame(0), 1)
        bad, source = make_frame(1), 1
        if change == "problem":
            bad = replace(bad, problem="camera gripper: no sample")
        elif change == "nan state":
            bad = replace(bad, state=np.full(11, np.nan))
        elif change == "no action":
            bad = replace(bad, action=None)
        elif change == "camera missing":
            bad = replace(bad, images={"third_view": bad.images["third_view"]})
        elif change == "size":
            bad = replace(bad, images={**bad.images, "gripper": np.zeros((8, 8, 3), np.uint8)})
        elif change == "stamp":
            bad = replace(bad, stamp=make_frame(0).stamp)
        else:
            source = 3
        with pytest.raises(FrameError):
            writer.add_frame(bad, source)
        writer.add_frame(make_frame(2), 1)
        assert writer.save_episode().frames == 2
    reader = DatasetReader(tmp_path)
    assert [len(reader.decode(camera, 0)) for camera in reader.cameras] == [2, 2]


def test_calls_in_the_wrong_order_are_refused(tmp_path):
    writer = DatasetWriter(tmp_path, CONTRACT)
    with pytest.raises(RecordingError, match="no episode"):
        writer.add_frame(make_frame(0), 1)
    with pytest.raises(RecordingError, match="no episode"):
        writer.save_episode()
    with pytest.raises(RecordingError, match="task"):
        writer.start_episode("  ")
    writer.start_episode("a")
    with pytest.raises(RecordingError, match="is being recorded"):
        writer.start_episode("b")
    with pytest.raises(RecordingError, match="no frames"):
        writer.save_episode()
    assert not writer.recording
    writer.discard_episode()
    writer.close()
    with pytest.raises(RecordingError, match="closed"):
        writer.start_episode("a")


def test_a_failing_encoder_discards_the_episode_and_keeps_the_earlier_ones(tmp_path, monkeypatch):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        record(writer, "a", 4)
        encode = VideoEncoder._encode

        def fail(self):
            if "gripper" in str(self._path):
                raise OSError("no space left on device")
            encode(self)

        monkeypatch.setattr(VideoEncoder, "_encode", fail)
        writer.start_episode("b")
        with pytest.raises(RecordingError, match="no space left"):
            for n in range(200):
                writer.add_frame(make_frame(n), 1)
                time.sleep(0.005)
        assert not writer.recording
        writer.start_episode("c")
        with pytest.raises(RecordingError, match="no space left"):
            writer.add_frame(make_frame(0), 1)
            writer.save_episode()
        monkeypatch.undo()
        record(writer, "d", 3)
    reader = DatasetReader(tmp_path)
    assert [reader.task_of(n) for n in range(2)] == ["a", "d"]
    assert not any(name.endswith(".tmp") for name in names_of(tmp_path))


def test_lost_images_are_noticed_at_save(tmp_path, monkeypatch):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        writer.start_episode("a")
        for n in range(5):
            writer.add_frame(make_frame(n), 1)
        writer._episode._encoders["gripper"].add_image(make_frame(5).images["gripper"])
        with pytest.raises(RecordingError, match="6 images but 5 rows"):
            writer.save_episode()
        assert writer.num_episodes == 0


def test_resuming_refuses_another_contract_and_damage(tmp_path):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        record(writer, "a", 4)
        record(writer, "a", 4)
        with pytest.raises(DatasetError, match="another process"):
            DatasetWriter(tmp_path, CONTRACT)
    with pytest.raises(ContractMismatch, match="rate_hz"):
        DatasetWriter(tmp_path, replace(CONTRACT, rate_hz=20.0))
    video = tmp_path / "videos/observation.images.gripper/chunk-000/file-000.mp4"
    shutil.copy(video, tmp_path.parent / "kept.mp4")
    video.write_bytes(video.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"file-000\.mp4"):
        DatasetWriter(tmp_path, CONTRACT)
    shutil.copy(tmp_path.parent / "kept.mp4", video)
    (tmp_path / "data/chunk-000/file-001.parquet").unlink()
    with pytest.raises(DatasetError, match=r"file-001\.parquet"):
        DatasetWriter(tmp_path, CONTRACT)
    (tmp_path / "meta/info.json").unlink()
    with pytest.raises(DatasetError, match="damaged"):
        DatasetWriter(tmp_path, CONTRACT)
    other = tmp_path / "other"
    other.mkdir()
    (other / "holiday.jpg").touch()
    with pytest.raises(DatasetError, match=r"holiday\.jpg"):
        DatasetWriter(other, CONTRACT)


def test_an_episode_is_recorded_while_the_former_is_being_saved(tmp_path):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        episodes = []
        for number in range(3):
            writer.start_episode("abc"[number])
            for n in range(4 + number):
                writer.add_frame(make_frame(n, number), 1)
            episodes.append(writer.detach_episode())
        writer.start_episode("d")
        saving = threading.Thread(
            target=lambda: [writer.commit(episode) for episode in (episodes[2], episodes[0])]
        )
        saving.start()
        for n in range(3):
            writer.add_frame(make_frame(n, 3), 2)
        saving.join()
        writer.discard(episodes[1])
        assert writer.save_episode({"place": "bench"}).index == 2
    reader = DatasetReader(tmp_path)
    assert [(reader.task_of(e.index), e.length) for e in reader.episodes] == [("c", 6), ("a", 4), ("d", 3)]
    assert [len(reader.decode("gripper", n)) for n in range(3)] == [6, 4, 3]
    assert not any(name.endswith(".tmp") for name in names_of(tmp_path))
    notes = json.loads((tmp_path / "meta/recordings.json").read_text())["episodes"]
    assert notes[2]["episode"] == 2 and notes[2]["place"] == "bench"
    assert notes[2]["software"] == f"vla_adapter_ros {__version__}"
    assert notes[2]["encode_cpu_s"] > 0 and notes[2]["save_s"] >= notes[2]["save_cpu_s"] > 0


def test_the_last_episode_can_be_taken_back(tmp_path):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        record(writer, "a", 4)
        assert writer.undo_episode() == 0
        assert writer.num_episodes == 0
        record(writer, "b", 5)
        record(writer, "c", 6)
        before = names_of(tmp_path)
        assert writer.undo_episode() == 1
        with pytest.raises(RecordingError, match="taken back"):
            writer.undo_episode()
        assert len(before - names_of(tmp_path)) == 4  # two videos, data and facts
        reader = DatasetReader(tmp_path)
        assert reader.tasks == ("b",) and reader.stats["action"]["count"] == [5]
        record(writer, "d", 3)
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        assert writer.num_episodes == 2
    assert [e.length for e in DatasetReader(tmp_path).episodes] == [5, 3]


def test_an_encoder_that_is_behind_refuses_the_whole_row(tmp_path, monkeypatch):
    go = threading.Event()
    encode = VideoEncoder._encode
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        monkeypatch.setattr(VideoEncoder, "_encode", lambda self: (go.wait(), encode(self)))
        writer.start_episode("a")
        refused = 0
        for n in range(80):
            try:
                writer.add_frame(make_frame(n), 1, wait=False)
            except FrameError as error:
                assert "64 images wait" in str(error)
                refused += 1
        assert (refused, writer.queue_depth) == (16, 128)
        go.set()
        assert writer.save_episode().frames == 64
    assert len(DatasetReader(tmp_path).decode("gripper", 0)) == 64


@pytest.mark.parametrize("where", [".mp4", "/data/", "tasks", "meta/episodes", "stats", "recordings", "info"])
def test_a_full_disk_loses_only_that_episode_and_frees_what_it_took(tmp_path, monkeypatch, where):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        record(writer, "a", 4)
        before = {name: (tmp_path / name).read_bytes() for name in names_of(tmp_path)}
        commit = files.commit_file

        def full(path, *source):
            if where in str(path):
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            commit(path, *source)

        monkeypatch.setattr(files, "commit_file", full)
        with pytest.raises(RecordingError, match="No space left"):
            record(writer, "b", 5, seed=1)
        monkeypatch.undo()
        writer.start_episode("c")
        writer.discard_episode()
        assert names_of(tmp_path) == set(before)
        reader = DatasetReader(tmp_path)
        assert reader.tasks == ("a",) and len(reader.decode("gripper", 0)) == 4
        assert record(writer, "c", 6, seed=2).index == 1
    assert DatasetReader(tmp_path).stats["action"]["count"] == [10]


@pytest.mark.parametrize(
    "where", [".mp4", "/data/", "tasks", "meta/episodes", "stats", "histograms", "recordings", "info"]
)
def test_a_crash_while_saving_loses_only_that_episode(tmp_path, where):
    root = tmp_path / "set"
    kill_while_saving(root, where)
    reader = DatasetReader(root)  # readable as it is
    assert reader.num_episodes == 1
    assert len(reader.decode("gripper", 0)) == 4
    with DatasetWriter(root, CONTRACT) as writer:
        assert not any(name.endswith(".tmp") for name in names_of(root))
        assert DatasetReader(root).stats["action"]["count"] == [4]
        assert pq.read_metadata(root / "meta/tasks.parquet").num_rows == 1
        record(writer, "c", 6, seed=2)
    reader = DatasetReader(root)
    assert [(e.length, reader.task_of(e.index)) for e in reader.episodes] == [(4, "a"), (6, "c")]
    assert reader.stats["action"]["count"] == [10]
    assert len(reader.decode("third_view", 1)) == 6


@pytest.mark.parametrize(("codec", "preset"), [("h264", "ultrafast"), ("hevc", "ultrafast"), ("av1", "12")])
def test_codecs(tmp_path, codec, preset):
    with DatasetWriter(tmp_path, CONTRACT, codec=codec, preset=preset, crf=20) as writer:
        record(writer, "a", 5)
    images = DatasetReader(tmp_path).decode("third_view", 0)
    for n, image in enumerate(images):
        assert np.abs(image.astype(int) - make_frame(n).images["third_view"]).mean() < 6


def test_settings_that_the_format_cannot_hold_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="codec"):
        DatasetWriter(tmp_path / "a", CONTRACT, codec="mjpeg")
    with pytest.raises(DatasetError, match="rate_hz"):
        DatasetWriter(tmp_path / "b", replace(CONTRACT, rate_hz=12.5))
    odd = {name: replace(camera, width=113) for name, camera in CONTRACT.cameras.items()}
    with pytest.raises(DatasetError, match="even"):
        DatasetWriter(tmp_path / "c", replace(CONTRACT, cameras=odd))
