"""Floating-point operations and weights read of one prediction, counted from the sizes."""

from __future__ import annotations

from dataclasses import dataclass

from vla_adapter_ros.choices import HeadKind
from vla_adapter_ros.model import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import ProjectorKind
from vla_adapter_ros.model.config_parts import VitConfig


@dataclass(frozen=True)
class Flops:
    """Matrix work [floating-point operations] and weights read [bytes] of one prediction."""

    flop: float
    weight_bytes: float


def count_flops(
    config: VlaAdapterConfig, prompt_tokens: int, bytes_per_weight: int, *, everything: bool
) -> Flops:
    """Count products of matrices, attention included; a multiply-add is two operations.

    Args:
        config: Sizes. Models with a convolution stem count their ViT blocks and language model only.
        prompt_tokens: Tokens P of the prompt.
        bytes_per_weight: 2 for bf16.
        everything: Also the unread last tower blocks and the word scores, as the published code has them.

    Returns:
        The counts. Each weight matrix counts as read once, the embedding table only for word scores.
    """
    counts = [
        _towers(config, everything),
        _linear(config.num_patches, _projector_weights(config)),
        _language(config, prompt_tokens, everything),
        _head(config),
    ]
    flop, weights = (sum(part) for part in zip(*counts, strict=True))
    return Flops(flop, weights * bytes_per_weight)


def _linear(rows: int, weights: int) -> tuple[float, float]:
    return 2.0 * rows * weights, float(weights)


def _blocks(count: int, rows: int, width: int, weights: int, batch: int) -> tuple[float, float]:
    """Transformer blocks: their products, and full attention."""
    attention = 4.0 * rows * rows * width
    return count * batch * (2.0 * rows * weights + attention), float(count * weights)


def _towers(config: VlaAdapterConfig, everything: bool) -> tuple[float, float]:
    flop = read = 0.0
    for tower in config.towers:
        if isinstance(tower, VitConfig):
            count, rows = tower.depth - (not everything), tower.tokens + tower.registers + tower.class_token
            patch = 3 * tower.patch_size**2 * tower.width
        else:
            count, rows, patch = tower.blocks, tower.tokens, 0
        weights = 4 * tower.width**2 + 2 * tower.width * tower.mlp_width
        work, traffic = _blocks(count, rows, tower.width, weights, config.num_images)
        work, traffic = work + 2.0 * config.num_patches * patch, traffic + patch
        flop, read = flop + work, read + traffic
    return flop, read


def _projector_weights(config: VlaAdapterConfig) -> int:
    hidden, wide = config.llm.hidden, config.projector_width or 4 * config.vision_width
    last = hidden**2 if config.projector == ProjectorKind.GELU3 else 0
    return config.vision_width * wide + wide * hidden + last


def _language(config: VlaAdapterConfig, prompt_tokens: int, everything: bool) -> tuple[float, float]:
    llm = config.llm
    rows = config.num_patches + prompt_tokens + config.num_queries
    kv = llm.hidden * llm.kv_heads // llm.heads
    weights = 2 * llm.hidden**2 + 2 * llm.hidden * kv + 3 * llm.hidden * llm.intermediate
    flop, read = _blocks(llm.layers, rows, llm.hidden, weights, 1)
    if everything:
        flop, read = flop + 2.0 * rows * llm.hidden * llm.vocab_size, read + llm.hidden * llm.vocab_size
    return flop, read


def _head(config: VlaAdapterConfig) -> tuple[float, float]:
    """The bridge policy: keys and values of states and rows; q, output and feed-forward of the rows."""
    hidden, rows, blocks = config.llm.hidden, config.chunk, config.head.blocks
    states = config.num_patches + config.num_queries + 1
    square = hidden**2
    groups = 3 if config.head.kind == HeadKind.PRO else 1
    flop = blocks * (2.0 * (states + rows) * 2 * square + 2.0 * rows * 3 * square)
    flop += blocks * 4.0 * rows * (states + rows) * hidden
    return flop, float(blocks * (3 + 2 * groups) * square)
