"""Checkpoints that somebody altered: refused in one sentence, or they predict finite numbers."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nested import altered, places
from safetensors.torch import load_file, save_file

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import checkpoints_folder, write_contract
from vla_adapter_ros.errors import CheckpointError, VlaAdapterError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.weights import read_plain_pt

from .official_sample import fitting_contract, write_official

SHIPPED = checkpoints_folder() / "franka_sim_tiny"
VALUES = (None, True, -1, 0, 3, 10**30, -1.0, 1.5, float("nan"), float("inf"), "", "x", [], [1], [[]], {},
          {"a": 1}, ["a", None])  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "checkpoint"))


@pytest.fixture
def official(tmp_path: Path) -> Path:
    return write_official(tmp_path / "official")


def predict(folder: Path, **options: Any) -> str:
    """The refusal, or an empty text and a finite prediction."""
    try:
        policy = VlaAdapterPolicy.from_pretrained(folder, **options)
        images = [np.zeros((112, 112, 3), np.uint8)] * policy.config.num_images
        actions = policy.predict(images, "pick up the cube", policy.statistics.proprio.mean)
    except VlaAdapterError as error:
        assert len(str(error)) < 3000
        return str(error)
    assert np.isfinite(actions).all()
    return ""


@pytest.mark.parametrize("count", [40, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["vla_adapter.json", "dataset_statistics.json"])
def test_altered_files_of_ours(folder: Path, name: str, count: int) -> None:
    rng, path = random.Random(name), folder / name
    data = json.loads(path.read_text())
    refused = 0
    for _ in range(count):
        at = rng.choice(list(places(data)))
        path.write_text(json.dumps(altered(data, at, rng.choice((..., *VALUES) if at else VALUES))))
        refused += bool(predict(folder))
    assert refused > count / 3


@pytest.mark.parametrize("count", [5, pytest.param(15, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_altered_files_of_official_ones(official: Path, name: str, count: int) -> None:
    pytest.importorskip("simplejpeg")
    rng, path = random.Random(name), official / name
    data = json.loads(path.read_text())
    data.pop("norm_stats", None)
    for _ in range(count):
        at = rng.choice(list(places(data)))
        path.write_text(json.dumps(altered(data, at, rng.choice((..., *VALUES) if at else VALUES))))
        try:
            VlaAdapterPolicy.from_pretrained(official, platform="libero")
        except VlaAdapterError as error:
            assert len(str(error)) < 3000


@pytest.mark.parametrize("change", [
    ("llm", "rope_theta", -1.0), ("llm", "rope_theta", 0.0), ("llm", "rope_theta", float("nan")),
    ("llm", "rms_norm_eps", -1.0), ("llm", "kv_heads", 0), ("llm", "hidden", None), ("llm", "layers", 10**9),
    ("llm", "vocab_size", 10**12), ("stem", "strides", [0, 0, 0, 0]), ("head", "heads", 0),
    ("head", "blocks", []),
    ("preprocessing", "stds", [[0.0, 0.0, 0.0]]), ("preprocessing", "means", [[float("inf")] * 3]),
])  # fmt: skip
def test_sizes_that_no_model_has(folder: Path, change: tuple) -> None:
    part, key, value = change
    data = json.loads((folder / "vla_adapter.json").read_text())
    data[part][key] = value
    (folder / "vla_adapter.json").write_text(json.dumps(data))
    assert key in predict(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_at_load(folder: Path, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] = value
    save_file(weights, folder / "model.safetensors")
    assert "not finite" in predict(folder)


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_weights_that_are_no_numbers_with_a_point(folder: Path, kind: torch.dtype, capsys) -> None:
    whole = {key: value.to(kind) for key, value in load_file(folder / "model.safetensors").items()}
    save_file(whole, folder / "model.safetensors")
    assert "allowed are float32" in predict(folder)
    assert main(["checkpoint", "verify", str(folder)]) == 1
    said = capsys.readouterr()
    assert "fail weights" in said.out and "Traceback" not in said.err


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "7", "nul", "", '"x"'], ids=lambda text: text[:5])
@pytest.mark.parametrize("name", ["vla_adapter.json", "dataset_statistics.json", "tokenizer.json"])
def test_files_that_hold_something_else(folder: Path, name: str, text: str, capsys) -> None:
    (folder / name).write_text(text)
    assert name.split(".")[0] in predict(folder) or name == "vla_adapter.json"
    assert main(["checkpoint", "verify", str(folder)]) == 1
    main(["checkpoint", "info", str(folder)])
    assert "Traceback" not in capsys.readouterr().err


def test_a_record_of_a_wrong_type_does_not_stop_info(folder: Path, capsys) -> None:
    for text in ("[]", '{"settings": []}', '{"settings": 7}'):
        (folder / "training.json").write_text(text)
        assert main(["checkpoint", "info", str(folder)]) == 0
    (folder / "training.json").write_text("[" * 100_000)
    assert main(["checkpoint", "info", str(folder)]) == 1


def bombs(path: Path) -> Iterator[str]:
    torch.save({"a": torch.zeros(1).expand(2**36)}, path)
    assert path.stat().st_size < 2000
    yield "shown many times"
    torch.save({"a": torch.zeros(1 << 22)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in entries:
            archive.writestr(info.filename, data)
    assert path.stat().st_size < 100_000
    yield "packed"
    torch.save({"a": torch.zeros(3)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in entries:
            archive.writestr(info.filename, b"\0" * 4 if info.filename.endswith("/data/0") else data)
    yield "a block that is shorter than its tensor"
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    yield "the old format, whose blocks are made before they are read"
    torch.save({"a": torch.zeros(3).to_sparse()}, path)
    yield "sparse"
    torch.save({"a": torch.zeros(3, device="meta")}, path)
    yield "without numbers"
    path.write_bytes(b"PK\x05\x06" + bytes(18))
    yield "an empty archive"


def test_pt_files_do_not_grow(tmp_path: Path) -> None:
    path = tmp_path / "action_head--checkpoint.pt"
    for what in bombs(path):
        with pytest.raises(CheckpointError):
            read_plain_pt(path)
            pytest.fail(what)
        with pytest.raises(CheckpointError):
            read_plain_pt(path, nested=True)
            pytest.fail(what)
    good = {"a": torch.arange(12.0).view(3, 4).T, "b": torch.zeros(0)}
    torch.save(good | {"c": torch.nn.Parameter(torch.ones(2))}, path)
    assert list(read_plain_pt(path)) == ["a", "b", "c"]


def test_a_tokenizer_does_not_pad_without_end(folder: Path) -> None:
    data = json.loads((folder / "tokenizer.json").read_text())
    data["padding"] = {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None,
                       "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(data))
    assert predict(folder) == ""


def test_convert_copies_no_links(official: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "secret").write_text('{"secret": 1}')
    for name in ("generation_config.json", "tokenizer_config.json", "vocab.json"):
        (official / name).unlink(missing_ok=True)
        (official / name).symlink_to(tmp_path / "secret")
    write_contract(fitting_contract(), tmp_path / "c.yaml")
    arguments = ["--platform", "libero", "--contract", str(tmp_path / "c.yaml")]
    assert main(["checkpoint", "convert", str(official), str(tmp_path / "out"), *arguments]) == 0
    assert not [path for path in (tmp_path / "out").iterdir() if "secret" in path.read_text(errors="replace")]


def test_places_that_hold_no_checkpoint(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file/x", tmp_path / ("x" * 300), tmp_path):
        for command in ("info", "verify"):
            assert main(["checkpoint", command, str(path)]) == 1
    assert "Traceback" not in capsys.readouterr().err
