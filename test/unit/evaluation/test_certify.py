"""The certificate of a checkpoint: what is compared, what is written, and when it does not hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from training.training_samples import make_dataset

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import checkpoints_folder, read_contract
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model.certificate import FILE, certificate_problem, describe_setup, read_certificate
from vla_adapter_ros.model.engine import InferenceEngine
from vla_adapter_ros.model.familiarity import FILE as FAMILIARITY
from vla_adapter_ros.nodes.parameters import PolicyParameters
from vla_adapter_ros.nodes.policy_loading import load_policy

CONTRACT = read_contract("franka_sim")
MOVING = 3  # a joint that moves in the data of the shipped checkpoint
SETUP = describe_setup(torch.device("cpu"), torch.float32, compiled=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("set") / "demonstrations", episodes=3)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoints_folder() / "franka_sim_tiny", tmp_path / "checkpoint"))


@pytest.fixture
def certified(checkpoint: Path, dataset: Path) -> Path:
    assert certify(checkpoint, dataset) == 0
    return checkpoint


def certify(checkpoint: Path, dataset: Path, *more: str) -> int:
    words = ["checkpoint", "certify", str(checkpoint), "--dataset", str(dataset), "--rows", "5"]
    return main([*words, "--device", "cpu", *more])


def load(checkpoint: Path, **parameters):
    return load_policy(
        PolicyParameters(checkpoint=str(checkpoint), device="cpu", lock_step=True, **parameters), CONTRACT
    )


def test_the_engine_is_compared_value_by_value(certified: Path) -> None:
    found = read_certificate(certified)
    assert found.rows == 5 and found.dataset == "demonstrations" and len(found.rows_hash) == 64
    assert [d.name for d in found.deviations] == list(CONTRACT.action_names)
    assert [d.unit for d in found.deviations] == ["rad"] * 7 + ["gripper"]
    for deviation in found.deviations:
        assert deviation.p99 <= deviation.largest < 1e-5
        assert deviation.spread > 0
    assert found.setup == SETUP
    assert {"action_head--checkpoint.pt", "model.safetensors"} <= set(found.files)
    assert FAMILIARITY not in found.files


def test_bf16_differs_more_and_says_so(checkpoint: Path, dataset: Path) -> None:
    assert certify(checkpoint, dataset, "--dtype", "bf16") == 0
    found = read_certificate(checkpoint)
    assert found.setup["dtype"] == "bfloat16"
    assert max(d.largest for d in found.deviations) > 1e-4


@pytest.mark.parametrize(("error", "status"), [(0.001, 0), (0.3, 1)])
def test_an_engine_that_computes_something_else_is_not_certified(
    checkpoint: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys, error: float, status: int
) -> None:
    right = InferenceEngine.predict

    def predict(engine: InferenceEngine, *observation, **options):
        actions = right(engine, *observation, **options).clone()
        actions[2, MOVING] += error  # normalized: half of it is a fraction of the range
        return actions

    monkeypatch.setattr(InferenceEngine, "predict", predict)
    assert certify(checkpoint, dataset) == status
    said = capsys.readouterr().out
    if status:
        assert f"not certified: {CONTRACT.action_names[MOVING]} differ by more than 0.05" in said
        assert not (checkpoint / FILE).exists()
        assert certify(checkpoint, dataset, "--tolerance", "0.2") == 0
    found = read_certificate(checkpoint).deviations
    far = [d.name for d in found if d.largest > 1e-4]
    assert far == [CONTRACT.action_names[MOVING]]
    assert found[MOVING].largest == pytest.approx(error / 2 * found[MOVING].spread, rel=0.02)
    assert found[MOVING].p99 <= found[MOVING].largest


def test_what_changed_since_is_named(certified: Path) -> None:
    assert certificate_problem(certified, SETUP) == ""
    assert "dtype float32 then, bfloat16 now" in certificate_problem(certified, SETUP | {"dtype": "bfloat16"})
    assert "gpu none then, H200 now" in certificate_problem(certified, SETUP | {"gpu": "H200"})
    statistics = certified / "dataset_statistics.json"
    data = json.loads(statistics.read_text())
    next(iter(data.values()))["action"]["q99"][0] += 1e-6
    statistics.write_text(json.dumps(data))
    problem = certificate_problem(certified, SETUP)
    assert "not of these files: dataset_statistics.json changed since" in problem


def test_calibration_and_further_files_change_nothing(certified: Path) -> None:
    (certified / FAMILIARITY).write_bytes(b"anew")
    (certified / "README.md").write_text("notes")
    assert certificate_problem(certified, SETUP) == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "files": 3}', "\0"])
def test_a_damaged_certificate_is_one_sentence(checkpoint: Path, text: str) -> None:
    (checkpoint / FILE).write_text(text)
    with pytest.raises(CheckpointError, match="certify` writes it anew"):
        read_certificate(checkpoint)
    loaded = load(checkpoint)
    assert loaded.certificate == "does not hold" and "certify` writes it anew" in loaded.uncertified


def test_the_policy_node_looks_at_it(certified: Path) -> None:
    loaded = load(certified, require_certificate=True)
    assert (loaded.certificate, loaded.uncertified) == ("holds", "")
    assert loaded.describe()["certificate"] == "holds"
    warned = load(certified, dtype="bf16")
    assert warned.certificate == "does not hold"
    assert "dtype float32 then, bfloat16 now" in warned.uncertified
    with pytest.raises(CheckpointError, match=r"require_certificate = True: .* dtype float32 then"):
        load(certified, dtype="bf16", require_certificate=True)


def test_without_one_nothing_is_said_unless_it_is_required(checkpoint: Path) -> None:
    loaded = load(checkpoint)
    assert (loaded.certificate, loaded.uncertified) == ("none", "")
    with pytest.raises(CheckpointError, match=r"has no certificate: .*certify` makes one"):
        load(checkpoint, require_certificate=True)


def test_an_official_checkpoint_is_certified_with_a_contract(dataset: Path, tmp_path: Path) -> None:
    """The reference follows every step of the published preprocessing by itself."""
    from model.official_sample import fitting_contract, write_official

    from vla_adapter_ros.dataset.writer import DatasetWriter
    from vla_adapter_ros.model.official_conversion import convert
    from vla_adapter_ros.observation.frame import Frame

    contract = fitting_contract()
    rng = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "data", contract) as writer:
        writer.start_episode("pick up the bowl")
        for n in range(4):
            sizes = [(camera.height, camera.width, 3) for camera in contract.cameras.values()]
            images = {
                name: rng.integers(0, 256, size, dtype=np.uint8)
                for name, size in zip(contract.cameras, sizes, strict=True)
            }
            stamp = n / contract.rate_hz
            state = np.full(len(contract.state), 0.1 * n)
            action = np.full(len(contract.action_names), 0.05 * n)
            writer.add_frame(Frame(stamp, images, state, action, {}, stamp), 1)
        writer.save_episode()
    convert(
        write_official(tmp_path / "official"), tmp_path / "adopted", platform="libero", contract=contract,
        rate_hz=contract.rate_hz,
    )  # fmt: skip
    assert certify(tmp_path / "adopted", tmp_path / "data") == 0
    found = read_certificate(tmp_path / "adopted")
    assert max(d.largest / d.spread for d in found.deviations) < 1e-4
