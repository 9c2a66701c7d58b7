"""Our network against the published code: small random checkpoints, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.policy import Inputs
from vla_adapter_ros.model.preprocessing import center_crop, jpeg_round_trip, lanczos_resize

from .golden import GOLDEN, Golden

pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="no golden data: set VLA_ADAPTER_SHARED to the folder that holds golden/"
)
SAMPLES = (0, 1, 2)


@pytest.fixture(scope="module", params=["base", "pro"])
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


@pytest.fixture(scope="module")
def policy(golden: Golden) -> VlaAdapterPolicy:
    return VlaAdapterPolicy.from_pretrained(golden.checkpoint)


def inputs_of(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> Inputs:
    """The reference's cropped images through the rest of our chain."""
    ids, mask = policy.tokenize([golden.info["samples"][sample]["task"]])
    pixels = policy.pixel_values(np.stack(golden.images(sample, "cropped")))[None]
    proprio = policy.normalize_proprio(golden.array(sample, "proprio_raw"))
    return Inputs(ids, mask, pixels, torch.from_numpy(proprio).float()[None])


def run(policy: VlaAdapterPolicy, inputs: Inputs) -> dict[str, Any]:
    """Run the network and keep what lies between input and output."""
    network, kept = policy.network, {"head_blocks": []}
    blocks = network.action_head.model.mlp_resnet_blocks
    handles = [
        block.register_forward_hook(lambda m, a, out: kept["head_blocks"].append(out[0])) for block in blocks
    ]
    handles.append(blocks[0].register_forward_pre_hook(lambda m, args: kept.update(head_x0=args[0][0])))
    with torch.inference_mode():
        kept["vision_patches"] = network.vision_backbone(inputs.pixel_values.to(network.dtype))[0]
        kept["projected_patches"] = network.patch_tokens(inputs.pixel_values)[0]
        conditions = network.conditions(inputs.input_ids, inputs.attention_mask, inputs.pixel_values)
        kept["proprio_feature"] = network.proprio_projector(inputs.proprio.to(network.dtype))[0, 0]
        kept["actions_norm"] = network.head_actions(conditions, inputs.proprio)[0]
    for handle in handles:
        handle.remove()
    kept["head_blocks"] = torch.stack(kept["head_blocks"])
    kept["task"], kept["action"] = conditions.task[0], conditions.action[0]
    return kept


def distance(ours: Any, reference: np.ndarray) -> float:
    ours = np.asarray(ours.float() if isinstance(ours, torch.Tensor) else ours)
    assert ours.shape == reference.shape
    return float(np.abs(ours.astype(np.float64) - reference).max())


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
    ids, mask = policy.tokenize([golden.info["samples"][sample]["task"]])
    np.testing.assert_array_equal(ids[0].numpy(), golden.array(sample, "input_ids"))
    assert mask.all()


@pytest.mark.parametrize("sample", SAMPLES)
def test_images_are_resized_within_one_level_and_cropped_exactly(golden: Golden, sample: int) -> None:
    for name in golden.info["samples"][sample]["images"]:
        source = golden.array(sample, f"image/{name}")
        if f"s{sample}/resized/{name}" in golden.arrays.files:
            resized = golden.array(sample, f"resized/{name}")
            decoded = f"s{sample}/jpeg/{name}"
            if decoded in golden.arrays.files:
                off = np.abs(lanczos_resize(golden.arrays[decoded][None], 224)[0].astype(int) - resized)
                assert off.max() <= 1 and (off > 0).mean() < 1e-3
        else:
            resized = source
        np.testing.assert_array_equal(
            center_crop(resized[None], 0.9)[0], golden.array(sample, f"cropped/{name}")
        )


def test_pixel_values(policy: VlaAdapterPolicy, golden: Golden) -> None:
    inputs = inputs_of(policy, golden, 0)
    stacked = inputs.pixel_values[0].flatten(0, 1)  # the published layout: images on the channel axis
    assert distance(stacked, golden.array(0, "fp32/pixel_values")) <= golden.tolerance["fp32"]["pixel_values"]


@pytest.mark.parametrize("sample", SAMPLES)
def test_proprioception(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> None:
    ours = policy.normalize_proprio(golden.array(sample, "proprio_raw"))
    np.testing.assert_allclose(ours, golden.array(sample, "proprio_norm"), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_stage_in_fp32(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> None:
    kept, tolerance = run(policy, inputs_of(policy, golden, sample)), golden.tolerance["fp32"]
    arrays, sub = golden.arrays, golden.arrays["task_sub_positions"]
    if sample == 0:
        reference = golden.array(0, "fp32/vision_patches")
        assert distance(kept["vision_patches"], reference) <= tolerance["vision_patches"]
        full = torch.cat([kept["task"], kept["action"]], dim=1)[arrays["full_levels"]]
        assert distance(full, golden.array(0, "fp32/hs_full")) <= tolerance["hidden_states"]
    reference = golden.array(sample, "fp32/hs_action")
    levels = range(25) if len(reference) == 25 else arrays["bf16_levels"]
    assert distance(kept["action"][list(levels)], reference) <= tolerance["hidden_states"]
    task = kept["task"][:, sub]
    assert distance(task, golden.array(sample, "fp32/hs_task_sub")) <= tolerance["hidden_states"]
    norms = torch.stack([kept["task"].double().norm(dim=(1, 2)), kept["action"].double().norm(dim=(1, 2))], 1)
    np.testing.assert_allclose(norms, golden.array(sample, "fp32/hs_level_norms"), rtol=1e-4)
    for key, name in (
        ("projected_patches", "projected_patches"),
        ("proprio_feature", "head_blocks"),
        ("head_blocks", "head_blocks"),
        ("actions_norm", "actions_norm"),
    ):
        assert distance(kept[key], golden.array(sample, f"fp32/{key}")) <= tolerance[name], key
    # Leaving out the first norm's bias would show as 1e-6 here, and nowhere else.
    assert distance(kept["head_x0"][:1], golden.array(sample, "fp32/head_x0")) <= 3e-7
    actions = policy.unnormalize_actions(kept["actions_norm"].numpy())
    assert distance(actions, golden.array(sample, "fp32/actions")) <= 2e-4


def test_explicit_softmax_gives_the_same(golden: Golden) -> None:
    policy = VlaAdapterPolicy.from_pretrained(golden.checkpoint, attention="eager")
    kept = run(policy, inputs_of(policy, golden, 0))
    assert distance(kept["actions_norm"], golden.array(0, "fp32/actions_norm")) <= 1e-4


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_stage_in_bf16(golden: Golden, sample: int) -> None:
    policy = VlaAdapterPolicy.from_pretrained(golden.checkpoint, dtype=torch.bfloat16)
    kept, tolerance = run(policy, inputs_of(policy, golden, sample)), golden.tolerance["bf16"]
    assert policy.network.language_model.model.rotary_emb.inv_freq.dtype == torch.float32
    levels = golden.arrays["bf16_levels"]
    action = kept["action"][levels]
    assert distance(action, golden.array(sample, "bf16/hs_action")) <= tolerance["hidden_states"]
    for key in ("head_blocks", "actions_norm"):
        assert distance(kept[key], golden.array(sample, f"bf16/{key}")) <= tolerance[key], key


@pytest.mark.parametrize("sample", SAMPLES)
def test_predict_from_camera_images(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> None:
    """The whole chain in one call, from the camera's bytes to actions in physical units."""
    pytest.importorskip("simplejpeg", reason="the official JPEG step needs simplejpeg")
    images, info = golden.images(sample, "image"), golden.info["samples"][sample]
    cropped = np.stack(golden.images(sample, "cropped"))
    ours = np.stack([policy.resize_images(image) for image in images])
    off = np.abs(ours.astype(int) - cropped)
    assert off.max() <= 1 and (off > 0).mean() < 1e-3
    actions = policy.predict(images, info["task"], golden.array(sample, "proprio_raw"))
    assert distance(actions, golden.array(sample, "fp32/actions")) <= 2e-3
    if golden.name == "pro":
        assert np.ptp(actions, axis=0).max() > 0.01  # the rows differ
    else:
        assert np.ptp(actions, axis=0).max() == 0.0  # a property of the published base head


def test_jpeg_step_is_exact(golden: Golden) -> None:
    pytest.importorskip("simplejpeg", reason="the official JPEG step needs simplejpeg")
    keys = [key for key in golden.arrays.files if "/jpeg/" in key]
    assert keys
    for key in keys:
        source = golden.arrays[key.replace("/jpeg/", "/image/")]
        np.testing.assert_array_equal(jpeg_round_trip(source), golden.arrays[key])


def test_left_padding_does_not_change_the_result(policy: VlaAdapterPolicy, golden: Golden) -> None:
    tasks = [golden.info["samples"][i]["task"] for i in SAMPLES]
    ids, mask = policy.tokenize(tasks)
    assert not mask.all()
    batch = [inputs_of(policy, golden, i) for i in SAMPLES]
    pixels = torch.cat([inputs.pixel_values for inputs in batch])
    proprio = torch.cat([inputs.proprio for inputs in batch])
    with torch.inference_mode():
        together = policy.network(ids, mask, pixels, proprio)
    for sample in SAMPLES:
        assert distance(together[sample], golden.array(sample, "fp32/actions_norm")) <= 1e-4


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
