"""The README.md of a data set, and what an import has no place for."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from foreign_samples import MAPPING, make_foreign, make_ours
from recording_samples import CONTRACT, record

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.mapping import parse_mapping
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.carried import left_behind
from vla_adapter_ros.dataset.tools.consolidate import consolidate
from vla_adapter_ros.dataset.tools.editing import merge
from vla_adapter_ros.dataset.tools.repair import repair_dataset
from vla_adapter_ros.dataset.writer import DatasetWriter


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> DatasetReader:
    return make_ours(tmp_path_factory.mktemp("ours") / "set", lengths=(5, 4), tasks=("wave", "push"))


def test_a_recorded_set_has_the_card_that_the_hub_reads(ours):
    text = (ours.root / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "license": "other", "tags": ["LeRobot"], "task_categories": ["robotics"],
        "configs": [{"config_name": "default", "data_files": "data/*/*.parquet"}],
    }  # fmt: skip
    assert "`observation.images.gripper` | video | 112 x 112 x 3" in body and "fr3_joint1" in body


def test_every_tool_writes_one_and_nobody_overwrites_one(tmp_path, ours):
    merge([ours], tmp_path / "merged")
    assert (tmp_path / "merged/README.md").is_file()
    root = shutil.copytree(ours.root, tmp_path / "mine")
    (root / "README.md").unlink()
    (root / "readme.txt").write_text("my notes")
    with DatasetWriter(root, CONTRACT) as writer:
        record(writer, "wave", 3)
    assert (root / "readme.txt").read_text() == "my notes" and not (root / "README.md").exists()
    assert (consolidate(root, tmp_path / "joined").root / "readme.txt").read_text() == "my notes"
    (root / "readme.txt").unlink()
    assert (consolidate(root, tmp_path / "joined2").root / "README.md").is_file()
    (root / layout.STATS).unlink()
    assert (repair_dataset(root).output / "README.md").is_file()


def test_a_folder_without_episodes_gets_none(tmp_path):
    with DatasetWriter(tmp_path / "set", CONTRACT) as writer:
        writer.start_episode("wave")
    assert not (tmp_path / "set/README.md").exists()


def test_what_has_no_place_is_named_by_column_value_and_camera(tmp_path, ours):
    assert left_behind(ours, CONTRACT) == []
    root = make_foreign(tmp_path / "foreign", ours)
    info = json.loads((root / layout.INFO).read_text())
    features = info["features"]
    features["next.reward"] = {"dtype": "float32", "shape": [1], "names": None}
    features["observation.images.ceiling"] = features["observation.images.front"]
    features["observation.state"]["names"]["motors"][9] = "elbow"
    (root / layout.INFO).write_text(json.dumps(info))
    for episode in root.glob("videos/chunk-000/observation.images.front/*"):
        copy = root / "videos/chunk-000/observation.images.ceiling" / episode.name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(episode, copy)
    mapping = json.loads(json.dumps(MAPPING))
    mapping["state"]["tool_z"] = "observation.state[8]"
    dataset = open_dataset(root, parse_mapping(mapping))
    assert left_behind(dataset, CONTRACT) == [
        "observation.state[elbow]", "next.note", "next.reward", "observation.images.ceiling"
    ]  # fmt: skip
