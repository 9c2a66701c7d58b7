"""The comparisons with the reference data, as functions that give distances and tolerances.

`test_golden.py` and `test_golden_training.py` want all of them within tolerance; `test_quirks.py` breaks
our code in one place after the other and wants the same comparisons to notice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from vla_adapter_ros.model import VlaAdapterPolicy, preprocessing

from .golden import Golden
from .reference_head import reference_actions

ALL_LEVELS = 25
LEFT_OUT = ("hs_full", "projected_patches")  # of some samples, in the trimmed set
STRICT = {
    "vision_patches": 2e-5,
    "projected_patches": 2e-5,
    "hidden_states": 1e-4,
    "head_blocks": 1e-5,
    "actions_norm": 1e-5,
}
"""Tighter than the fixtures' own fp32 tolerances, by 5 to 20 times: another epsilon in a norm shows only
so. Kernels differ by a quarter of this at most."""


class Inputs(NamedTuple):
    """The network's arguments, in its order."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    pixel_values: torch.Tensor
    proprio: torch.Tensor


@dataclass(frozen=True)
class Check:
    """One comparison: how far we are, and how far is allowed."""

    stage: str
    distance: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.distance <= self.tolerance  # False for NaN

    @property
    def excess(self) -> float:
        """Distance in tolerances; infinite where no distance at all is allowed."""
        if self.tolerance == 0:
            return float("inf") if self.distance else 0.0
        return self.distance / self.tolerance if np.isfinite(self.distance) else float("inf")


def require(checks: Iterable[Check]) -> None:
    """Fail with a list of everything beyond its tolerance."""
    checks = list(checks)
    beyond = [f"{c.stage}: {c.distance:.3g}, allowed {c.tolerance:.3g}" for c in checks if not c.ok]
    assert checks and not beyond, beyond


def distance(ours: Any, reference: np.ndarray) -> float:
    """Largest difference; infinite if the shapes differ."""
    ours = np.asarray(ours.detach().float() if isinstance(ours, torch.Tensor) else ours)
    if ours.shape != reference.shape:
        return float("inf")
    return float(np.abs(ours.astype(np.float64) - reference).max())


OFFICIAL: dict[str, Any] = {"platform": "libero", "preprocessing": {"rotate_180": False}}
"""What `from_pretrained` must be told about the fixtures, since official checkpoints do not store it."""


def open_policy(golden: Golden, **more: Any) -> VlaAdapterPolicy:
    """Load a fixture's checkpoint."""
    return VlaAdapterPolicy.from_pretrained(golden.checkpoint, **OFFICIAL, **more)


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
    handles.append(
        blocks[0].register_forward_pre_hook(lambda m, args: kept.update(head_x0=args[0][0], tables=args[3]))
    )
    for name, module in (
        ("vision_patches", network.vision_backbone),
        ("projected_patches", network.projector),
        ("proprio_feature", network.proprio_projector),
    ):
        handles.append(
            module.register_forward_hook(lambda m, a, out, name=name: kept.__setitem__(name, out[0]))
        )
    with torch.inference_mode():
        conditions = network.conditions(inputs.input_ids, inputs.attention_mask, inputs.pixel_values)
        kept["actions_norm"] = network.head_actions(conditions, inputs.proprio)[0]
    for handle in handles:
        handle.remove()
    kept["head_blocks"] = torch.stack(kept["head_blocks"])
    kept["proprio_feature"] = kept["proprio_feature"][0]
    kept["task"], kept["action"] = conditions.task[0], conditions.action[0]
    return kept


def token_ids(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> list[Check]:
    """Prompt ids, exactly."""
    ids, mask = policy.tokenize([golden.info["samples"][sample]["task"]])
    return [
        Check("input_ids", distance(ids[0].numpy(), golden.array(sample, "input_ids")), 0),
        Check("attention_mask", float((1 - mask).sum()), 0),
    ]


def image_steps(golden: Golden, sample: int) -> list[Check]:
    """Each step of the image chain from the reference's result of the step before."""
    checks = []
    for name in golden.info["samples"][sample]["images"]:
        resized = golden.array(sample, f"image/{name}")
        if golden.has(sample, f"resized/{name}"):
            resized = golden.array(sample, f"resized/{name}")
            if golden.has(sample, f"jpeg/{name}"):
                decoded = golden.array(sample, f"jpeg/{name}")
                checks += levels("resized", preprocessing.lanczos_resize(decoded[None], 224)[0], resized)
        cropped = preprocessing.center_crop(resized[None], 0.9)[0]
        checks.append(Check("cropped", distance(cropped, golden.array(sample, f"cropped/{name}")), 0))
    return checks


def levels(stage: str, ours: np.ndarray, reference: np.ndarray) -> list[Check]:
    """Bytes: at most one level off, on less than 0.1 % of the values."""
    share = float((ours != reference).mean()) if ours.shape == reference.shape else float("inf")
    return [Check(stage, distance(ours, reference), 1), Check(f"{stage}, share", share, 1e-3)]


def jpeg_step(golden: Golden) -> list[Check]:
    """The JPEG round trip, exactly."""
    keys = [key for key in golden.keys if "/jpeg/" in key]
    pairs = [(golden.stored(key.replace("/jpeg/", "/image/")), golden.stored(key)) for key in keys]
    return [Check("jpeg", distance(preprocessing.jpeg_round_trip(a), b), 0) for a, b in pairs]


def pixel_values(policy: VlaAdapterPolicy, golden: Golden) -> list[Check]:
    """Mean and standard deviation; the published layout has the images on the channel axis."""
    stacked = inputs_of(policy, golden, 0).pixel_values[0].flatten(0, 1)
    reference = golden.array(0, "fp32/pixel_values")
    if golden.trimmed:
        stacked = stacked[:, : reference.shape[1]]
    return [Check("pixel_values", distance(stacked, reference), golden.tolerance["fp32"]["pixel_values"])]


def numbers(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> list[Check]:
    """Proprioception in, actions out, both to the rounding of float64."""
    proprio = policy.normalize_proprio(golden.array(sample, "proprio_raw"))
    # The reference adds 1 in float32; the same number, exactly, for our float64.
    stored = golden.array(sample, "fp32/actions_norm")
    scaled = policy.statistics.action.mask
    chunk = np.where(scaled, (stored + np.float32(1)).astype(np.float64) - 1, stored)
    actions = policy.unnormalize_actions(chunk)
    return [
        Check("proprio_norm", distance(proprio, golden.array(sample, "proprio_norm")), 1e-12),
        Check("actions", distance(actions, golden.array(sample, "fp32/actions")), 1e-12),
    ]


def stages_fp32(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> list[Check]:
    """Everything between pixel values and actions."""
    kept, tolerance = run(policy, inputs_of(policy, golden, sample)), STRICT
    arrays, checks = golden.arrays, []

    def compare(stage: str, ours: Any, key: str, allowed: float) -> None:
        if golden.trimmed and key in LEFT_OUT and not golden.has(sample, f"fp32/{key}"):
            return
        checks.append(Check(stage, distance(ours, golden.array(sample, f"fp32/{key}")), allowed))

    hidden = tolerance["hidden_states"]
    if sample == 0:
        compare("vision_patches", kept["vision_patches"], "vision_patches", tolerance["vision_patches"])
    compare(
        "projected_patches", kept["projected_patches"], "projected_patches", tolerance["projected_patches"]
    )
    if sample == 0:
        levels = [] if golden.trimmed else arrays["full_levels"]
        compare("hs_full", torch.cat([kept["task"], kept["action"]], dim=1)[levels], "hs_full", hidden)
    for stage, key, ours in (
        ("hs_action", "hs_action", kept["action"]),
        ("hs_task", "hs_task_sub", kept["task"][:, arrays["task_sub_positions"]]),
    ):
        whole = len(golden.array(sample, f"fp32/{key}")) == ALL_LEVELS
        compare(stage, ours if whole else ours[arrays["bf16_levels"]], key, hidden)
    norms = torch.stack([kept[name].double().norm(dim=(1, 2)) for name in ("task", "action")], 1)
    reference = golden.array(sample, "fp32/hs_level_norms")
    checks.append(
        Check("hs_norms, relative", distance(norms.numpy() / reference, np.ones_like(reference)), 1e-4)
    )
    compare("proprio_feature", kept["proprio_feature"], "proprio_feature", tolerance["head_blocks"])
    # The first norm's bias shows here, but hardly in the actions.
    compare("head_x0", kept["head_x0"][:1], "head_x0", 1e-5)
    compare("head_blocks", kept["head_blocks"], "head_blocks", tolerance["head_blocks"])
    compare("actions_norm", kept["actions_norm"], "actions_norm", tolerance["actions_norm"])
    compare("actions", policy.unnormalize_actions(kept["actions_norm"].numpy()), "actions", 2e-5)
    return checks


def stages_bf16(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> list[Check]:
    """The same in bfloat16, where only gross mistakes show; what hides below them is checked by itself."""
    kept, tolerance = run(policy, inputs_of(policy, golden, sample)), golden.tolerance["bf16"]
    chosen = golden.arrays["bf16_levels"]
    found = {
        "hs_action": (kept["action"][chosen], "hidden_states"),
        "hs_task_sub": (kept["task"][chosen][:, golden.arrays["task_sub_positions"]], "hidden_states"),
        "head_blocks": (kept["head_blocks"], "head_blocks"),
        "actions_norm": (kept["actions_norm"], "actions_norm"),
    }
    if sample == 0:
        found["projected_patches"] = (kept["projected_patches"], "projected_patches")
    checks = [
        Check(f"bf16 {key}", distance(ours, golden.array(sample, f"bf16/{key}")), tolerance[name])
        for key, (ours, name) in found.items()
    ]
    if golden.name == "pro":
        # The published tables are bf16 throughout, so positions above 256 collapse onto these.
        collapsed = torch.tensor([256, 256, 258, 260, 260, 260, 262, 264], dtype=torch.float32).cos()
        found = kept["tables"][0][256:264, 0]
        checks.append(Check("bf16 tables", distance(found, collapsed.bfloat16().float().numpy()), 0))
    # Rounded frequencies move hidden states by 0.5, which the tolerance above hides.
    llm = policy.config.llm
    width = llm.hidden // llm.heads
    exact = llm.rope_theta ** (-np.arange(0, width, 2) / width)
    ours = policy.network.language_model.model.rotary_emb.inv_freq
    return [
        *checks,
        Check("inv_freq, relative", distance(ours.double().numpy() / exact, np.ones_like(exact)), 1e-6),
    ]


def camera_images(policy: VlaAdapterPolicy, golden: Golden, sample: int) -> list[Check]:
    """The whole chain in one call, from the camera's bytes to actions in physical units."""
    images, info = golden.images(sample, "image"), golden.info["samples"][sample]
    cropped = np.stack(golden.images(sample, "cropped"))
    ours = np.stack([policy.resize_images(image) for image in images])
    actions = policy.predict(images, info["task"], golden.array(sample, "proprio_raw"))
    return [
        *levels("cropped from camera", ours, cropped),
        Check("actions from camera", distance(actions, golden.array(sample, "fp32/actions")), 2e-3),
    ]


def padded_batch(policy: VlaAdapterPolicy, golden: Golden) -> list[Check]:
    """All samples in one batch: the padding of the shorter prompts changes nothing."""
    samples = range(len(golden.info["samples"]))
    ids, mask = policy.tokenize([golden.info["samples"][i]["task"] for i in samples])
    assert not mask.all()
    batch = [inputs_of(policy, golden, i) for i in samples]
    pixels = torch.cat([inputs.pixel_values for inputs in batch])
    proprio = torch.cat([inputs.proprio for inputs in batch])
    with torch.inference_mode():
        together = policy.network(ids, mask, pixels, proprio)
    return [
        Check("actions_norm, batch", distance(together[i], golden.array(i, "fp32/actions_norm")), 1e-4)
        for i in samples
    ]


def head_split(policy: VlaAdapterPolicy, images: int) -> list[Check]:
    """The head on the states of 1 to 3 images: the first 512 tokens are gated, whatever their kind."""
    network, config = policy.network, policy.config
    generator = torch.Generator().manual_seed(images)
    shape = (2, config.llm.layers + 1, 256 * images, config.llm.hidden)
    task = 3 * torch.randn(shape, generator=generator)
    action = 3 * torch.randn(*shape[:2], config.num_queries, shape[3], generator=generator)
    proprio = torch.rand(2, config.proprio_dim, generator=generator)
    with torch.inference_mode():
        ours = network.action_head(task, action, network.proprio_projector(proprio))
    state = {name: value.detach() for name, value in network.state_dict().items()}
    reference = reference_actions(state, config.head.kind, task, action, proprio, config.chunk)
    return [Check(f"head, {images} images", distance(ours, reference.numpy()), 1e-4)]
