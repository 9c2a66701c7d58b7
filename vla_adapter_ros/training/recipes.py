"""Whole sets of settings by name: what this package does by default, and what the published code does."""

from __future__ import annotations

from typing import Any

from vla_adapter_ros.choices import Choice
from vla_adapter_ros.training.memory_presets import memory_preset, memory_sizes

DEFAULT_STEPS = 1600


class Recipe(Choice):
    """How to train; single settings may be changed."""

    DEFAULT = "default"
    PAPER = "paper"


_PAPER: dict[str, Any] = {
    "steps": 200_005,
    "batch_size": 16,
    "lr": 2e-4,
    "lora_rank": 64,
    "warmup_steps": 0,
    "schedule": "constant",
    "weight_decay": 0.01,
    "decay_matrices_only": False,
    "adam_beta2": 0.999,
    "grad_clip_norm": 0.0,
    "master_weights": False,
    "waypoint_weight": 0.0,
    "state_noise": 0.0,
    "augmentation": "official",
    "padding": "drop",
    "scale_grippers": False,
    "rope_tables": "bf16",
    "holdout": 0.0,
    "save_every": 5000,
}
"""The published code with its own defaults, where no setting's default here does the same."""
_PAPER_SIZES: dict[int, dict[str, Any]] = {
    10: {"steps": 400_005},
    80: {"steps": 150_005, "batch_size": 64, "gradient_accumulation_steps": 4},
}
"""What its recipe for a GPU of a memory changes; that for 80 GB is for four of them, 16 samples each."""


def recipe_settings(recipe: str = Recipe.DEFAULT, memory: int | None = None) -> dict[str, Any]:
    """Settings of a recipe, for any GPU or one of a memory; what is not in them has its default.

    Args:
        recipe: A word of `Recipe`. `paper` trains as the published code does, see docs/reference/recipes.md.
        memory: Of the GPU [GB], one of `MEMORIES`; None: any.

    Raises:
        TrainingError: another memory.
        ValueError: another recipe.
    """
    if Recipe(recipe) is Recipe.DEFAULT:
        return {"steps": DEFAULT_STEPS} | (memory_preset(memory) if memory else {})
    sizes = memory_sizes(memory) | _PAPER_SIZES.get(memory, {}) if memory else {}
    return _PAPER | sizes
