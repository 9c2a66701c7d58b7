"""Data sets by strangers: what they name, link to and claim reaches nothing outside, and breaks nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_samples import make_foreign
from nested import altered, places
from recording_samples import CONTRACT, record

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.dataset.hub_datasets import push_to_hub
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.editing import merge, split
from vla_adapter_ros.dataset.tools.repair import repair_dataset
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError, VlaAdapterError


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "set"
    with DatasetWriter(root, CONTRACT) as writer:
        record(writer, "a", 3)
        record(writer, "b", 3, seed=1)
    return root


@pytest.fixture(scope="module")
def foreign(tmp_path_factory, whole) -> Path:
    with DatasetWriter(tmp_path_factory.mktemp("three") / "set", CONTRACT) as writer:
        for seed, task in enumerate(("wave", "push", "wave")):
            record(writer, task, 3, seed)
    return make_foreign(tmp_path_factory.mktemp("foreign") / "set", DatasetReader(writer.root))


@pytest.fixture
def root(tmp_path, whole) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "set"))


def change_info(root: Path, change) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    change(info)
    (root / "meta/info.json").write_text(json.dumps(info))


def use(root: Path, output: Path, *, whole: bool = True) -> str:
    """Do with a data set what people do; the first refusal, in one sentence, or an empty text."""
    try:
        dataset = open_dataset(root)
        for episode in range(dataset.num_episodes):
            dataset.rows(episode)
            dataset.task_of(episode)
        dataset.stats  # noqa: B018
        if whole:
            for camera in dataset.cameras:
                dataset.image(camera, 0, 0)
        if whole and dataset.contract is not None:
            merge([dataset], output)
    except VlaAdapterError as error:
        assert len(str(error)) < 3000
        return str(error)
    return ""


def test_a_camera_of_a_stranger_writes_nothing_outside(root, tmp_path):
    evil = "x/../../../../victim/owned"
    text = (root / "meta/contract.yaml").read_text().replace("third_view", evil)
    (root / "meta/contract.yaml").write_text(text)
    change_info(root, lambda info: info["features"].update(
        {f"observation.images.{evil}": info["features"].pop("observation.images.third_view")}
    ))  # fmt: skip
    assert main(["dataset", "merge", str(root), "--output", str(tmp_path / "deep/er/out")]) == 1
    assert not (tmp_path / "victim").exists() and not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../x", ".hidden"])
def test_a_part_has_a_name(root, tmp_path, name, capsys):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match="allowed"):
        split(DatasetReader(root), {name: [0]}, tmp_path / "out")
    assert main(["dataset", "split", str(root), f"{name}=0", "--output", str(tmp_path / "out")]) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_episodes_are_numbers_that_exist(root, tmp_path, capsys):
    for text in ("0-99999999999", "0,0", "9" * 5000):
        assert main(["dataset", "split", str(root), f"a={text}", "--output", str(tmp_path / "out")]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_links_out_of_a_data_set_are_not_followed(root, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (root / "README.md").unlink(missing_ok=True)
    (root / "README.md").symlink_to(tmp_path / "secret")
    (root / "meta/stats.json").unlink()
    repair_dataset(root, tmp_path / "repaired")
    assert not [p for p in (tmp_path / "repaired").rglob("*") if p.is_file() and p.read_bytes() == b"secret"]
    with pytest.raises(DatasetError, match="link"):
        push_to_hub(root, "me/set", api=object())
    (root / "README.md").unlink()
    video = root / "videos/observation.images.gripper/chunk-000/file-000.mp4"
    video.rename(tmp_path / "private.mp4")
    video.symlink_to(tmp_path / "private.mp4")
    assert "link" in merge([DatasetReader(root)], tmp_path / "merged")[0].remarks[0]
    assert "link" in repair_dataset(root, tmp_path / "again").dropped[0]


def test_a_download_of_the_hub_may_consist_of_links(whole, tmp_path):
    snapshot, blobs = tmp_path / "snapshots/main", tmp_path / "blobs"
    blobs.mkdir()
    for n, path in enumerate(p for p in whole.rglob("*") if p.is_file()):
        shutil.copy(path, blobs / str(n))
        link = snapshot / path.relative_to(whole)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blobs / str(n), link.parent))
    assert all(entry.index >= 0 for entry in merge([DatasetReader(snapshot)], tmp_path / "merged"))


@pytest.mark.parametrize("template", ["{chunk_index:9999999999}", "../../{chunk_index}", "{other}", 7, None])
@pytest.mark.parametrize("key", ["data_path", "video_path"])
def test_templates(root, tmp_path, key, template):
    change_info(root, lambda info: info.update({key: template}))
    assert key in use(root, tmp_path / "out")
    shutil.rmtree(root / "meta")
    assert not (tmp_path / "out").exists()


VALUES = (None, True, -1, 0, 7, 10**30, 1.5, float("nan"), float("inf"), "", "x", "../../x", [], [[]], [1],
          {}, {"a": 1}, ["a", None], "{chunk_index:99999999}")  # fmt: skip


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
@pytest.mark.parametrize("kind", ["ours", "foreign"])
def test_altered_info_is_refused_in_one_sentence_or_works(kind, seed, whole, foreign, tmp_path):
    rng = random.Random(seed)
    root = Path(shutil.copytree(whole if kind == "ours" else foreign, tmp_path / "set"))
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    for n in range(80):
        at = rng.choice(list(places(info)))
        new = rng.choice((..., *VALUES)) if at else rng.choice(VALUES)
        path.write_text(json.dumps(altered(info, at, new)))
        use(root, tmp_path / f"out{n}", whole=n % 10 == 0)


@pytest.mark.parametrize(
    "table", ["tasks", *(pytest.param(n, marks=pytest.mark.slow) for n in ("episodes", "data"))]
)
def test_altered_tables_are_refused_in_one_sentence_or_work(table, root, tmp_path):
    place = {"tasks": "meta/tasks.parquet", "episodes": "meta/episodes/chunk-000/file-000.parquet",
             "data": "data/chunk-000/file-000.parquet"}[table]  # fmt: skip
    path, original = root / place, pq.read_table(root / place)
    count, refused = original.num_rows, 0
    columns = [n for n in original.column_names if not n.startswith("stats/")]
    for n, name in enumerate(columns):
        at = original.column_names.index(name)
        ragged = [[1.0] * (1 + i % 2) for i in range(count)]
        kinds = ([None], ["x"], [-1], [2**40], [float("nan")], [[[1.0]]], [{"a": 1}], [["a"]])
        for m, values in enumerate((None, ragged, *(kind * count for kind in kinds))):
            changed = original.remove_column(at)
            if values is not None:
                changed = changed.add_column(at, name, pa.array(values))
            pq.write_table(changed, path)
            rare = (n + m) % 9 == 0
            refused += bool(use(root, tmp_path / f"out{n}-{m}", whole=rare))
            if rare:
                with contextlib.suppress(VlaAdapterError):
                    repair_dataset(root, tmp_path / f"repaired{n}-{m}")
    assert refused > len(columns)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[]", "7", "nul", "", '{"a":' * 60 + "1" + "}" * 60], ids=lambda text: text[:5]
)
def test_files_that_hold_no_mapping(root, tmp_path, text, capsys):
    for name in ("meta/info.json", "meta/stats.json"):
        kept = (root / name).read_text()
        (root / name).write_text(text)
        assert name.split("/")[1] in use(root, tmp_path / "out")
        (root / name).write_text(kept)
    (root / "meta/info.json").write_text(text)
    for command in ("info", "check"):
        assert main(["dataset", command, str(root)]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_places_that_cannot_be_read(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / ("x" * 300), tmp_path / "file/set"):
        for command in ("info", "check", "repair", "view"):
            assert main(["dataset", command, str(path)]) == 1, command
        assert main(["dataset", "merge", str(path), "--output", str(tmp_path / "o")]) == 1
    assert "Traceback" not in capsys.readouterr().err

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "info.json")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert main(["dataset", "info", str(tmp_path)]) == 1
