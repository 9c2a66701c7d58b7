"""The pages show the episodes that are on disk now, and give out nothing that lies outside the set."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import simplejpeg
from recording_samples import CONTRACT, record

from vla_adapter_ros.console.episodes import THUMBNAIL, EpisodeStore
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError

TASK = "pick up the <b>red</b> cube"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "set"


@pytest.fixture
def writer(root):
    with DatasetWriter(root, CONTRACT) as writer:
        record(writer, TASK, 12)
        yield writer


def test_no_data_set_is_no_episodes(root):
    store = EpisodeStore(root)
    assert store.rows() == [] and store.instructions() == [] and store.cameras == ()


def test_an_episode_that_is_saved_meanwhile_comes_first(root, writer):
    store = EpisodeStore(root)
    assert [(row.number, row.instruction, row.seconds) for row in store.rows()] == [(0, TASK, 1.2)]
    record(writer, "wave", 5, seed=1)
    assert [row.number for row in store.rows()] == [1, 0]
    assert store.instructions() == [TASK, "wave"]
    assert store.cameras == ("third_view", "gripper")


def test_a_thumbnail_is_the_middle_image(root, writer):
    image = simplejpeg.decode_jpeg(EpisodeStore(root).thumbnail(0))
    assert image.shape == (THUMBNAIL, THUMBNAIL, 3) and 10 < image.mean() < 200


def test_curves_have_names_times_and_who_led(root, writer):
    content = json.loads(EpisodeStore(root).curves(0))
    assert content["times"][0] == 0.0 and content["times"][-1] == pytest.approx(1.1)
    assert set(content["series"]) == {*CONTRACT.state_names, *CONTRACT.action_names}
    assert set(content["series"]["fr3_joint1"]) == {"state", "action"}
    assert content["leader"] == [1] * 12


def test_a_clip_is_a_file_of_the_set_with_the_times_of_the_episode(root, writer):
    clip = EpisodeStore(root).clip(0, "gripper")
    assert clip.path.is_file() and clip.path.is_relative_to(root.resolve())
    assert (clip.start, clip.end) == (0.0, pytest.approx(1.2))


@pytest.mark.parametrize("ask", [
    lambda store: store.thumbnail(7), lambda store: store.curves(-1),
    lambda store: store.clip(0, "../../secret"), lambda store: store.clip(0, "nobody"),
])  # fmt: skip
def test_what_is_not_there_is_said(root, writer, ask):
    with pytest.raises(DatasetError, match="episode"):
        ask(EpisodeStore(root))


def test_a_video_that_is_a_link_to_elsewhere_is_not_given_out(root, writer, tmp_path):
    store = EpisodeStore(root)
    path = store.clip(0, "gripper").path
    elsewhere = tmp_path / "private.mp4"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(DatasetError, match="outside"):
        EpisodeStore(root).clip(0, "gripper")


def test_values_that_are_no_numbers_are_null(root, writer, monkeypatch):
    store = EpisodeStore(root)
    reader = store._open()
    rows = reader.rows(0)
    rows["action"] = rows["action"].copy()
    rows["action"][3, 0] = np.nan
    monkeypatch.setattr(reader, "rows", lambda episode: rows)
    content = json.loads(store.curves(0), parse_constant=lambda word: pytest.fail(word))
    assert content["series"]["fr3_joint1"]["action"][3] is None
