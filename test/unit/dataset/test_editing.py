"""Merged, split, trimmed and uploaded data sets; the originals stay as they are."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from foreign_samples import make_foreign, make_ours
from recording_samples import CONTRACT, make_frame, record

from vla_adapter_ros.dataset.hub_datasets import push_to_hub
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.remux import copy_video, key_images
from vla_adapter_ros.dataset.tools.editing import (
    TrimSettings,
    merge,
    moving_rows,
    parse_episodes,
    split,
    trim_idle,
)
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import ContractMismatch, DatasetError, RecordingError


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> DatasetReader:
    return make_ours(tmp_path_factory.mktemp("ours") / "set")


def everything(root) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def assert_same_episode(
    made: DatasetReader, episode: int, original: DatasetReader, number: int, rows=slice(None)
):
    ours, theirs = made.rows(episode), original.rows(number)
    for name in ("observation.state", "action", "capture.stamp", "capture.age", "control_source"):
        np.testing.assert_array_equal(ours[name], theirs[name][rows], err_msg=name)
    for camera in CONTRACT.cameras:
        np.testing.assert_array_equal(made.decode(camera, episode), original.decode(camera, number)[rows])
    assert made.task_of(episode) == original.task_of(number)


def test_merge_keeps_every_row_and_image(tmp_path, ours):
    other = make_ours(tmp_path / "other", lengths=(5,), tasks=("lift",), gop=2)
    before = everything(ours.root), everything(other.root)
    merge([ours, other], tmp_path / "merged")
    assert (everything(ours.root), everything(other.root)) == before
    made = DatasetReader(tmp_path / "merged")
    assert made.num_episodes == 4 and made.tasks == ("wave", "push", "lift")
    for episode in range(3):
        assert_same_episode(made, episode, ours, episode)
    assert_same_episode(made, 3, other, 0)
    assert made.stats["action"]["count"] == [41]
    values = np.concatenate([*(ours.rows(n)["action"] for n in range(3)), other.rows(0)["action"]]).astype(
        float
    )
    np.testing.assert_allclose(made.stats["action"]["q99"], np.quantile(values, 0.99, axis=0))
    with DatasetWriter(tmp_path / "merged", CONTRACT, gop=4) as writer:  # recording can go on
        record(writer, "wave", 3)
    assert DatasetReader(tmp_path / "merged").num_episodes == 5


def test_merge_refuses_other_contracts_and_strangers(tmp_path, ours):
    slower = dataclasses.replace(CONTRACT, rate_hz=5.0, name="slow")
    with DatasetWriter(tmp_path / "slow", slower) as writer:
        record(writer, "wave", 3)
    with pytest.raises(ContractMismatch, match=r"rate_hz: 10\.0 here, 5\.0 there"):
        merge([ours, DatasetReader(tmp_path / "slow")], tmp_path / "merged")
    stranger = open_dataset(make_foreign(tmp_path / "foreign", ours))
    with pytest.raises(DatasetError, match="carries no contract"):
        merge([ours, stranger], tmp_path / "merged")
    with pytest.raises(DatasetError, match="lies in the original"):
        merge([ours], ours.root / "merged")
    with pytest.raises(DatasetError, match="is not empty"):
        merge([ours], tmp_path)
    assert not (tmp_path / "merged").exists()


def test_split_takes_the_chosen_episodes(tmp_path, ours):
    split(ours, {"train": [2, 0], "test": [1]}, tmp_path / "parts")
    train, test = DatasetReader(tmp_path / "parts/train"), DatasetReader(tmp_path / "parts/test")
    assert (train.num_episodes, test.num_episodes) == (2, 1) and test.tasks == ("push",)
    assert_same_episode(train, 0, ours, 2)
    assert_same_episode(train, 1, ours, 0)
    assert_same_episode(test, 0, ours, 1)
    with pytest.raises(DatasetError, match=r"part test: \[3\]: allowed are 0 to 2"):
        split(ours, {"train": [0], "test": [3]}, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_episodes_are_parsed():
    assert parse_episodes("0-2, 7,5") == [0, 1, 2, 7, 5]
    for text in ("", "a", "3-1", "1,,2", "-4"):
        with pytest.raises(DatasetError, match="allowed are numbers and ranges"):
            parse_episodes(text)
    with pytest.raises(DatasetError, match="more than once"):
        parse_episodes("0-3,2")


def still_between(first: int, last: int, count: int):
    """Frames that move between rows `first` and `last` only."""
    for n in range(count):
        frame = make_frame(n)
        way = np.clip(n - first, 0, last - first) * 0.05
        yield dataclasses.replace(frame, state=np.full(11, way), action=np.full(8, 0.5 * way))


@pytest.mark.parametrize("exact", [False, True])
def test_idle_heads_and_tails_go(tmp_path, exact):
    with DatasetWriter(tmp_path / "set", CONTRACT, gop=4) as writer:
        for first, last in ((14, 20), (0, 27)):
            writer.start_episode("wave")
            for frame in still_between(first, last, 28):
                writer.add_frame(frame, 1)
            writer.save_episode()
    original = DatasetReader(tmp_path / "set")
    before = everything(original.root)
    entries = trim_idle(original, tmp_path / "trimmed", TrimSettings(margin_s=0.1, exact=exact))
    assert everything(original.root) == before
    made = DatasetReader(tmp_path / "trimmed")
    start = 13 if exact else 12  # key images are 0, 4, 8, 12, ...
    assert f"{start} rows cut at the head, 6 at the tail" in entries[0].remarks
    assert entries[1].remarks == ["0 rows cut at the head, 0 at the tail"]
    assert [e.length for e in made.episodes] == [22 - start, 28]
    assert_same_episode(made, 1, original, 1)
    if not exact:
        assert_same_episode(made, 0, original, 0, slice(12, 22))
        return
    assert [r for r in entries[0].remarks if "encoded again" in r]
    np.testing.assert_array_equal(made.rows(0)["capture.stamp"], original.rows(0)["capture.stamp"][13:22])
    for camera in CONTRACT.cameras:
        wanted = original.decode(camera, 0)[13:22].astype(int)
        difference = np.abs(made.decode(camera, 0) - wanted).mean(axis=(1, 2, 3))
        assert (difference < 3).all()
        assert np.abs(np.roll(wanted, 1, axis=0) - wanted).mean() > 10, "a shift by one would be seen"


def test_an_episode_without_motion_is_kept():
    rows = {"observation.state": np.zeros((9, 3)), "action": np.zeros((9, 2))}
    assert moving_rows(rows, 10.0, TrimSettings()) == range(9)
    rows["action"][5:, 1] = 1.0
    assert moving_rows(rows, 10.0, TrimSettings(margin_s=0.2)) == range(2, 8)


def test_parts_of_videos_are_copied_only_from_key_images(tmp_path, ours):
    part = ours.episodes[2].videos["third_view"]
    assert key_images(part.path, 0.0, 15, 10.0)[:3] == [0, 4, 8]
    assert copy_video(part.path, 0.4, 6, 10, tmp_path / "a.mp4") == ""
    assert copy_video(part.path, 0.5, 6, 10, tmp_path / "b.mp4") == "it begins between two key images"
    assert copy_video(part.path, 0.8, 9, 10, tmp_path / "c.mp4") == "7 images, 9 expected"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


class FakeHub:
    """Notes what it is asked for."""

    def __init__(self, tags=()):
        self.calls, self.tags = [], list(tags)

    def list_repo_refs(self, repo_id, repo_type):
        return SimpleNamespace(tags=[SimpleNamespace(name=tag) for tag in self.tags])

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.calls.append((name, arguments, options))
            return "https://hub/datasets/me/set"

        return call


class Uploaded(FakeHub):
    """Notes how many data files the folder has that is uploaded, and whether it has a card."""

    def upload_folder(self, **options):
        root = Path(options["folder_path"])
        self.calls.append(("upload_folder", (), options))
        self.data_files = len(list(root.glob("data/*/*.parquet")))
        self.has_card = (root / "README.md").is_file()


def test_upload_is_tagged_with_the_format(ours):
    hub = Uploaded(tags=["v3.0"])
    assert push_to_hub(ours.root, "me/set", file_per_episode=True, api=hub) == "https://hub/datasets/me/set"
    names = [name for name, _, _ in hub.calls]
    assert names == ["create_repo", "upload_folder", "delete_tag", "create_tag"]
    assert hub.calls[0][2]["private"] and hub.calls[-1][2]["tag"] == "v3.0"
    assert hub.calls[1][2]["folder_path"] == str(ours.root) and "*.tmp" in hub.calls[1][2]["ignore_patterns"]
    assert hub.data_files == 3 and hub.has_card
    with pytest.raises(DatasetError, match="allowed is USER/NAME"):
        push_to_hub(ours.root, "set", api=hub)


def test_several_episodes_per_file_are_uploaded_and_a_card_with_them(tmp_path, ours):
    hub, before = Uploaded(), everything(ours.root)
    push_to_hub(ours.root, "me/set", api=hub)
    assert hub.data_files == 1 and hub.has_card and everything(ours.root) == before
    bare = shutil.copytree(ours.root, tmp_path / "bare")
    (bare / "README.md").unlink()
    push_to_hub(bare, "me/set", file_per_episode=True, api=hub)
    (card,) = [options for name, _, options in hub.calls if name == "upload_file"]
    assert card["path_in_repo"] == "README.md" and b"- LeRobot" in card["path_or_fileobj"]
    assert not (bare / "README.md").exists()


@pytest.mark.parametrize("task", ["\u200b", "\u2060 \ufeff", "\u3164"], ids=ascii)
def test_an_episode_whose_task_nobody_can_see_is_left_out(ours, task, tmp_path, monkeypatch):
    def row_tasks(self, number):
        return ["wave" if number else task] * self.episodes[number].length

    monkeypatch.setattr(DatasetReader, "row_tasks", row_tasks)
    first, *others = merge([ours], tmp_path / "out")
    assert first.index == -1 and "allowed is a text" in first.remarks[0]
    assert others and all(entry.index >= 0 and entry.task == "wave" for entry in others)


def test_no_episode_begins_with_a_task_that_nobody_can_see(tmp_path):
    with (
        DatasetWriter(tmp_path, CONTRACT) as writer,
        pytest.raises(RecordingError, match="allowed is a text"),
    ):
        writer.start_episode("\u200b \u2060")
