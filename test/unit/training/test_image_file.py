"""Decoded images in a file: the same as from videos, decoded once, and anew when the data changes."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from training_samples import CONTRACT, make_backbone, make_dataset

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.training.data import image_store
from vla_adapter_ros.training.data.image_store import ImageStore
from vla_adapter_ros.training.finetune import finetune
from vla_adapter_ros.training.starting import Start

ROWS = np.array([0, 5, 13, 29])


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("stored") / "demonstrations", episodes=3)


@pytest.fixture
def dataset(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "demonstrations"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Camera and episode of every video that is decoded as a whole."""
    found: list[tuple[str, int]] = []
    images = DatasetReader.images

    def watched(reader: DatasetReader, camera: str, episode: int, rows: range | None = None):
        found.append((camera, episode))
        return images(reader, camera, episode, rows)

    monkeypatch.setattr(DatasetReader, "images", watched)
    return found


def halve(images: np.ndarray) -> np.ndarray:
    return images[..., ::2, ::2, :]


def store(dataset: Path, folder: Path | None, preparation: str = "halved", limit: int = 1) -> ImageStore:
    return ImageStore(
        DatasetReader(dataset), CONTRACT.camera_names, halve, 56, limit=limit, folder=folder,
        preparation=preparation,
    )  # fmt: skip


def test_images_are_those_of_the_videos_and_are_decoded_once(dataset, tmp_path, decoded):
    expected = store(dataset, None, limit=2**30)[np.arange(30)]
    decoded.clear()
    first = store(dataset, tmp_path / "images")
    assert not first.in_memory and len(decoded) == 6
    np.testing.assert_array_equal(first[np.arange(30)], expected)
    again = store(dataset, tmp_path / "images")
    assert len(decoded) == 6
    np.testing.assert_array_equal(again[ROWS], expected[ROWS])


def test_what_a_killed_process_left_is_gone_on_with(dataset, tmp_path, decoded, monkeypatch):
    fill = ImageStore._fill_part

    def killed(images_store, images, part):
        if part.episode == 2:
            raise KeyboardInterrupt
        fill(images_store, images, part)

    monkeypatch.setattr(ImageStore, "_fill_part", killed)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})  # one after the other
    with pytest.raises(KeyboardInterrupt):
        store(dataset, tmp_path / "images")
    monkeypatch.setattr(ImageStore, "_fill_part", fill)
    decoded.clear()
    whole = store(dataset, tmp_path / "images")
    assert {episode for _, episode in decoded} == {2}
    np.testing.assert_array_equal(whole[ROWS], store(dataset, None, limit=2**30)[ROWS])


def test_other_data_or_another_preparation_is_decoded_anew(dataset, tmp_path, decoded):
    folder = tmp_path / "images"
    store(dataset, folder)
    decoded.clear()
    store(dataset, folder, "otherwise")
    assert len(decoded) == 6
    video = next(dataset.glob("videos/**/*.mp4"))
    os.utime(video, ns=(0, video.stat().st_mtime_ns + 1))
    store(dataset, folder)
    assert len(decoded) == 12 and len(list(folder.glob("*.images"))) == 3


def test_another_process_opens_the_file_itself(dataset, tmp_path):
    images = store(dataset, tmp_path / "images")
    sent = pickle.dumps(images)
    assert len(sent) < 100_000 < 30 * 2 * 56 * 56 * 3
    np.testing.assert_array_equal(pickle.loads(sent)[ROWS], images[ROWS])


def test_a_disk_that_is_too_small_is_told_before_anything_is_decoded(dataset, tmp_path, decoded, monkeypatch):
    facts = shutil.disk_usage(tmp_path)._replace(free=2**30 + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: facts)
    with pytest.raises(TrainingError, match=r"0\.0 GB can be used, decoded images need 0\.0 GB.*image_cache"):
        store(dataset, tmp_path / "images")
    assert not decoded
    (tmp_path / "file").write_text("x")
    with pytest.raises(TrainingError, match="cannot hold decoded images"):
        store(dataset, tmp_path / "file" / "images")


def test_a_training_with_it_is_the_same(dataset, tmp_path, monkeypatch):
    start = Start(make_backbone(tmp_path / "tiny"))
    settings = {"steps": 3, "batch_size": 4, "progress": False, "pages": False, "save_total_limit": 0}
    plain = finetune(dataset, tmp_path / "plain", start=start, **settings)
    monkeypatch.setattr(image_store, "memory_limit", lambda: 1)
    folder = tmp_path / "images"
    settings |= {"image_cache": str(folder), "workers": 0}
    cached = finetune(dataset, tmp_path / "cached", start=start, **settings)
    assert cached.losses == plain.losses
    (file,) = folder.glob("*.images")
    assert file.stat().st_size == 30 * 2 * 16 * 16 * 3
