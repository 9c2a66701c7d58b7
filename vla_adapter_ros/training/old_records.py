"""Stored settings, reports and lists of checkpoints of earlier versions, under the names of this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OLD_KEYS = {
    "settings": {
        "batch": "batch_size",
        "accumulation": "gradient_accumulation_steps",
        "warmup": "warmup_steps",
        "clip": "grad_clip_norm",
        "ema": "ema_decay",
        "checkpointing": "gradient_checkpointing",
        "keep": "save_total_limit",
    },
    "report": {
        "judged": "evaluated",
        "held_out": "is_validation",
        "spread": "std",
        "sentences": "instructions",
    },
    "instructions": {"share": "fraction"},
    "checkpoints": {"held_out_loss": "validation_loss"},
}
"""Names of version 0.1 by kind of record: old to new."""
_ADDED = {
    "intervention_weight": 1.0,
    "outcome": "any",
    "max_delay_rows": 0,
    "committed_rows": True,
    "relative_rows": False,
    "head": "auto",
    "chunk": 0,
    "queries": 0,
    "conditions": "auto",
    "condition_layers": "auto",
    "gate": "auto",
    "bridge": "auto",
    "rope_tables": "auto",
    "decay_matrices_only": True,
    "adam_beta2": 0.95,
    "master_weights": True,
    "scale_grippers": True,
    "image_cache": "",
}
"""Settings that earlier versions did not know, and what they did."""


def rename_old_keys(kind: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored record of this version or an earlier one, under the names of this one.

    Args:
        kind: A key of `OLD_KEYS`.
        stored: As it was read.
    """
    renamed = {OLD_KEYS[kind].get(name, name): value for name, value in stored.items()}
    if kind == "settings":
        renamed = _ADDED | renamed
    if kind == "settings" and "take" in renamed:  # was `last` or `best`
        renamed["load_best"] = renamed.pop("take") == "best"
    if kind == "report" and isinstance(renamed.get("instructions"), Mapping):
        renamed["instructions"] = rename_old_keys("instructions", renamed["instructions"])
    return renamed
