"""The smallest model with all parts of the published one: two towers, three layers, three blocks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, pre_tokenizers
from torch import Tensor

from vla_adapter_ros.model import VlaAdapterConfig
from vla_adapter_ros.model.config_parts import HeadConfig, LlmConfig, PreprocessingConfig, VitConfig

QWEN2 = LlmConfig(
    hidden=32, intermediate=48, layers=3, heads=4, kv_heads=2, vocab_size=24, max_positions=64
)  # fmt: skip
LLAMA = dataclasses.replace(QWEN2, kind="llama", kv_heads=4, rope_theta=1e4, bidirectional=True)
HEAD = {"kind": "pro", "blocks": 3, "heads": 4, "rope_tables": "fp32", "train_noise_std": 0.02}
IMAGES, PROMPT, CHUNK, ACTIONS, PROPRIO = 2, 5, 4, 3, 6


def small_config(
    llm: LlmConfig = QWEN2, head: dict[str, Any] | None = None, **changes: Any
) -> VlaAdapterConfig:
    """A configuration of the published shape; `head` and `changes` replace single settings."""
    common = {"depth": 2, "heads": 2, "image_size": 28}
    values: dict[str, Any] = {
        "name": "small",
        "num_images": IMAGES,
        "action_dim": ACTIONS,
        "proprio_dim": PROPRIO,
        "chunk": CHUNK,
        "num_queries": 5,
        "num_task_tokens": IMAGES * 4,
        "token_order": "official",
        "projector": "gelu3",
        "prompt": "openvla" if llm.kind == "llama" else "qwen_chat",
        "llm": llm,
        "head": HeadConfig(**{**HEAD, **(head or {})}),
        "preprocessing": PreprocessingConfig(
            size=28, resize="area", means=((0.5, 0.5, 0.5),) * 2, stds=((0.5, 0.5, 0.5),) * 2
        ),
        "vits": (
            VitConfig(key="featurizer", width=16, mlp_width=32, class_token=True, registers=2,
                      layer_scale=True, **common),
            VitConfig(key="fused_featurizer", width=12, mlp_width=20, attention_pool=True, **common),
        ),
    }  # fmt: skip
    return VlaAdapterConfig(**{**values, **changes})


def small_batch(batch: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Ids and mask (one row padded), pixel values, proprioception and targets."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 24, (batch, PROMPT), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, :2] = 0
    pixels = torch.randn(batch, IMAGES, 6, 28, 28, generator=generator)
    proprio = torch.randn(batch, PROPRIO, generator=generator)
    return ids, mask, pixels, proprio, torch.rand(batch, CHUNK, ACTIONS, generator=generator) * 2 - 1


def write_tokenizer(folder: Path) -> None:
    """A word-level `tokenizer.json` with the special tokens of every prompt."""
    words = ["<s>", "<PAD>", "<|endoftext|>", "<unk>", "In:", "Out:", "What", "action", "lift", "it?"]
    raw = RawTokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.save(str(folder / "tokenizer.json"))
