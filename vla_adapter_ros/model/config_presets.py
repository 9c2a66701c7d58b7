"""Ready-made configurations: the published sizes, and a tiny one that trains on a CPU."""

from __future__ import annotations

import dataclasses
from typing import Any

from vla_adapter_ros.choices import HeadKind, Preset
from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import (
    Attention,
    LlmKind,
    ProjectorKind,
    PromptKind,
    Resize,
    RopeTables,
    Scaling,
    TokenOrder,
)
from vla_adapter_ros.model.config_parts import (
    HeadConfig,
    LlmConfig,
    NormalizationConfig,
    PreprocessingConfig,
    StemConfig,
    VitConfig,
)
from vla_adapter_ros.model.tokenizer import TINY_WORDS, Tokenizer

DINOV2_LARGE = VitConfig(
    key="featurizer", width=1024, depth=24, heads=16, mlp_width=4096,
    class_token=True, registers=4, layer_scale=True,
)  # fmt: skip
SIGLIP_SO400M = VitConfig(
    key="fused_featurizer", width=1152, depth=27, heads=16, mlp_width=4304, attention_pool=True
)
QWEN25_05B = LlmConfig(
    hidden=896, intermediate=4864, layers=24, heads=14, kv_heads=2, vocab_size=151936
)  # fmt: skip
# 32,000 words and <PAD>, rounded up to a multiple of 64. OpenVLA's configuration file leaves the norm's
# epsilon at the library's default, 1e-6; Llama 2's own, with which the Prismatic models were made, is 1e-5.
OPENVLA_LLAMA2_7B = LlmConfig(
    hidden=4096, intermediate=11008, layers=32, heads=32, kv_heads=32, vocab_size=32064,
    rope_theta=1e4, rms_norm_eps=1e-6, max_positions=2048, kind=LlmKind.LLAMA, bidirectional=True,
)  # fmt: skip
LLAMA2_7B = dataclasses.replace(OPENVLA_LLAMA2_7B, rms_norm_eps=1e-5)

# The published preprocessor file stores DINOv2's numbers rounded to bf16; the released models saw these.
DINOV2_MEAN, DINOV2_STD = (0.484375, 0.455078125, 0.40625), (0.228515625, 0.2236328125, 0.224609375)
SIGLIP_MEAN, SIGLIP_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def preset(
    name: str,
    *,
    num_images: int = 2,
    action_dim: int = 8,
    proprio_dim: int = 11,
    chunk: int = 8,
    vocab: int | None = None,
    head: str = "pro",
) -> VlaAdapterConfig:
    """A configuration by name.

    `tiny` has about 1.5 M parameters; `small` has 3 M and sees finer pictures; `0.5b` is the published model
    (B1: Prismatic on Qwen2.5-0.5B); `llama2-7b` (B2: Prismatic on Llama 2 7B) and `openvla-7b` (B3) are the
    paper's larger backbones.

    Args:
        name: A word of `Preset`.
        num_images: Cameras.
        action_dim: Width A of an action row.
        proprio_dim: Width S of the proprioception.
        chunk: Rows H of an action chunk.
        vocab: Vocabulary size of the tokenizer; default: the published one, or the tiny word list's.
        head: `pro`, `base` or `dit`. The base head gives every chunk row the same action at inference
            (it has no position signal), so `pro` is the default.

    Raises:
        ModelConfigError: unknown name, or values that do not fit together.
    """
    kind = HeadKind.check("head.kind", head, ModelConfigError)
    sizes = {
        "num_images": num_images, "action_dim": action_dim, "proprio_dim": proprio_dim, "chunk": chunk,
    }  # fmt: skip
    if name == Preset.TINY:
        return _tiny(sizes, vocab, kind)
    if name == Preset.SMALL:
        return _small(sizes, vocab, kind)
    if name in _BACKBONES:
        return _published(name, sizes, vocab, kind)
    raise ModelConfigError(f"preset = {name!r}: allowed is one of {Preset.words()}")


def _tiny(sizes: dict[str, Any], vocab: int | None, head: HeadKind) -> VlaAdapterConfig:
    """The tiny model; its differences from the real one are named settings.

    Convolution stem, text first, 4 queries, word-level tokenizer, standardized proprioception, and no
    training noise in the head.
    """
    stem = StemConfig()
    return VlaAdapterConfig(
        name="tiny",
        **sizes,
        num_queries=4,
        num_task_tokens=sizes["num_images"] * stem.tokens,
        token_order=TokenOrder.TEXT_FIRST,
        projector=ProjectorKind.RMS2,
        projector_width=384,
        prompt=PromptKind.PLAIN,
        llm=LlmConfig(
            hidden=128, intermediate=384, layers=3, heads=4, kv_heads=2,
            vocab_size=vocab or Tokenizer.from_words(TINY_WORDS).vocab_size,
            rope_theta=1e4, max_positions=512,
        ),
        head=HeadConfig(kind=head, blocks=3, rope_tables=RopeTables.FP32),
        preprocessing=PreprocessingConfig(
            size=stem.image_size, resize=Resize.AREA, means=((0.5, 0.5, 0.5),), stds=((0.25, 0.25, 0.25),)
        ),
        stem=stem,
        normalization=NormalizationConfig(proprio=Scaling.MEAN_STD, clip_actions=False, clip_proprio=5.0),
        attention=Attention.EAGER,
    )  # fmt: skip


def _small(sizes: dict[str, Any], vocab: int | None, head: HeadKind) -> VlaAdapterConfig:
    """The tiny model, wider, with pictures of 112 pixels in as many patches: for many tasks at once."""
    tiny, stem = _tiny(sizes, vocab, head), SMALL_STEM
    return dataclasses.replace(
        tiny,
        name="small",
        num_task_tokens=sizes["num_images"] * stem.tokens,
        projector_width=512,
        llm=dataclasses.replace(tiny.llm, hidden=192, intermediate=576, heads=6),
        preprocessing=dataclasses.replace(tiny.preprocessing, size=stem.image_size),
        stem=stem,
    )


SMALL_STEM = StemConfig(image_size=112, channels=(32, 64, 96, 128), strides=(2, 2, 2, 2), mlp_width=512)
_BACKBONES: dict[str, tuple[LlmConfig, PromptKind]] = {
    Preset.PUBLISHED_05B: (QWEN25_05B, PromptKind.QWEN_CHAT),
    Preset.LLAMA2_7B: (LLAMA2_7B, PromptKind.OPENVLA),
    Preset.OPENVLA_7B: (OPENVLA_LLAMA2_7B, PromptKind.OPENVLA),
}


def _published(name: str, sizes: dict[str, Any], vocab: int | None, head: HeadKind) -> VlaAdapterConfig:
    """The policy is as deep as the language model, as in the paper; the published code has 24 blocks.

    Its rotary tables are fp32: it is trained on float32 weights and may run on bf16 ones. Its images take no
    round trip through JPEG, which is there for models whose training images were stored so.
    """
    llm, prompt = _BACKBONES[name]
    return VlaAdapterConfig(
        name=name,
        **sizes,
        num_queries=64,
        num_task_tokens=sizes["num_images"] * DINOV2_LARGE.tokens,
        token_order=TokenOrder.OFFICIAL,
        projector=ProjectorKind.GELU3,
        prompt=prompt,
        llm=llm if vocab is None else dataclasses.replace(llm, vocab_size=vocab),
        head=HeadConfig(
            kind=head, blocks=llm.layers, film_weights=head == HeadKind.PRO and name == Preset.PUBLISHED_05B,
            train_noise_std=0.02, rope_tables=RopeTables.FP32,
        ),
        preprocessing=dataclasses.replace(OFFICIAL_PREPROCESSING, jpeg_round_trip=False),
        vits=(DINOV2_LARGE, SIGLIP_SO400M),
    )  # fmt: skip


OFFICIAL_PREPROCESSING = PreprocessingConfig(
    size=224, resize=Resize.LANCZOS3, jpeg_round_trip=True, center_crop=0.9,
    means=(DINOV2_MEAN, SIGLIP_MEAN), stds=(DINOV2_STD, SIGLIP_STD),
)  # fmt: skip
