"""RLDS data sets: what TensorFlow Datasets wrote is read without it, imported, checked, and trained on."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rlds_content import SIZE, bridge_episodes, libero_episodes
from training.training_samples import make_backbone

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import Contract, parse_contract, robots_folder
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.rlds.forms import Form, binarize
from vla_adapter_ros.dataset.rlds.reader import RldsReader
from vla_adapter_ros.dataset.rlds.records import find_records
from vla_adapter_ros.dataset.tools.importing_rlds import import_rlds
from vla_adapter_ros.errors import DatasetError, MappingError

pytest.importorskip("google_crc32c", reason="RLDS data needs google-crc32c: pip install google-crc32c")
pytest.importorskip("google.protobuf", reason="RLDS data needs protobuf: pip install protobuf")

SAMPLES = Path(__file__).parents[2] / "data" / "rlds"
LIBERO, BRIDGE = SAMPLES / "libero_sample", SAMPLES / "bridge_sample"


def contract_data(rate_hz: float, states: int, cameras: int = 2) -> dict[str, Any]:
    """The simulated Franka, with so many state values, small cameras, and motions of its tool as actions."""
    data = yaml.safe_load((robots_folder() / "franka_sim_ee.yaml").read_text(encoding="utf-8"))
    data |= {"name": "rlds", "rate_hz": rate_hz, "state": data["state"][:states]}
    data["cameras"] = dict(list(data["cameras"].items())[:cameras])
    for camera in data["cameras"].values():
        camera |= {"width": SIZE, "height": SIZE}
        camera.pop("pose", None)
    return data


def make_contract(rate_hz: float, states: int, cameras: int = 2) -> Contract:
    return parse_contract(contract_data(rate_hz, states, cameras))


def bridge_contract() -> Contract:
    contract = make_contract(5, 8, cameras=1)
    kept = tuple(value for value in contract.state if value.joint != "fr3_joint7")
    limits = {name: limit for name, limit in contract.limits.items() if name != "fr3_joint7"}
    home = {name: value for name, value in contract.home.items() if name != "fr3_joint7"}
    return dataclasses.replace(contract, state=kept, limits=limits, home=home)


def rows_of(dataset: DatasetReader, name: str) -> list[np.ndarray]:
    return [dataset.rows(episode.index)[name] for episode in dataset.episodes]


@pytest.mark.parametrize("sample", [LIBERO, BRIDGE], ids=lambda path: path.name)
def test_rows_are_those_that_the_library_itself_reads(sample: Path) -> None:
    reader = RldsReader(sample, 10.0)
    theirs = np.load(sample.with_suffix(".npz"))
    assert reader.num_episodes == len({name.partition("/")[0] for name in theirs.files}) == 2
    for episode in reader.episodes:
        rows = reader.rows(episode.index)
        for ours, name in (("action", "action"), ("observation.state", "state"), ("reward", "reward"),
                           ("is_first", "is_first"), ("is_last", "is_last")):  # fmt: skip
            expected = theirs[f"{episode.number}/{name}"]
            assert rows[ours].dtype == expected.dtype
            np.testing.assert_array_equal(rows[ours], expected)
        said = [text.decode() for text in theirs[f"{episode.number}/language_instruction"]]
        assert reader.row_tasks(episode.index) == said
        for camera in reader.cameras:
            pictures = np.stack(list(reader.images(camera, episode.index)))[::5]
            expected = theirs[f"{episode.number}/{camera}"]
            # Decoders of JPEG differ by a few levels; PNG is exact.
            np.testing.assert_allclose(
                pictures.astype(int), expected.astype(int), atol=0 if sample == BRIDGE else 4
            )
            np.testing.assert_array_equal(reader.image(camera, episode.index, 5), pictures[1])


def test_libero_is_imported_as_its_cameras_and_robot_gave_it(tmp_path: Path) -> None:
    contract = make_contract(20, 8)
    report = import_rlds(LIBERO, contract, tmp_path / "ours", form=Form.LIBERO)
    assert [entry.frames for entry in report.episodes] == [12, 8]  # the arm rests in two rows
    assert "2 steps are left out by the form" in report.remarks
    ours = DatasetReader(tmp_path / "ours")
    assert ours.contract == contract
    for episode, content in zip(ours.episodes, libero_episodes(), strict=True):
        kept = np.delete(np.arange(len(content["action"])), [3, 4] if episode.index else [])
        rows = ours.rows(episode.index)
        np.testing.assert_array_equal(rows["observation.state"], content["state"][kept])
        np.testing.assert_array_equal(rows["action"][:, :6], content["action"][kept, :6])
        np.testing.assert_array_equal(rows["action"][:, 6], content["action"][kept, 6] < 0)  # 1 opens here
        assert ours.task_of(episode.index) == content["task"]
        for camera, theirs in (("third_view", "image"), ("gripper", "wrist_image")):
            pictures = np.stack(list(ours.images(camera, episode.index))).astype(int)
            turned = content["images"][theirs][kept][:, ::-1, ::-1].astype(int)
            assert np.abs(pictures - turned).mean() < 3  # JPEG, then a video


def test_bridge_gets_the_motion_that_was_reached(tmp_path: Path) -> None:
    report = import_rlds(BRIDGE, bridge_contract(), tmp_path / "ours", form=Form.BRIDGE)
    assert report.kept == 1 and "no task" in report.episodes[1].remarks[0]  # it has no instruction
    rows = DatasetReader(tmp_path / "ours").rows(0)
    (content, _) = bridge_episodes()
    state = content["state"]
    np.testing.assert_array_equal(rows["observation.state"], state[1:-1])
    np.testing.assert_allclose(rows["action"][:, :6], state[2:, :6] - state[1:-1, :6], atol=1e-7)
    np.testing.assert_array_equal(rows["action"][:, 6], [1, 1, 0, 0, 0, 0, 1])


def test_half_open_grippers_take_the_value_that_comes_after() -> None:
    np.testing.assert_array_equal(binarize(np.array([0.5, 0.6, 1.0, 0.5, 0.0])), [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(binarize(np.array([1.0, 0.3, 0.4])), [1, 0.4, 0.4])
    assert len(binarize(np.zeros(0))) == 0


def test_ones_own_data_is_mapped_by_name(tmp_path: Path) -> None:
    names = make_contract(10, 8).state_names
    mapping = {
        "schema": 1,
        "cameras": {"third_view": "wrist_image", "gripper": "image"},
        "state": {name: f"observation.state[{7 - at}]" for at, name in enumerate(names)},
        "action": {
            **{name: f"action[{at}]" for at, name in enumerate(("x", "y", "z", "rx", "ry", "rz"))},
            "gripper": {"from": "action[6]", "open": -1, "closed": 1},
        },
    }
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    report = import_rlds(LIBERO, make_contract(10, 8), tmp_path / "ours", mapping=tmp_path / "mapping.yaml")
    assert any("10 Hz is taken" in remark for remark in report.remarks)
    ours, (content, _) = DatasetReader(tmp_path / "ours"), libero_episodes()
    np.testing.assert_array_equal(ours.rows(0)["observation.state"], content["state"][:, ::-1])
    picture = ours.image("third_view", 0, 0).astype(int)
    assert np.abs(picture - content["images"]["wrist_image"][0].astype(int)).mean() < 3


def test_a_lower_rate_adds_the_motions_up(tmp_path: Path) -> None:
    report = import_rlds(LIBERO, make_contract(10, 8), tmp_path / "ours", form=Form.LIBERO)
    assert "resampled from 20 to 10 Hz" in report.remarks
    rows, (content, _) = DatasetReader(tmp_path / "ours").rows(0), libero_episodes()
    np.testing.assert_array_equal(rows["observation.state"], content["state"][::2])
    summed = content["action"][:, :6].reshape(6, 2, 6).sum(axis=1)
    np.testing.assert_allclose(rows["action"][:, :6], summed, atol=1e-6)


def test_an_import_through_the_command_is_checked_and_trains(tmp_path: Path, capsys) -> None:
    contract, ours = tmp_path / "contract.yaml", str(tmp_path / "ours")
    contract.write_text(yaml.safe_dump(contract_data(20, 8), sort_keys=False))
    words = ["dataset", "import-rlds", str(LIBERO / "1.0.0"), "--form", "libero", "--contract", str(contract)]
    assert main([*words, "--output", ours]) == 0
    assert "2 of 2 episodes" in capsys.readouterr().out
    assert main([*words, "--output", ours]) == 1  # not twice
    assert "has 2 episodes already" in capsys.readouterr().err
    assert main(["dataset", "check", ours]) in (0, 1)  # so few episodes are not good data
    assert "format" in capsys.readouterr().out
    start = str(make_backbone(tmp_path / "tiny"))
    tune = ["finetune", "--recipe", "paper", "--dataset", ours, "--output", str(tmp_path / "out")]
    few = ["--steps", "4", "--batch-size", "2", "--chunk", "3", "--lora-rank", "2", "--device", "cpu"]
    assert main([*tune, "--init", start, *few]) in (0, 3)  # 3: it does not listen to the instruction
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_contract_is_drafted_for_ones_own_data(tmp_path: Path, capsys) -> None:
    drafted = tmp_path / "mine.yaml"
    words = ["dataset", "draft-contract", str(LIBERO), "--output", str(drafted)]
    assert main(words) == 2
    assert "--rate: needed for RLDS data" in capsys.readouterr().err
    assert main([*words, "--rate", "20"]) == 0
    assert not (tmp_path / "mine_mapping.yaml").exists()  # the contract has the data's own names
    words = ["dataset", "import-rlds", str(LIBERO), "--rate", "20", "--contract", str(drafted)]
    assert main([*words, "--output", str(tmp_path / "ours")]) == 0
    assert DatasetReader(tmp_path / "ours").num_frames == 22


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BRIDGE, tmp_path / "copied"))


def shard(root: Path) -> Path:
    return next(root.glob("*/*.tfrecord-*"))


def test_damaged_files_are_one_sentence(copied: Path) -> None:
    path = shard(copied)
    whole = path.read_bytes()
    second = find_records(path)[1]
    for name, data, said in (
        ("cut off", whole[:-50], r"cut off in record 1, of \d+ bytes"),
        ("cut in a head", whole[: second.start - 5], r"cut off in record 1, at byte"),
        ("a changed byte", whole[:900] + bytes([whole[900] ^ 1]) + whole[901:], "does not fit its checksum"),
        ("no records", b"x" * len(whole), "damaged at byte 0, or no TFRecord file"),
    ):
        path.write_bytes(data)
        with pytest.raises(DatasetError, match=said):
            RldsReader(copied, 5.0)
            pytest.fail(name)
    path.unlink()
    with pytest.raises(DatasetError, match="0 of the 1 files of split 'train' are there"):
        RldsReader(copied, 5.0)


def test_what_is_no_rlds_data_is_told(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="split 'test': allowed are \\['train'\\]"):
        RldsReader(copied, 5.0, split="test")
    info = copied / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"tfrecord"', '"array_record"'))
    with pytest.raises(DatasetError, match=r"array_record.*: allowed is tfrecord"):
        RldsReader(copied, 5.0)
    shutil.copytree(copied / "1.0.0", copied / "2.0.0")
    with pytest.raises(DatasetError, match=r"it has the versions \['1.0.0', '2.0.0'\]: name one"):
        RldsReader(copied, 5.0)
    with pytest.raises(DatasetError, match="it has none"):
        RldsReader(tmp_path, 5.0)
    for text in ("{}", '{"featuresDict": {"features": {}}}', "[]"):
        (copied / "2.0.0" / "features.json").write_text(text)
        with pytest.raises(DatasetError, match=r"features\.json"):
            RldsReader(copied / "2.0.0", 5.0)


def test_other_commands_say_what_to_do_with_it() -> None:
    with pytest.raises(DatasetError, match=r"is an RLDS data set.*dataset import-rlds"):
        open_dataset(LIBERO)


@pytest.mark.parametrize(
    ("contract", "form", "error", "said"),
    [
        (make_contract(20, 7), Form.LIBERO, MappingError, "has 8 values, the contract's"),
        (make_contract(5, 8), Form.BRIDGE, DatasetError, "has 2 cameras, the data of form bridge"),
        (make_contract(30, 8), Form.LIBERO, MappingError, "up to 20"),
        (make_contract(5, 8, cameras=1), Form.LIBERO, None, ""),
    ],
)
def test_a_contract_that_does_not_fit_is_refused(contract, form, error, said, tmp_path: Path) -> None:
    sample = BRIDGE if form is Form.BRIDGE else LIBERO
    if error is None:
        assert import_rlds(sample, contract, tmp_path / "ours", form=form).kept == 2
        return
    with pytest.raises(error, match=said):
        import_rlds(sample, contract, tmp_path / "ours", form=form)
    assert not (tmp_path / "ours").exists()


def test_the_samples_are_what_the_library_writes(tmp_path: Path) -> None:
    """Where another Python has TensorFlow Datasets: RLDS_PYTHON names it."""
    python = os.environ.get("RLDS_PYTHON")
    if not python:
        pytest.skip("RLDS_PYTHON names no Python with tensorflow_datasets")
    script = Path(__file__).with_name("write_rlds_samples.py")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [python, str(script), str(tmp_path)], check=True, capture_output=True, cwd=script.parent, env=clean,
        timeout=600,
    )  # fmt: skip
    for sample in (LIBERO, BRIDGE):
        fresh = RldsReader(tmp_path / sample.name, 10.0)
        stored = RldsReader(sample, 10.0)
        for name in ("action", "observation.state"):
            for ours, theirs in zip(rows_of(stored, name), rows_of(fresh, name), strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert "tensorflow" not in sys.modules
