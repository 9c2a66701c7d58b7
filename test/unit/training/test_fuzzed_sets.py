"""Whatever is wrong with a data set or a bag: what people do with it works, or says why not in a sentence."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from bag_samples import bag_of, make_samples
from foreign_samples import MAPPING, make_foreign
from fuzzed_sets import spoil, spoil_bytes, spoil_yaml
from training_samples import CONTRACT, make_backbone, make_dataset

from vla_adapter_ros.dataset.mapping import parse_mapping
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.drafting.draft import draft_contract
from vla_adapter_ros.dataset.tools.importing import import_bag, import_lerobot
from vla_adapter_ros.dataset.tools.info import describe_dataset, overview
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.data_sources import OpenSource
from vla_adapter_ros.training.data.preflight import inspect_data
from vla_adapter_ros.training.settings import make_settings

QUICK, ALL = 6, 500
SEEDS = [n if n < QUICK else pytest.param(n, marks=pytest.mark.slow) for n in range(ALL)]


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, Path]:
    """A data set of ours, one of v3.0 and two of v2.1 by others, and a bag."""
    root = tmp_path_factory.mktemp("originals")
    make_dataset(root / "ours", episodes=3)
    shutil.copytree(root / "ours", root / "v30")
    (root / "v30/meta/contract.yaml").unlink()
    reader = DatasetReader(root / "ours")
    for images in ("video", "image"):
        place = make_foreign(root / images, reader, images=images)
        (place / "meta/episodes_stats.jsonl").write_text(json.dumps({"episode_index": 0, "stats": {}}) + "\n")
    bag_of(root / "bag", CONTRACT, make_samples(CONTRACT, 0.5, 0, longest_delay_s=0.01), storage="sqlite3")
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> VlaAdapterPolicy:
    return VlaAdapterPolicy.from_pretrained(make_backbone(tmp_path_factory.mktemp("backbone") / "b"))


def tried(act, *args, **options):
    """What an act gives, or None where it is refused in a sentence."""
    try:
        return act(*args, **options)
    except VlaAdapterError as error:
        assert len(str(error)) < 4000 and "Traceback" not in str(error)
        return None


def read_all(root: Path) -> None:
    dataset = open_dataset(root)
    for episode in range(dataset.num_episodes):
        tried(dataset.rows, episode)
        tried(dataset.row_tasks, episode)
        for camera in dataset.cameras:
            tried(dataset.image, camera, episode, 0)
    tried(lambda: dataset.stats)


def preflight(root: Path, mapping, backbone: VlaAdapterPolicy) -> None:
    data = open_dataset(root, mapping, CONTRACT)
    inspect_data([OpenSource("set", data)], CONTRACT, backbone, make_settings(steps=2, batch_size=2), None)


def use(root: Path, mapping, output: Path, backbone: VlaAdapterPolicy) -> None:
    """What people do: none of it may end in anything but an error of ours."""
    tried(lambda: overview(describe_dataset(root)))
    check_dataset(root).as_json()
    check_dataset(root, contract=CONTRACT, decode=True).lines  # noqa: B018
    tried(read_all, root)
    tried(lambda: draft_contract(open_dataset(root), "drafted"))
    tried(lambda: import_lerobot(open_dataset(root, mapping, CONTRACT), CONTRACT, output))
    tried(preflight, root, mapping, backbone)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_wrong_is_said(seed, originals, backbone, tmp_path):
    rng = random.Random(seed)
    kind = ("ours", "v30", "video", "image", "bag")[seed % 5]
    root = Path(shutil.copytree(originals[kind], tmp_path / kind))
    if kind == "bag":
        how = rng.choice((spoil_yaml, spoil_yaml, spoil_yaml, spoil_bytes))
        path = root / "metadata.yaml" if how is spoil_yaml else rng.choice(sorted(root.iterdir()))
        print(path.name, how(path, rng))  # shown if the test fails
        tried(import_bag, root, CONTRACT, tmp_path / "set", instruction="wave")
        return
    print(spoil(root, rng))
    mapping = parse_mapping(MAPPING) if kind in ("video", "image") else None
    use(root, mapping, tmp_path / "set", backbone)


@pytest.mark.parametrize("kind", ["ours", "v30", "video", "image"])
def test_what_is_right_is_taken(kind, originals, backbone, tmp_path):
    mapping = parse_mapping(MAPPING) if kind in ("video", "image") else None
    report = import_lerobot(open_dataset(originals[kind], mapping, CONTRACT), CONTRACT, tmp_path / "set")
    assert report.kept == 3
    use(originals[kind], mapping, tmp_path / "set2", backbone)
