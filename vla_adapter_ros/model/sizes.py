"""Which numbers a model configuration may hold: others crash, fill the memory, or predict NaN."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.untrusted import is_finite, short

LARGEST = 1_000_000  # any width, length or vocabulary; the published ones stay below 200,000
DEEPEST = 1_000  # layers and blocks
_DEPTHS = ("layers", "depth", "blocks", "denoising_steps", "num_images")
_FROM_ZERO = ("registers", "projector_width", "hidden_layers")
_ANY = ("gripper_columns",)  # checked with the widths
_ABOVE_ZERO = ("rope_theta", "rms_norm_eps", "stds", "clip_proprio", "center_crop")


def check_sizes(config: Any) -> None:
    """Refuse sizes and factors that no model has.

    Args:
        config: A `VlaAdapterConfig`, whatever its fields hold.

    Raises:
        ModelConfigError: names the field, the value and what is allowed.
    """
    for where, name, value in _numbers(config, ""):
        if isinstance(value, bool) or name in _ANY:
            continue
        if isinstance(value, float):
            low = "above 0" if name in _ABOVE_ZERO else "from 0 on" if name != "means" else ""
            good = is_finite(value) and (not low or value > 0 or (value == 0 and low != "above 0"))
            _require(good, where, value, f"a finite number {low}".strip())
        else:
            minimum = 0 if name in _FROM_ZERO or where == "stem.blocks" else 1
            maximum = DEEPEST if name in _DEPTHS else LARGEST
            _require(minimum <= value <= maximum, where, value, f"{minimum} to {maximum}")
    _check_divisors(config)
    pre = config.preprocessing
    for name in ("means", "stds"):
        groups = getattr(pre, name)
        _require(
            all(len(group) == 3 for group in groups), f"preprocessing.{name}", groups, "three numbers each"
        )


def _check_divisors(config: Any) -> None:
    llm = config.llm
    pairs = [("llm.kv_heads", llm.heads, llm.kv_heads), ("twice llm.heads", llm.hidden, 2 * llm.heads)]
    pairs += [(f"vits.{vit.key}.heads", vit.width, vit.heads) for vit in config.vits]
    pairs += [(f"vits.{vit.key}.patch_size", vit.image_size, vit.patch_size) for vit in config.vits]
    if config.stem is not None:
        stem = config.stem
        _require(
            len(stem.channels) == len(stem.strides) > 0,
            "stem.strides",
            stem.strides,
            "one for each of channels",
        )
        pairs += [("stem.heads", stem.width, stem.heads)]
        pairs += [("stem.norm_groups", width, stem.norm_groups) for width in stem.channels]
    for where, whole, part in pairs:
        _require(whole % part == 0, where, part, f"a divisor of {whole}")


def _numbers(value: Any, where: str, name: str = "") -> Iterator[tuple[str, str, Any]]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _numbers(getattr(value, field.name), f"{where}.{field.name}".lstrip("."), field.name)
    elif isinstance(value, tuple):
        for number, entry in enumerate(value):
            yield from _numbers(entry, f"{where}[{number}]", name)
    elif isinstance(value, (int, float)):
        yield where, name, value


def _require(ok: bool, where: str, value: Any, allowed: str) -> None:
    if not ok:
        raise ModelConfigError(f"{where} = {short(value)}: allowed is {allowed}")
