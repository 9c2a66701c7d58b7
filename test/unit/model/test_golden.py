"""Our network against the published code: small random checkpoints, stage by stage.

Which mistake each of these tests notices is shown by `test_quirks.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vla_adapter_ros.model import VlaAdapterPolicy

from . import golden_checks as checks
from .golden import Golden
from .golden_checks import inputs_of, open_policy, require, run

SAMPLES = (0, 1, 2)


@pytest.fixture(scope="module", params=["base", "pro"])
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


@pytest.fixture(scope="module")
def policy(golden: Golden) -> VlaAdapterPolicy:
    return open_policy(golden)


def test_configuration_is_read_from_the_official_files(policy: VlaAdapterPolicy, golden: Golden) -> None:
    config, info = policy.config, golden.info
    assert config.head.kind == golden.name
    assert (config.chunk, config.action_dim, config.proprio_dim) == (8, 7, 8)
    assert config.num_patches == info["num_patches"] and config.num_queries == info["num_queries"]
    assert config.num_task_tokens == info["head_task_tokens"]
    assert config.preprocessing.means[0] == (0.484375, 0.455078125, 0.40625)
    assert policy.statistics.name == info["unnorm_key"] and policy.contract is None


@pytest.mark.parametrize("sample", SAMPLES)
def test_token_ids_are_equal(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> None:
    require(checks.token_ids(policy, golden, sample))


@pytest.mark.parametrize("sample", SAMPLES)
def test_images_are_resized_within_one_level_and_cropped_exactly(golden: Golden, sample: int) -> None:
    require(checks.image_steps(golden, sample))


def test_jpeg_step_is_exact(golden: Golden) -> None:
    pytest.importorskip(
        "simplejpeg", reason="the official JPEG step needs simplejpeg: pip install simplejpeg"
    )
    require(checks.jpeg_step(golden))


def test_pixel_values(policy: VlaAdapterPolicy, golden: Golden) -> None:
    require(checks.pixel_values(policy, golden))


@pytest.mark.parametrize("sample", SAMPLES)
def test_numbers_are_scaled_exactly(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> None:
    require(checks.numbers(policy, golden, sample))


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_stage_in_fp32(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> None:
    require(checks.stages_fp32(policy, golden, sample))


def test_explicit_softmax_gives_the_same(golden: Golden) -> None:
    require(checks.stages_fp32(open_policy(golden, attention="eager"), golden, 0))


@pytest.mark.slow
def test_every_stage_in_bf16(golden: Golden) -> None:
    policy = open_policy(golden, dtype=torch.bfloat16)
    for sample in SAMPLES:
        require(checks.stages_bf16(policy, golden, sample))


@pytest.mark.parametrize("images", [1, 2, 3])
def test_the_head_parts_its_tokens_by_count(policy: VlaAdapterPolicy, images: int) -> None:
    require(checks.head_split(policy, images))


@pytest.mark.parametrize("sample", SAMPLES)
def test_predict_from_camera_images(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> None:
    """The whole chain in one call, from the camera's bytes to actions in physical units."""
    pytest.importorskip(
        "simplejpeg", reason="the official JPEG step needs simplejpeg: pip install simplejpeg"
    )
    require(checks.camera_images(policy, golden, sample))


def test_rows_of_a_chunk(policy: VlaAdapterPolicy, golden: Golden) -> None:
    spread = np.ptp(run(policy, inputs_of(policy, golden, 0))["actions_norm"].numpy(), axis=0).max()
    if golden.name == "pro":
        assert spread > 0.01
    else:
        assert spread == 0.0  # a property of the published base head


def test_left_padding_does_not_change_the_result(policy: VlaAdapterPolicy, golden: Golden) -> None:
    require(checks.padded_batch(policy, golden))


def test_saving_keeps_numbers_and_official_files(
    policy: VlaAdapterPolicy, golden: Golden, tmp_path: Path
) -> None:
    policy.save_pretrained(tmp_path, dtype=torch.bfloat16)
    again = VlaAdapterPolicy.from_pretrained(tmp_path)
    assert again.config == policy.config
    before, after = policy.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    for name in ("config.json", "preprocessor_config.json", "vocab.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (golden.checkpoint / name).read_bytes()
    head = torch.load(tmp_path / "action_head--checkpoint.pt", weights_only=True)
    official = torch.load(next(golden.checkpoint.glob("action_head*")), weights_only=True)
    assert set(head) == set(official) and all(torch.equal(head[k], official[k]) for k in head)
