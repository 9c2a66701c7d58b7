"""Every peculiarity of the published code, and how to break it in ours.

One line per quirk: its name, the mistake, the test that must notice it, and a function that makes the
mistake with a monkeypatch. The functions change attributes of a loaded policy or of our modules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_adapter_ros.model import (
    VlaAdapterPolicy,
    head,
    language_model,
    network,
    normalization,
    preprocessing,
    tokenizer,
)

from .broken_images import broken_crop, broken_lanczos

Break = Callable[[pytest.MonkeyPatch, VlaAdapterPolicy], None]
IDS, CROP = "token_ids_are_equal", "images_are_resized_within_one_level_and_cropped_exactly"
JPEG, PIXELS, NUMBERS = "jpeg_step_is_exact", "pixel_values", "numbers_are_scaled_exactly"
FP32, BF16, CAMERA = "every_stage_in_fp32", "every_stage_in_bf16", "predict_from_camera_images"
SPLIT_1, SPLIT_3 = "the_head_parts_its_tokens_by_count[1]", "the_head_parts_its_tokens_by_count[3]"
PADDING, FULL, LORA = (
    "left_padding_does_not_change_the_result",
    "one_full_training_step",
    "one_lora_training_step",
)
BOTH, PRO, BASE = ("pro", "base"), ("pro",), ("base",)


@dataclass(frozen=True)
class Quirk:
    """What the published code does, the mistake, the test that notices, on which heads and sample."""

    name: str
    mistake: str
    test: str
    break_it: Break
    heads: tuple[str, ...] = BOTH
    sample: int = 0
    stage: str = ""
    """The stage that must be red; empty where any will do."""


def output(patch: pytest.MonkeyPatch, module: nn.Module, change: Callable[[Any], Any]) -> None:
    """Change what a module gives."""
    forward = module.forward
    patch.setattr(module, "forward", lambda *args, **more: change(forward(*args, **more)))


def entry(patch: pytest.MonkeyPatch, module: nn.Module, change: Callable[[Any], Any]) -> None:
    """Change a module's first argument."""
    forward = module.forward
    patch.setattr(module, "forward", lambda x, *args, **more: forward(change(x), *args, **more))


def blocks(policy: VlaAdapterPolicy) -> Iterable[Any]:
    return policy.network.action_head.model.mlp_resnet_blocks


def towers(policy: VlaAdapterPolicy) -> list[Any]:
    backbone = policy.network.vision_backbone
    return [getattr(backbone, key) for key in backbone.keys]


def llm_of(policy: VlaAdapterPolicy) -> Any:
    return policy.network.language_model


# Sequence and hidden states


def states(change: Callable[[Tensor, int], Tensor]) -> Break:
    """Change every layer of hidden states (B, T, hidden); the function also gets the number of patches."""

    def break_it(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
        n = policy.config.num_patches
        output(patch, llm_of(policy), lambda out: tuple(change(x, n) for x in out))

    return break_it


def raw_last_level(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    llm, kept = llm_of(policy), {}
    forward, norm = llm.forward, llm.model.norm

    def broken(*args: Any, **more: Any) -> tuple[Tensor, ...]:
        handle = norm.register_forward_pre_hook(lambda m, inputs: kept.update(raw=inputs[0]))
        out = forward(*args, **more)
        handle.remove()
        return (*out[:-1], kept["raw"])

    patch.setattr(llm, "forward", broken)


def patches_first(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    n = policy.config.num_patches
    entry(
        patch,
        llm_of(policy),
        lambda x: torch.cat([x[:, 1 : n + 1], x[:, :1], x[:, n + 1 :]], dim=1),
    )


def rounded_action_states(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    conditions = policy.network.conditions

    def broken(*args: Any) -> network.Conditions:
        found = conditions(*args)
        return network.Conditions(found.task, found.action.bfloat16().float())

    patch.setattr(policy.network, "conditions", broken)


def frequencies(change: Callable[[Tensor], Tensor]) -> Break:
    def break_it(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
        rotary = llm_of(policy).model.rotary_emb
        patch.setattr(rotary, "inv_freq", change(rotary.inv_freq))

    return break_it


def visible_padding(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    bias = language_model.causal_bias
    patch.setattr(language_model, "causal_bias", lambda mask, dtype: bias(torch.ones_like(mask), dtype))


# Vision


def tower(which: int | None, change: Callable[[pytest.MonkeyPatch, Any], None]) -> Break:
    """Change one tower (0 DINOv2, 1 SigLIP) or both."""

    def break_it(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
        found = towers(policy)
        for vit in found if which is None else [found[which]]:
            change(patch, vit)

    return break_it


def tanh_gelu(patch: pytest.MonkeyPatch, vit: Any) -> None:
    for block in vit.blocks:
        mlp = block.mlp
        patch.setattr(mlp, "forward", lambda x, m=mlp: m.fc2(F.gelu(m.fc1(x), approximate="tanh")))


def no_layer_scale(patch: pytest.MonkeyPatch, vit: Any) -> None:
    for block in vit.blocks:
        for name in ("ls1", "ls2"):
            patch.setattr(block, name, nn.Identity())


def no_registers(patch: pytest.MonkeyPatch, vit: Any) -> None:
    patch.delattr(vit, "reg_token")
    patch.setattr(vit, "prefix_tokens", 1)


def epsilon(find: Callable[[VlaAdapterPolicy], nn.Module], value: float) -> Break:
    """Another epsilon in every norm of one part."""

    def break_it(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
        for module in find(policy).modules():
            for name in ("eps", "variance_epsilon"):
                if hasattr(module, name):
                    patch.setattr(module, name, value)

    return break_it


def column_by_column(patch: pytest.MonkeyPatch, vit: Any) -> None:
    output(patch, vit.patch_embed, lambda x: x.unflatten(1, (16, 16)).transpose(1, 2).flatten(1, 2))


def vision_input(change: Callable[[Tensor], Tensor]) -> Break:
    return lambda patch, policy: entry(patch, policy.network.vision_backbone, change)


def projector_tanh(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    p = policy.network.projector

    def gelu(x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh")

    patch.setattr(p, "forward", lambda x: p.fc3(gelu(p.fc2(gelu(p.fc1(x))))))


# Head


def each_block(change: Callable[[pytest.MonkeyPatch, Any], None]) -> Break:
    def break_it(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
        for block in blocks(policy):
            change(patch, block)

    return break_it


def gate(change: Callable[[Tensor], Any]) -> Break:
    """Another factor on the task scores, from the learned number."""
    return each_block(lambda p, b: p.setattr(b, "gate_value", lambda: change(b.gating_factor)))


def gate_on_values(patch: pytest.MonkeyPatch, block: Any) -> None:
    factor = torch.tanh(block.gating_factor)
    layer = block.v_task if block.pro else block.v_proj
    patch.setattr(block, "gate_value", lambda: 1.0)
    output(patch, layer, lambda v: v * factor if v.shape[1] == 512 else v)  # 512: the task group


def with_residual(patch: pytest.MonkeyPatch, block: Any) -> None:
    forward = block.ffn.forward
    patch.setattr(block.ffn, "forward", lambda x: x + forward(x))


def head_setting(name: str, value: Any) -> Break:
    return lambda patch, policy: patch.setattr(policy.network.action_head, name, value)


def no_first_bias(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    norm = policy.network.action_head.model.layer_norm1
    patch.setattr(norm, "bias", nn.Parameter(torch.zeros_like(norm.bias)))


def proprio_first(patch: pytest.MonkeyPatch, block: Any) -> None:
    forward = block.forward
    patch.setattr(block, "forward", lambda x, adapter, *more: forward(x, adapter.roll(1, dims=1), *more))


def no_proprio(patch: pytest.MonkeyPatch, block: Any) -> None:
    forward = block.forward
    patch.setattr(block, "forward", lambda x, adapter, *more: forward(x, adapter[:, :-1], *more))


def proprio_tanh(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    p = policy.network.proprio_projector
    patch.setattr(p, "forward", lambda x: p.fc2(F.gelu(p.fc1(x), approximate="tanh")).unsqueeze(1))


# The pro head's position code


def rotation(change: Callable[[Tensor, head.Tables], Tensor]) -> Break:
    return lambda patch, policy: patch.setattr(head, "rotate", change)


def interleaved(x: Tensor, tables: head.Tables) -> Tensor:
    half = x.shape[-1] // 2
    cos, sin = (t[: x.shape[-2], :half].repeat_interleave(2, dim=-1).to(x.dtype) for t in tables)
    return x * cos + torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2) * sin


def half_split(x: Tensor, tables: head.Tables) -> Tensor:
    cos, sin = (t[: x.shape[-2]].to(x.dtype) for t in tables)
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def running_positions(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    rotate, tables, calls = head.rotate, head.rope_tables, {"n": 0}
    starts = (0, 0, policy.config.chunk, policy.config.chunk + policy.config.num_queries + 1)

    def broken(x: Tensor, pair: head.Tables) -> Tensor:  # called for the queries, then for each group
        start = starts[calls["n"] % 4]
        calls["n"] += 1
        return rotate(x, tuple(t[start:] for t in pair))

    patch.setattr(head, "rotate", broken)
    patch.setattr(head, "rope_tables", lambda length, *more: tables(2 * length, *more))


def tables_in(dtype: torch.dtype) -> Break:
    def break_it(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
        tables = head.rope_tables
        patch.setattr(
            head, "rope_tables", lambda length, width, _, device: tables(length, width, dtype, device)
        )

    return break_it


# Numbers, prompt, images


def setting(part: str, **changes: Any) -> Break:
    """Other settings in one part of the configuration."""

    def break_it(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
        inner = dataclasses.replace(getattr(policy.config, part), **changes)
        config = dataclasses.replace(policy.config, **{part: inner})
        patch.setattr(policy, "config", config)
        patch.setattr(policy, "preprocessor", preprocessing.Preprocessor(config.preprocessing))

    return break_it


def mean_and_std(which: int, mean: Sequence[float], std: Sequence[float]) -> Break:
    def break_it(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
        pre = policy.config.preprocessing
        means, stds = list(pre.means), list(pre.stds)
        means[which], stds[which] = tuple(mean), tuple(std)
        setting("preprocessing", means=tuple(means), stds=tuple(stds))(patch, policy)

    return break_it


def no_mask(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    field = policy.statistics.action
    scaled = dataclasses.replace(field, mask=np.ones_like(field.mask))
    patch.setattr(policy, "statistics", dataclasses.replace(policy.statistics, action=scaled))


def clipped_actions(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    original = policy.unnormalize_actions
    patch.setattr(policy, "unnormalize_actions", lambda a: original(np.clip(a, -1, 1)))


def ids(change: Callable[[Callable[[str], list[int]], str], list[int]]) -> Break:
    def break_it(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
        original = policy.tokenizer.ids
        patch.setattr(policy.tokenizer, "ids", lambda instruction: change(original, instruction))

    return break_it


def prompt(change: Callable[[str], str]) -> Break:
    return lambda patch, policy: patch.setattr(tokenizer, "CHAT_PROMPT", change(tokenizer.CHAT_PROMPT))


class AsTyped(str):
    """Text that does not become lower case."""

    def lower(self) -> str:
        return str(self)


def step(name: str, change: Callable[..., np.ndarray]) -> Break:
    """Another function in place of one step of the image chain."""
    return lambda patch, policy: patch.setattr(preprocessing, name, change)


def accurate_jpeg(image: np.ndarray, quality: int = 95) -> np.ndarray:
    _, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def jpeg_always(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    resize = policy.preprocessor.resize

    def broken(images: np.ndarray) -> np.ndarray:
        same = images.shape[-3:-1] == (224, 224)
        if same:
            each = images.reshape(-1, 224, 224, 3)
            images = np.stack([preprocessing.jpeg_round_trip(image) for image in each]).reshape(images.shape)
        return resize(images)

    patch.setattr(policy.preprocessor, "resize", broken)


# Training


def squared_error(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    patch.setattr(head.F, "l1_loss", F.mse_loss)


def no_noise(patch: pytest.MonkeyPatch, policy: VlaAdapterPolicy) -> None:
    forward = policy.network.action_head.model.forward
    patch.setattr(
        policy.network.action_head.model,
        "forward",
        lambda gated, adapter, p, noise: forward(gated, adapter, p, None),
    )


def lora(**changes: Any) -> Break:
    """Other settings of the adapters; the check reads them from the policy."""
    return lambda patch, policy: patch.setattr(policy, "lora_changes", changes, raising=False)


LATER = states(lambda x, n: torch.cat([x[:, :n], x[:, n + 1 :]], dim=1))
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

QUIRKS = (
    # Prompt
    Quirk("No token before the prompt", "a padding token first", IDS, ids(lambda f, s: [0, *f(s)]), PRO),
    Quirk("Instruction in lower case", "as typed", IDS, ids(lambda f, s: f(AsTyped(s))), PRO),
    Quirk("Prompt ends with a newline", "left out", IDS, prompt(lambda s: s[:-1]), PRO),
    Quirk("System message in the prompt", "left out", IDS,
          prompt(lambda s: s[s.index("<|im_start|>user") :]), PRO),
    Quirk("Chat prompt", "the form `In: ... Out:`", IDS, prompt(lambda s: tokenizer.OPENVLA_PROMPT), PRO),
    Quirk("End of the training prompt dropped", "kept", IDS, prompt(lambda s: s + " <|im_end|>"), PRO),
    # Images
    Quirk("JPEG decoded with the fast DCT", "the accurate DCT", JPEG,
          step("jpeg_round_trip", accurate_jpeg), PRO),
    Quirk("JPEG quality 95", "90", JPEG, lambda p, _: p.setattr(preprocessing, "JPEG_QUALITY", 90), PRO),
    Quirk("JPEG round trip", "left out", CAMERA, setting("preprocessing", jpeg_round_trip=False), PRO),
    Quirk("No JPEG for images of 224 x 224", "for all images", CAMERA, jpeg_always, PRO, 2),
    Quirk("Lanczos with antialiasing", "without", CROP,
          step("lanczos_resize", broken_lanczos(antialias=False)), PRO),
    Quirk("Lanczos rounded to the nearest", "truncated", CROP,
          step("lanczos_resize", broken_lanczos(truncate=True)), PRO),
    Quirk("Lanczos at pixel centers", "corners aligned", CROP,
          step("lanczos_resize", broken_lanczos(aligned=True)), PRO),
    Quirk("Lanczos", "mean over areas", CAMERA, setting("preprocessing", resize="area"), PRO),
    Quirk("Crop to bytes: times 255.5", "times 255", CROP,
          step("center_crop", broken_crop(scale=255.0)), PRO),
    Quirk("Crop to bytes: truncated", "rounded", CROP,
          step("center_crop", broken_crop(scale=255.0, half=0.5)), PRO),
    Quirk("Crop with aligned corners", "pixel centers", CROP,
          step("center_crop", broken_crop(aligned=False)), PRO),
    Quirk("Crop keeps 0.9 of the area", "0.9 of the side", CAMERA,
          setting("preprocessing", center_crop=0.81), PRO),
    Quirk("Center crop", "left out", CAMERA, setting("preprocessing", center_crop=1.0), PRO),
    Quirk("DINOv2 mean and std rounded to bf16", "full precision", PIXELS, mean_and_std(0, *IMAGENET), PRO),
    Quirk("SigLIP mean and std 0.5", "those of DINOv2", PIXELS, mean_and_std(1, *IMAGENET), PRO),
    # Vision
    Quirk("Image order: third view first", "swapped", FP32, vision_input(lambda x: x.flip(1))),
    Quirk("Channels 0 to 2 for DINOv2", "swapped with SigLIP's", FP32,
          vision_input(lambda x: x.roll(3, dims=2))),
    Quirk("DINOv2 features first", "SigLIP's first", FP32,
          lambda p, v: output(p, v.network.vision_backbone, lambda x: x.roll(48, dims=-1))),
    Quirk("Last but one ViT block", "the last block", FP32,
          tower(None, lambda p, vit: p.setattr(vit, "blocks", nn.ModuleList([*vit.blocks, nn.Identity()])))),
    Quirk("No final ViT norm", "applied", FP32, tower(None, lambda p, vit: output(p, vit, vit.norm))),
    Quirk("Exact GELU in SigLIP", "tanh form", FP32, tower(1, tanh_gelu)),
    Quirk("Exact GELU in DINOv2", "tanh form", FP32, tower(0, tanh_gelu)),
    Quirk("LayerScale in DINOv2", "left out", FP32, tower(0, no_layer_scale)),
    Quirk("Register tokens", "left out", FP32, tower(0, no_registers)),
    Quirk("ViT norms: epsilon 1e-6", "1e-5", FP32, epsilon(lambda v: v.network.vision_backbone, 1e-5)),
    Quirk("Patches row by row", "column by column", FP32, tower(None, column_by_column)),
    Quirk("Exact GELU in the projector", "tanh form", FP32, projector_tanh),
    # Sequence and hidden states
    Quirk("First text token before the patches", "behind them", FP32, patches_first),
    Quirk("Causal attention", "bidirectional", FP32,
          lambda p, v: p.setattr(llm_of(v), "bidirectional", True)),
    Quirk("RMS norms: epsilon 1e-6", "1e-5", FP32, epsilon(llm_of, 1e-5)),
    Quirk("Rotary base 1e6", "1e4", FP32, frequencies(lambda f: f ** (2 / 3))),
    Quirk("Rotary frequencies in fp32", "bf16 with the rest", BF16, frequencies(lambda f: f.bfloat16())),
    Quirk("Action states start at the last prompt token", "one later", FP32, LATER),
    Quirk("Task states start at the first text token", "patches only", FP32,
          states(lambda x, n: torch.cat([x[:, 1 : n + 1], x[:, n:]], dim=1))),
    Quirk("Levels 1 to 24", "0 to 23", FP32,
          lambda p, v: p.setattr(v.network.action_head.model, "hidden_layers", tuple(range(24)))),
    Quirk("Level 24 after the final norm", "before it", FP32, raw_last_level),
    Quirk("Action states in fp32 in an fp32 run", "rounded to bf16", FP32, rounded_action_states),
    Quirk("Padding is hidden", "visible", PADDING, visible_padding),
    # Head
    Quirk("Head splits at 512 tokens, 3 images", "all patches gated", SPLIT_3,
          head_setting("num_task_tokens", 768)),
    Quirk("Head splits at 512 tokens, 1 image", "only patches gated", SPLIT_1,
          head_setting("num_task_tokens", 256)),
    Quirk("Head splits at 512 tokens, 2 images", "at 511", FP32, head_setting("num_task_tokens", 511)),
    Quirk("Action tokens are zeros", "noise, as in training", FP32, head_setting("training", True)),
    Quirk("First head norm gives its bias", "bias dropped", FP32, no_first_bias, stage="head_x0"),
    Quirk("Head norms: epsilon 1e-5", "1e-6", FP32, epsilon(lambda v: v.network.action_head, 1e-6)),
    Quirk("Eight attention heads", "four", FP32, each_block(lambda p, b: p.setattr(b, "heads", 4)), BASE),
    Quirk("Gate: tanh", "fixed to 1", FP32, gate(lambda g: 1.0)),
    Quirk("Gate: tanh", "without tanh", FP32, gate(lambda g: g)),
    Quirk("Gate: tanh", "tanh twice", FP32, gate(lambda g: g.tanh().tanh())),
    Quirk("Gate on the scores", "on the values", FP32, each_block(gate_on_values)),
    Quirk("ReLU behind each block's linear layer", "left out", FP32,
          each_block(lambda p, b: p.setattr(b.ffn, "2", nn.Identity()))),
    Quirk("No residual around it", "added", FP32, each_block(with_residual)),
    Quirk("Proprioception among the action states", "left out", FP32, each_block(no_proprio)),
    Quirk("Proprioception comes last", "first", FP32, each_block(proprio_first), PRO),
    Quirk("Exact GELU in the proprioception projector", "tanh form", FP32, proprio_tanh),
    Quirk("Pro position code: two conventions mixed", "neighbors throughout", FP32,
          rotation(interleaved), PRO),
    Quirk("Pro position code: two conventions mixed", "halves throughout", FP32, rotation(half_split), PRO),
    Quirk("Pro position code", "left out", FP32, rotation(lambda x, tables: x), PRO),
    Quirk("Pro positions restart in each group", "they run on", FP32, running_positions, PRO),
    Quirk("Pro tables in fp32 in an fp32 run", "bf16", FP32, tables_in(torch.bfloat16), PRO),
    Quirk("Pro tables in bf16 in a bf16 run", "fp32", BF16, tables_in(torch.float32), PRO),
    # Numbers
    Quirk("Ranges: quantiles 0.01 and 0.99", "min and max", NUMBERS,
          setting("normalization", action="min_max", proprio="min_max")),
    Quirk("1e-8 added to each range", "left out", NUMBERS,
          lambda p, _: p.setattr(normalization, "_EPSILON", 0.0)),
    Quirk("Proprioception clipped to +-1", "not clipped", NUMBERS,
          setting("normalization", clip_proprio=1e9)),
    Quirk("Constant proprioception becomes -1", "0, as in training", NUMBERS,
          setting("normalization", zero_range_to_zero=True), PRO),
    Quirk("Gripper is not scaled", "mask ignored", NUMBERS, no_mask, PRO),
    Quirk("Actions are not clipped", "clipped to +-1", NUMBERS, clipped_actions, PRO),
    # Training
    Quirk("Last query gets no gradient", "action states one later", FULL,
          LATER, stage="gradient of the last query"),
    Quirk("Action tokens are noise in training", "zeros", FULL, no_noise),
    Quirk("Loss: mean absolute error", "squared", FULL, squared_error),
    Quirk("LoRA: alpha is twice the rank", "the rank", LORA, lora(alpha=2)),
    Quirk("LoRA on the patch embeddings", "linear layers only", LORA, lora(only_linear=True)),
    Quirk("LoRA freezes norms and biases", "they train", LORA, lora(train_norms=True),
          stage="parameters unknown to the reference"),
)  # fmt: skip
