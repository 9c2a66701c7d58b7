"""Rules of a model's configuration that span several settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.untrusted import short

if TYPE_CHECKING:
    from vla_adapter_ros.model.config import VlaAdapterConfig

Require = Callable[[bool, str, Any, str], bool]
"""Called with: whether a rule holds, the key, its value, and what is allowed; returns the first."""


def broken_rules(config: VlaAdapterConfig) -> list[str]:
    """What does not fit together: a sentence per rule, with key, value and what is allowed."""
    broken: list[str] = []

    def require(holds: bool, where: str, value: Any, allowed: str) -> bool:
        if not holds:
            broken.append(f"configuration.{where} = {short(value)}: allowed is {allowed}")
        return holds

    vision_fits = _vision(config, require)
    if vision_fits:
        _preprocessing(config, require)
    _language_model(config, require, vision_fits)
    _head(config, require)
    columns, width = config.output.gripper_columns, config.action_dim
    require(
        all(-width <= column < width for column in columns),
        "output.gripper_columns", columns, f"columns from {-width} to {width - 1}",
    )  # fmt: skip
    origins = config.relative_to
    require(
        not origins or (len(origins) == width and all(-1 <= n < config.proprio_dim for n in origins)),
        "relative_to", origins, f"nothing, or {width} places from -1 to {config.proprio_dim - 1}",
    )  # fmt: skip
    return broken


def _vision(config: VlaAdapterConfig, require: Require) -> bool:
    """Towers or a stem, and each of sizes that divide; returns whether all that holds."""
    fits = require(bool(config.vits) != bool(config.stem), "vits", config.vits, "either ViT towers or a stem")
    for i, vit in enumerate(config.vits):
        for key, whole in (("heads", vit.width), ("patch_size", vit.image_size)):
            fits &= _divides(require, f"vits[{i}].{key}", getattr(vit, key), whole)
    stem = config.stem
    if stem is None:
        return fits
    if not require(
        len(stem.channels) == len(stem.strides) > 0,
        "stem.strides", stem.strides, f"one for each of the channels {stem.channels}, at least one",
    ):  # fmt: skip
        return False
    fits &= _divides(require, "stem.heads", stem.heads, stem.width)
    for width in stem.channels:
        fits &= _divides(require, "stem.norm_groups", stem.norm_groups, width)
    return fits


def _preprocessing(config: VlaAdapterConfig, require: Require) -> None:
    """Images have the size, and the mean and standard deviation, that each tower expects."""
    pre, towers = config.preprocessing, config.towers
    sizes = sorted({tower.image_size for tower in towers})
    require(sizes == [pre.size], "preprocessing.size", pre.size, f"that of the towers: {sizes}")
    for key, groups in (("means", pre.means), ("stds", pre.stds)):
        require(
            len(groups) == len(towers) and all(len(group) == 3 for group in groups),
            f"preprocessing.{key}", groups, f"three numbers for each tower, of which there are {len(towers)}",
        )  # fmt: skip
    counts = [tower.tokens for tower in towers]
    require(len(set(counts)) == 1, "vits", config.vits, f"towers with equally many patches, not {counts}")


def _language_model(config: VlaAdapterConfig, require: Require, vision_fits: bool) -> None:
    llm = config.llm
    # Heads of odd width have no rotary embedding, which turns pairs of channels.
    _divides(require, "llm.heads", llm.heads, llm.hidden, f"a number whose double divides {llm.hidden}", 2)
    _divides(require, "llm.kv_heads", llm.kv_heads, llm.heads)
    if vision_fits:
        needed = config.num_patches + config.num_queries + 1
        require(
            config.max_prompt_tokens >= 1, "llm.max_positions", llm.max_positions,
            f"at least {needed}: patches, queries and one word",
        )  # fmt: skip


def _head(config: VlaAdapterConfig, require: Require) -> None:
    head, layers = config.head, config.llm.layers
    require(
        head.blocks <= layers,
        "head.blocks", head.blocks, f"1 to the number of language model layers, {layers}",
    )  # fmt: skip
    require(
        not head.hidden_layers
        or (len(head.hidden_layers) == head.blocks and all(layer <= layers for layer in head.hidden_layers)),
        "head.hidden_layers", head.hidden_layers,
        f"empty, or one layer of 0 to {layers} for each of the {head.blocks} blocks",
    )  # fmt: skip
    require(
        not head.gate_per_head or (head.kind.is_bridge and head.gate is None),
        "head.gate_per_head",
        head.gate_per_head,
        "false, but for a learned gate of a base or pro head",
    )
    require(
        head.gate is None or head.kind.is_bridge,
        "head.gate", head.gate, f"null: the head '{head.kind}' has no gate",
    )  # fmt: skip
    _divides(require, "head.heads", head.heads, config.llm.hidden)


def _divides(
    require: Require, where: str, value: int, whole: int, allowed: str = "", factor: int = 1
) -> bool:
    return require(whole % (factor * value) == 0, where, value, allowed or f"a divisor of {whole}")
