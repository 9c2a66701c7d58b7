"""Settings by GPU memory, for the published size of the model (0.5B, two cameras)."""

from __future__ import annotations

from typing import Any

from vla_adapter_ros.errors import TrainingError

_RECIPE = {"lr": 2e-4, "schedule": "constant", "warmup_steps": 500, "lora_rank": 64, "frozen_bf16": True}
_SIZES: dict[int, dict[str, Any]] = {
    10: {"batch_size": 8, "gradient_accumulation_steps": 8, "gradient_checkpointing": True},
    16: {"batch_size": 16, "gradient_accumulation_steps": 8, "gradient_checkpointing": True},
    24: {"batch_size": 16, "gradient_accumulation_steps": 4, "gradient_checkpointing": False},
    48: {"batch_size": 16, "gradient_accumulation_steps": 2, "gradient_checkpointing": False},
    80: {"batch_size": 16, "gradient_accumulation_steps": 1, "gradient_checkpointing": False},
}
MEMORIES = tuple(_SIZES)


def memory_preset(gigabytes: int) -> dict[str, Any]:
    """Settings for a GPU of this memory; single ones may be changed.

    Batches, rank and learning rate are those of the published recipes: 1 x 8, 4 x 4, 8 x 2 and 16 samples;
    16 GB has none, and takes 2 x 8. What differs: weights that train stay in float32, frozen ones are bf16,
    and the two smaller presets compute activations again.

    Args:
        gigabytes: One of `MEMORIES`.

    Raises:
        TrainingError: another number.
    """
    return _RECIPE | memory_sizes(gigabytes)


def memory_sizes(gigabytes: int) -> dict[str, Any]:
    """The part of a preset that the memory decides: the batch, its parts, and what is computed again.

    Raises:
        TrainingError: another number than in `MEMORIES`.
    """
    if gigabytes not in _SIZES:
        raise TrainingError(f"memory = {gigabytes!r} GB: allowed is one of {list(MEMORIES)}")
    return dict(_SIZES[gigabytes])


def samples_at_once(gigabytes: int) -> int:
    """Samples that a preset computes at once."""
    sizes = _SIZES[gigabytes]
    return sizes["batch_size"] // sizes["gradient_accumulation_steps"]


def recomputes(gigabytes: int) -> bool:
    """Whether a preset computes activations again."""
    return _SIZES[gigabytes]["gradient_checkpointing"]
