from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vla_adapter_ros.errors import CheckpointError, ObservationError, StatisticsError
from vla_adapter_ros.model import Statistics, Tokenizer, VlaAdapterPolicy, preset
from vla_adapter_ros.model.device import fastest_dtype

TASK = "pick up the red cube"


def test_predict_gives_a_chunk_in_physical_units(
    tiny_policy: VlaAdapterPolicy, images: list[np.ndarray]
) -> None:
    actions = tiny_policy.predict(images, TASK, np.zeros(11))
    assert actions.shape == (8, 8) and actions.dtype == np.float64 and np.isfinite(actions).all()
    inputs = tiny_policy.prepare(images, TASK, np.zeros(11))
    pixels = tiny_policy.pixel_values(inputs.images)[None]
    with torch.inference_mode():
        raw = tiny_policy.network(inputs.input_ids[None], None, pixels, inputs.proprio[None])[0].numpy()
    np.testing.assert_allclose(tiny_policy.normalize_actions(actions), raw, atol=5e-6)


def test_every_input_matters(tiny_policy: VlaAdapterPolicy, images: list[np.ndarray]) -> None:
    base = tiny_policy.predict(images, TASK, np.zeros(11))
    dark = [images[0], np.zeros_like(images[1])]
    for other in (
        tiny_policy.predict(dark, TASK, np.zeros(11)),
        tiny_policy.predict(images, "pick up the blue cube", np.zeros(11)),
        tiny_policy.predict(images, TASK, np.full(11, 0.3)),
    ):
        assert np.abs(other - base).max() > 1e-6


def test_prediction_is_quick(tiny_policy: VlaAdapterPolicy, images: list[np.ndarray]) -> None:
    """CPU time, not wall time: the machine may be busy. About 8 ms on one core; 40 ms is the need."""
    times = []
    for _ in range(7):
        start = time.thread_time()
        tiny_policy.predict(images, TASK, np.zeros(11))
        times.append(time.thread_time() - start)
    assert min(times) < 0.04


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([np.zeros((112, 112, 3), np.uint8)], "1 images"),
        ([np.zeros((112, 112, 3), np.uint8)] * 3, "3 images"),
        ([np.zeros((112, 112, 3), np.float32)] * 2, "uint8"),
        ([np.zeros((112, 112), np.uint8)] * 2, "image 0"),
        ([np.zeros((112, 112, 3), np.uint8), None], "image 1 is a NoneType"),
    ],
)
def test_bad_images_are_refused(tiny_policy: VlaAdapterPolicy, images: list, message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        tiny_policy.predict(images, TASK, np.zeros(11))


@pytest.mark.parametrize(
    "proprio",
    [
        np.zeros(10),
        np.zeros((1, 11)),
        np.full(11, np.nan),
        np.array([np.inf] + [0.0] * 10),
        np.array(["a"] * 11),
    ],
)
def test_bad_proprioception_is_refused(
    tiny_policy: VlaAdapterPolicy, images: list[np.ndarray], proprio: np.ndarray
) -> None:
    with pytest.raises(ObservationError, match="proprioception"):
        tiny_policy.predict(images, TASK, proprio)


@pytest.mark.parametrize("instruction", ["", "cube " * 600])
def test_bad_instructions_are_refused(
    tiny_policy: VlaAdapterPolicy, images: list[np.ndarray], instruction: str
) -> None:
    with pytest.raises(ObservationError, match="instruction"):
        tiny_policy.predict(images, instruction, np.zeros(11))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.0), (torch.float16, 5e-3)])
def test_saving_and_loading(
    tiny_policy: VlaAdapterPolicy,
    images: list[np.ndarray],
    tmp_path: Path,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    tiny_policy.save_pretrained(tmp_path, dtype=dtype)
    again = VlaAdapterPolicy.from_pretrained(tmp_path)
    assert again.config == tiny_policy.config and again.contract == tiny_policy.contract
    assert again.network.dtype == torch.float32 and not again.network.training
    assert again.statistics.to_dict() == tiny_policy.statistics.to_dict()
    before, after = (p.predict(images, TASK, np.zeros(11)) for p in (tiny_policy, again))
    assert np.abs(before - after).max() <= tolerance
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {
        "config.json", "model.safetensors", "action_head--checkpoint.pt", "proprio_projector--checkpoint.pt",
        "dataset_statistics.json", "tokenizer.json", "preprocessor_config.json", "contract.yaml",
        "vla_adapter.json",
    }  # fmt: skip
    assert not [name for name in names if name.endswith(".tmp")]


def test_a_loaded_policy_can_be_trained(tiny_policy: VlaAdapterPolicy, tmp_path: Path) -> None:
    tiny_policy.save_pretrained(tmp_path)
    network = VlaAdapterPolicy.from_pretrained(tmp_path).network
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in network.parameters())


def test_a_backbone_has_no_head_until_it_gets_one(
    tiny_policy: VlaAdapterPolicy, statistics: Statistics, images: list[np.ndarray], tmp_path: Path
) -> None:
    backbone = VlaAdapterPolicy(tiny_policy.network, tiny_policy.config, tiny_policy.tokenizer)
    backbone.save_pretrained(tmp_path, dtype=torch.float32)
    names = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in names if "checkpoint.pt" in name or name == "dataset_statistics.json"]
    loaded = VlaAdapterPolicy.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="without a trained policy head"):
        loaded.predict(images, TASK, np.zeros(11))
    policy = loaded.with_new_head(action_dim=8, proprio_dim=11, chunk=5, statistics=statistics)
    assert policy.predict(images, TASK, np.zeros(11)).shape == (5, 8)
    for key, value in tiny_policy.network.state_dict().items():
        if not key.startswith(("action_head", "proprio_projector")):
            assert torch.equal(policy.network.state_dict()[key], value), key
    with torch.no_grad():
        policy.network.action_queries.weight.zero_()
    assert loaded.network.action_queries.weight.abs().max() > 0  # a copy, not shared


def test_saving_over_a_policy_leaves_no_stale_files(tiny_policy: VlaAdapterPolicy, tmp_path: Path) -> None:
    (tmp_path / "action_head--5000_checkpoint.pt").write_bytes(b"old")
    tiny_policy.save_pretrained(tmp_path)
    backbone = VlaAdapterPolicy(tiny_policy.network, tiny_policy.config, tiny_policy.tokenizer)
    backbone.save_pretrained(tmp_path)
    loaded = VlaAdapterPolicy.from_pretrained(tmp_path)
    assert loaded.statistics is None and loaded.contract is None


@pytest.mark.parametrize(
    "name",
    ["action_head--checkpoint.pt", "dataset_statistics.json", "model.safetensors", "tokenizer.json"],
)
def test_incomplete_checkpoints_are_refused(tiny_policy: VlaAdapterPolicy, tmp_path: Path, name: str) -> None:
    tiny_policy.save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError):
        VlaAdapterPolicy.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["action_head--checkpoint.pt", "model.safetensors", "vla_adapter.json"])
def test_damaged_checkpoints_are_refused(tiny_policy: VlaAdapterPolicy, tmp_path: Path, name: str) -> None:
    tiny_policy.save_pretrained(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=name.split(".")[0]):
        VlaAdapterPolicy.from_pretrained(tmp_path)


def test_unsafe_pickles_are_refused(tiny_policy: VlaAdapterPolicy, tmp_path: Path) -> None:
    tiny_policy.save_pretrained(tmp_path)
    torch.save({"model.fc1.weight": Path("x")}, tmp_path / "action_head--checkpoint.pt")
    with pytest.raises(CheckpointError, match="plain weights"):
        VlaAdapterPolicy.from_pretrained(tmp_path)


def test_weights_that_do_not_fit_are_named(tiny_policy: VlaAdapterPolicy, tmp_path: Path) -> None:
    tiny_policy.save_pretrained(tmp_path)
    path = tmp_path / "vla_adapter.json"
    data = json.loads(path.read_text())
    data["num_queries"] = 5
    path.write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match=r"action_queries\.weight: \(4, 128\) instead of \(5, 128\)"):
        VlaAdapterPolicy.from_pretrained(tmp_path)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint directory"):
        VlaAdapterPolicy.from_pretrained(tmp_path / "none")
    with pytest.raises(CheckpointError, match="nothing to load"):
        VlaAdapterPolicy.from_pretrained(tmp_path)


def test_parts_must_fit_each_other(tiny_policy: VlaAdapterPolicy, statistics: Statistics) -> None:
    network, tokenizer = tiny_policy.network, tiny_policy.tokenizer
    with pytest.raises(StatisticsError, match="proprio are 11 wide, the model's 7"):
        VlaAdapterPolicy(network, preset("tiny", proprio_dim=7), tokenizer, statistics)
    with pytest.raises(CheckpointError, match="embeddings"):
        VlaAdapterPolicy(network, preset("tiny", vocab=20), tokenizer, statistics)
    with pytest.raises(CheckpointError, match="2 values in cameras, the model 3"):
        VlaAdapterPolicy(network, preset("tiny", num_images=3), tokenizer, None, tiny_policy.contract)
    with pytest.raises(CheckpointError, match="prompt"):
        VlaAdapterPolicy(network, preset("0.5b"), Tokenizer.from_words(), None)


def test_the_fastest_type_follows_device_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability, dtype in (((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert fastest_dtype(torch.device("cuda"), 1000) == dtype
    assert fastest_dtype(torch.device("cpu"), 1_500_000) == torch.float32
    has_bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert fastest_dtype(torch.device("cpu"), 10**9) == (torch.bfloat16 if has_bf16 else torch.float32)


def test_warming_up_lays_out_prompts_and_changes_nothing(
    tiny_policy: VlaAdapterPolicy, images: list[np.ndarray]
) -> None:
    before = tiny_policy.predict(images, TASK, np.zeros(11))
    engine = tiny_policy.engine
    tiny_policy.warm_up()
    assert tiny_policy.engine is engine
    np.testing.assert_array_equal(tiny_policy.predict(images, TASK, np.zeros(11)), before)
