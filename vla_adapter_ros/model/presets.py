"""Ready-made configurations: the real 0.5B model, and a tiny one that trains on a CPU."""

from __future__ import annotations

from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.config import (
    HeadConfig,
    LlmConfig,
    NormalizationConfig,
    PreprocessingConfig,
    StemConfig,
    VitConfig,
    VlaAdapterConfig,
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

# The published preprocessor file stores DINOv2's numbers rounded to bf16; the released models saw these.
DINOV2_MEAN, DINOV2_STD = (0.484375, 0.455078125, 0.40625), (0.228515625, 0.2236328125, 0.224609375)
SIGLIP_MEAN, SIGLIP_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

PRESETS = ("tiny", "0.5b")


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
    """A configuration by name: `tiny` (about 1.5 M parameters) or `0.5b` (the published size).

    Args:
        name: One of `PRESETS`.
        num_images: Cameras.
        action_dim: Width A of an action row.
        proprio_dim: Width S of the proprioception.
        chunk: Rows H of an action chunk.
        vocab: Vocabulary size of the tokenizer; default: Qwen2.5's, or the tiny word list's.
        head: `pro` or `base`. The base head gives every chunk row the same action at inference
            (it has no position signal), so `pro` is the default.

    Raises:
        ModelConfigError: unknown name, or values that do not fit together.
    """
    sizes = {
        "num_images": num_images, "action_dim": action_dim, "proprio_dim": proprio_dim, "chunk": chunk,
    }  # fmt: skip
    if name == "tiny":
        return _tiny(sizes, vocab, head)
    if name == "0.5b":
        return _half_billion(sizes, vocab, head)
    raise ModelConfigError(f"preset = {name!r}: allowed is one of {list(PRESETS)}")


def _tiny(sizes: dict[str, int], vocab: int | None, head: str) -> VlaAdapterConfig:
    """Differences to the real model, all of them named settings: convolution stem, text first,
    4 queries, word-level tokenizer, standardised proprioception, no training noise in the head."""
    stem = StemConfig()
    return VlaAdapterConfig(
        name="tiny",
        **sizes,
        num_queries=4,
        num_task_tokens=sizes["num_images"] * stem.tokens,
        token_order="text_first",
        projector="rms2",
        projector_width=384,
        prompt="plain",
        llm=LlmConfig(
            hidden=128, intermediate=384, layers=3, heads=4, kv_heads=2,
            vocab_size=vocab or Tokenizer.from_words(TINY_WORDS).vocab_size,
            rope_theta=1e4, max_positions=512,
        ),
        head=HeadConfig(kind=head, blocks=3, rope_tables="fp32"),
        preprocessing=PreprocessingConfig(
            size=stem.image_size, resize="area", means=((0.5, 0.5, 0.5),), stds=((0.25, 0.25, 0.25),)
        ),
        stem=stem,
        normalization=NormalizationConfig(proprio="mean_std", clip_actions=False, clip_proprio=5.0),
        attention="eager",
    )  # fmt: skip


def _half_billion(sizes: dict[str, int], vocab: int | None, head: str) -> VlaAdapterConfig:
    llm = QWEN25_05B if vocab is None else LlmConfig(**{**QWEN25_05B.__dict__, "vocab_size": vocab})
    return VlaAdapterConfig(
        name="0.5b",
        **sizes,
        num_queries=64,
        num_task_tokens=sizes["num_images"] * DINOV2_LARGE.tokens,
        token_order="official",
        projector="gelu3",
        prompt="qwen_chat",
        llm=llm,
        head=HeadConfig(
            kind=head, blocks=24, film_weights=head == "pro", train_noise_std=0.02, rope_tables="match"
        ),
        preprocessing=OFFICIAL_PREPROCESSING,
        vits=(DINOV2_LARGE, SIGLIP_SO400M),
    )


OFFICIAL_PREPROCESSING = PreprocessingConfig(
    size=224, resize="lanczos3", jpeg_round_trip=True, center_crop=0.9,
    means=(DINOV2_MEAN, SIGLIP_MEAN), stds=(DINOV2_STD, SIGLIP_STD),
)  # fmt: skip
