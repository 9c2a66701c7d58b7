"""Slips of data sets as people publish them: read where the meaning is certain, else one useful sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_samples import make_foreign, make_ours

from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.quality.findings import Level
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.repair import repair_dataset
from vla_adapter_ros.errors import DatasetError


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> DatasetReader:
    return make_ours(tmp_path_factory.mktemp("ours") / "set", (5, 4, 6))


@pytest.fixture
def modern(tmp_path, ours) -> Path:
    root = Path(shutil.copytree(ours.root, tmp_path / "v30"))
    (root / "meta/contract.yaml").unlink()
    return root


@pytest.fixture
def foreign(tmp_path, ours) -> Path:
    return make_foreign(tmp_path / "v21", ours)


def change_info(root: Path, **values) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps(info | values))


def as_doubles(root: Path) -> None:
    """Every whole number in every table becomes a double, as programs in JavaScript write them."""
    for path in root.rglob("*.parquet"):
        table = pq.read_table(path)
        for name in table.column_names:
            if pa.types.is_integer(table[name].type):
                at = table.column_names.index(name)
                table = table.set_column(at, name, table[name].cast(pa.float64()))
        pq.write_table(table, path)


def assert_same_rows(found, wanted) -> None:
    for episode in range(wanted.num_episodes):
        theirs, rows = found.rows(episode), wanted.rows(episode)
        for name in ("observation.state", "action", "task_index", "frame_index", "episode_index", "index"):
            np.testing.assert_array_equal(theirs[name], rows[name])
            assert theirs[name].dtype.kind == rows[name].dtype.kind
        assert found.row_tasks(episode) == wanted.row_tasks(episode)


def test_whole_numbers_may_be_stored_as_doubles(modern, foreign, ours):
    for root in (modern, foreign):
        before = open_dataset(root)
        as_doubles(root)
        dataset = open_dataset(root)
        assert_same_rows(dataset, before)
        camera = dataset.cameras[0]
        np.testing.assert_array_equal(dataset.decode(camera, 1), before.decode(camera, 1))


def test_a_number_that_is_not_whole_is_named(modern):
    path = sorted((modern / "data").rglob("*.parquet"))[0]
    table = pq.read_table(path)
    at, numbers = table.column_names.index("task_index"), np.full(table.num_rows, 0.5)
    pq.write_table(table.set_column(at, "task_index", pa.array(numbers)), path)
    with pytest.raises(
        DatasetError, match=r"column task_index is .*: allowed is one whole number in each row"
    ):
        open_dataset(modern).rows(0)


def test_a_template_that_takes_the_episode_for_the_chunk(foreign):
    """GR00T's demo: chunk-{episode_index}, while all files lie where LeRobot puts them, in chunk-000."""
    before = open_dataset(foreign)
    change_info(
        foreign,
        data_path="data/chunk-{episode_index:03d}/episode_{episode_index:06d}.parquet",
        video_path="videos/chunk-{episode_index:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    )
    dataset = open_dataset(foreign)
    assert dataset.num_episodes == before.num_episodes == 3 and not dataset.missing
    assert_same_rows(dataset, before)
    np.testing.assert_array_equal(dataset.decode("wrist", 2), before.decode("wrist", 2))


def test_a_file_of_the_same_name_in_another_chunk_is_not_taken(foreign):
    """Some publish other recordings beside the set, in chunk-001, under the same names."""
    data = foreign / "data/chunk-000/episode_000001.parquet"
    (foreign / "data/chunk-001").mkdir()
    data.rename(foreign / "data/chunk-001/episode_000001.parquet")
    assert open_dataset(foreign).missing == (1,)


def test_of_many_lost_episodes_three_are_named(tmp_path):
    root = make_ours(tmp_path / "set", (2,) * 5, ("wave",) * 5).root
    shutil.rmtree(root / "videos")
    with pytest.raises(DatasetError, match=r"no episode is whole; .*; and 2 more$") as caught:
        repair_dataset(root, tmp_path / "out")
    assert str(caught.value).count("no such file") == 3


def test_tables_without_a_column_that_the_template_needs(modern):
    """Some tools write data_chunk_index where LeRobot has data/chunk_index."""
    path = sorted((modern / "meta/episodes").rglob("*.parquet"))[0]
    table = pq.read_table(path)
    names = [name.replace("data/chunk_index", "data_chunk_index") for name in table.column_names]
    pq.write_table(table.rename_columns(names), path)
    with pytest.raises(
        DatasetError,
        match=r"meta/episodes: data/chunk_index of episode 0 is missing.*data_path.*'data_chunk_index'",
    ):
        open_dataset(modern)


def test_a_set_without_any_image_fails(modern, foreign):
    for root in (modern, foreign):
        shutil.rmtree(root / "videos")
        report = check_dataset(root)
        (found,) = [check for check in report.structure if check.name == "format"]
        assert found.level is Level.FAIL and "no camera has files" in found.text
