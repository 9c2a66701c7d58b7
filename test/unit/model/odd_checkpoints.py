"""Official checkpoints of other sizes than the published ones; in their random weights every part shows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vla_adapter_ros.model import Tokenizer, VlaAdapter, VlaAdapterPolicy
from vla_adapter_ros.model.config_parts import LlmConfig
from vla_adapter_ros.model.official import SIGLIP_MLP_RATIO

from .official_sample import WORDS, official_config, official_policy


@dataclass(frozen=True)
class OddSizes:
    """What differs; the platform decides about images (1 to 3), chunk (5, 8, 25) and widths.

    Attributes:
        platform: `libero`, `aloha` or `bridge`.
        head: `base` or `pro`.
        layers: Of the language model; the published head has 24 blocks whatever they are.
        heads, kv_heads: Of the language model.
        head_width: Channels of each of its heads.
        rope_theta, norm_eps: Of the language model.
        depths: Of the two towers.
        queries: Action queries.
    """

    platform: str
    head: str
    layers: int
    heads: int = 4
    kv_heads: int = 1
    head_width: int = 8
    rope_theta: float = 1e6
    norm_eps: float = 1e-6
    depths: tuple[int, int] = (3, 2)
    queries: int = 64


ODD = {
    "one_image_26_layers": OddSizes("bridge", "pro", 26, rope_theta=5e5, norm_eps=1e-5),
    "one_image_30_layers_base": OddSizes("bridge", "base", 30, heads=2, head_width=16, norm_eps=1e-4),
    "two_images_26_layers_base": OddSizes("libero", "base", 26, rope_theta=1e4, depths=(2, 4)),
    "two_images_30_layers": OddSizes("libero", "pro", 30, heads=8, head_width=4, rope_theta=2e6),
    "three_images_26_layers": OddSizes("aloha", "pro", 26, rope_theta=1e4, norm_eps=1e-5),
    "three_images_30_layers_base": OddSizes("aloha", "base", 30, kv_heads=2, norm_eps=1e-5, depths=(4, 3)),
    "many_kv_heads": OddSizes("libero", "pro", 24, heads=4, kv_heads=4, head_width=12, rope_theta=3e5),
}


def write_odd(folder: Path, sizes: OddSizes, seed: int = 0) -> VlaAdapterPolicy:
    """Write such a checkpoint as the published code would have; gives what was written, in float32."""
    full = official_config(sizes.head, sizes.platform)
    dino, siglip = full.vits
    llm = LlmConfig(
        hidden=sizes.heads * sizes.head_width, intermediate=40, layers=sizes.layers, heads=sizes.heads,
        kv_heads=sizes.kv_heads, vocab_size=len(WORDS), rope_theta=sizes.rope_theta,
        rms_norm_eps=sizes.norm_eps,
    )  # fmt: skip
    changes: dict[str, Any] = {"heads": 2 if llm.hidden % 8 else 8}
    config = dataclasses.replace(
        full,
        llm=llm,
        num_queries=sizes.queries,
        head=dataclasses.replace(full.head, **({} if llm.hidden % 8 == 0 else changes)),
        vits=(
            dataclasses.replace(dino, depth=sizes.depths[0], width=24, heads=3, mlp_width=96),
            dataclasses.replace(
                siglip, depth=sizes.depths[1], width=16, heads=1, mlp_width=int(SIGLIP_MLP_RATIO * 16)
            ),
        ),
    )
    torch.manual_seed(seed)
    network = VlaAdapter(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "gating_factor" in name or "scale_factor" in name:
                parameter.uniform_(0.2, 0.6)
            elif "norm" in name and name.endswith("weight"):
                parameter.uniform_(0.5, 1.5)
    sample = official_policy(sizes.head, platform=sizes.platform)
    tokenizer: Tokenizer = sample.tokenizer
    policy = VlaAdapterPolicy(network.bfloat16().float().eval(), config, tokenizer, sample.statistics)
    policy.save_pretrained(folder, dtype=torch.bfloat16)
    (folder / "vla_adapter.json").unlink()
    return policy
