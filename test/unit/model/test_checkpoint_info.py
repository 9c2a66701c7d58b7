"""`checkpoint info`, `verify` and `convert`, below the command line."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vla_adapter_ros.contract.resources import checkpoints_folder
from vla_adapter_ros.errors import CheckpointError, ModelConfigError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_info import describe
from vla_adapter_ros.model.checkpoint_verification import verify
from vla_adapter_ros.model.official_conversion import convert

from .official_sample import fitting_contract, official_policy, write_official

SHIPPED = checkpoints_folder() / "franka_sim_tiny"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_official(tmp_path / "official")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def results(folder: Path, **options: str) -> dict[str, bool]:
    return {check.name: check.level != "fail" for check in verify(folder, **options)}


def test_info_of_a_shipped_checkpoint() -> None:
    found = describe(SHIPPED)
    policy = VlaAdapterPolicy.from_pretrained(SHIPPED)
    parameters = dict(found["parameters"])
    assert parameters.pop("total") == sum(parameters.values())
    assert sum(parameters.values()) == sum(p.numel() for p in policy.network.parameters())
    assert found["kind"] == "own" and found["head"] == "pro" and found["stored_as"] == ["F16"]
    assert found["contract"]["name"] == "franka_sim" and found["sizes"]["chunk"] == 8
    assert found["records"]["training.json"]["settings"]["batch"] == 32
    assert any("token_order" in text for text in found["official_code_differs"])
    assert found["bytes"]["model.safetensors"] == (SHIPPED / "model.safetensors").stat().st_size
    json.dumps(found)


def test_info_of_an_official_checkpoint(folder: Path) -> None:
    found = describe(folder)
    assert found["kind"] == "official" and found["sizes"] is None and found["contract"] is None
    assert found["platforms_that_fit"] == ["libero", "calvin"]
    assert found["statistics"]["drawer"]["action"]["mask"][-1] is False
    shown = describe(folder, "libero")
    assert shown["sizes"]["chunk"] == 8 and shown["preprocessing"]["rotate_180"]
    assert shown["official_code_differs"] == []
    with pytest.raises(CheckpointError, match="only for official"):
        describe(SHIPPED, "libero")


def test_parts_are_counted_from_headers(tmp_path: Path) -> None:
    counted = describe(write_official(tmp_path))["parameters"]
    network = official_policy().network
    for part, module in (
        ("vision_backbone.featurizer", network.vision_backbone.featurizer),
        ("language_model", network.language_model),
        ("action_head", network.action_head),
        ("proprio_projector", network.proprio_projector),
    ):
        assert counted[part] == sum(p.numel() for p in module.parameters()), part


def test_verify_passes_good_checkpoints(folder: Path) -> None:
    names = ["files", "weights", "finite", "statistics", "contract", "prediction", "chunk"]
    assert results(SHIPPED) == dict.fromkeys(names, True)
    pytest.importorskip(
        "simplejpeg", reason="the official JPEG step needs simplejpeg: pip install simplejpeg"
    )
    assert results(folder, platform="libero") == dict.fromkeys(names, True)
    assert results(checkpoints_folder() / "grounded_tiny")["prediction"]


def test_verify_says_what_is_wrong(folder: Path) -> None:
    checks = list(verify(folder))
    assert [check.level != "fail" for check in checks] == [True, False] and "give one of" in checks[-1].text
    weights = load_file(folder / "model.safetensors")
    weights["projector.fc1.bias"][3] = float("nan")
    save_file(weights, folder / "model.safetensors")
    checks = {check.name: check for check in verify(folder, platform="libero")}
    assert checks["finite"].level == "fail" and "projector.fc1.bias" in checks["finite"].text
    assert checks["prediction"].level == "fail" and "chunk" not in checks
    (folder / "action_head--checkpoint.pt").unlink()
    assert results(folder, platform="libero") == {"files": False}


def test_verify_tells_equal_rows(tmp_path: Path) -> None:
    pytest.importorskip(
        "simplejpeg", reason="the official JPEG step needs simplejpeg: pip install simplejpeg"
    )
    base = list(verify(write_official(tmp_path / "base", "base"), platform="libero"))
    assert base[-1].level == "pass" and "base head" in base[-1].text
    policy = official_policy("pro")
    with torch.no_grad():
        policy.network.action_head.model.fc2.weight.zero_()
    policy.save_pretrained(tmp_path / "dead")
    last = list(verify(tmp_path / "dead"))[-1]
    assert (last.name, last.level) == ("chunk", "fail") and "equal" in last.text


def test_convert_stores_platform_settings_and_contract(folder: Path, tmp_path: Path) -> None:
    before, contract = files_of(folder), fitting_contract()
    convert(
        folder, tmp_path / "ours", platform="libero", contract=contract,
        preprocessing={"rotate_180": False, "gripper_binarize": True},
    )  # fmt: skip
    assert files_of(folder) == before
    ours = VlaAdapterPolicy.from_pretrained(tmp_path / "ours")
    theirs = VlaAdapterPolicy.from_pretrained(
        folder, platform="libero", preprocessing={"rotate_180": False, "gripper_binarize": True}
    )
    assert ours.contract == contract and ours.config == theirs.config
    assert describe(tmp_path / "ours")["stored_as"] == ["BF16"]
    images = [np.random.default_rng(i).integers(0, 256, (224, 224, 3), dtype=np.uint8) for i in range(2)]
    np.testing.assert_array_equal(*(p.predict(images, "lift it?", np.zeros(8)) for p in (ours, theirs)))
    for name, data in files_of(tmp_path / "ours").items():
        if name not in ("vla_adapter.json", "contract.yaml", *[n for n in before if n.endswith(".pt")]):
            assert data == before[name], name
    with pytest.raises(CheckpointError, match="nothing to convert"):
        convert(tmp_path / "ours", tmp_path / "again", platform="libero", contract=contract)


def test_convert_refuses_a_robot_that_does_not_fit(folder: Path, tmp_path: Path) -> None:
    contract, target = fitting_contract(), tmp_path / "ours"
    one_camera = dict(list(contract.cameras.items())[:1])
    nine = (*contract.state, dataclasses.replace(contract.state[0], name="more"))
    for changed, message in (
        (dataclasses.replace(contract, rate_hz=10.0), "10 rows per second, the checkpoint's chunk 20"),
        (dataclasses.replace(contract, cameras=one_camera), "1 values in cameras, the model 2"),
        (dataclasses.replace(contract, state=nine), "9 values in state, the model 8"),
        (
            dataclasses.replace(
                contract, grippers=(dataclasses.replace(contract.grippers[0], dimension="x"),)
            ),
            r"grippers in the columns \[0\], gripper_columns are \[-1\]",
        ),
    ):
        with pytest.raises(CheckpointError, match=message):
            convert(
                folder, target, platform="libero", contract=changed, preprocessing={"gripper_binarize": True}
            )
        assert not target.exists()
    slow = dataclasses.replace(contract, rate_hz=10.0)
    convert(folder, target, platform="libero", contract=slow, rate_hz=10.0)
    assert VlaAdapterPolicy.from_pretrained(target).contract.rate_hz == 10.0


def test_convert_compares_action_spaces(folder: Path, tmp_path: Path) -> None:
    contract = fitting_contract()
    pose = dataclasses.replace(contract, action=dataclasses.replace(contract.action, space="ee_pose"))
    with pytest.raises(CheckpointError, match="are ee_delta, contract 'seven' says ee_pose"):
        convert(folder, tmp_path / "ours", platform="libero", contract=pose)


def test_convert_writes_to_new_places_only(folder: Path, tmp_path: Path) -> None:
    before = files_of(folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("kept")
    for target in (folder, folder / "inside", tmp_path / "full", tmp_path / "full" / "x"):
        with pytest.raises(CheckpointError, match="cannot take the copy"):
            convert(folder, target, platform="libero", contract=fitting_contract())
    with pytest.raises(ModelConfigError, match="'size' is unknown"):
        convert(
            folder,
            tmp_path / "new",
            platform="libero",
            contract=fitting_contract(),
            preprocessing={"size": 1},
        )
    assert files_of(folder) == before and not (tmp_path / "new").exists()


def test_verify_finds_statistics_that_contradict_each_other(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "copy"))
    path = folder / "dataset_statistics.json"
    stored = json.loads(path.read_text())
    for entry in stored.values():
        entry["action"]["mean"] = [value + 50 for value in entry["action"]["mean"]]
    path.write_text(json.dumps(stored))
    checks = {check.name: check for check in verify(folder)}
    assert checks["statistics"].level == "fail" and "the mean is not between" in checks["statistics"].text
