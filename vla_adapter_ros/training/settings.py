"""Settings of a fine-tuning run, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass

from vla_adapter_ros.errors import TrainingError


@dataclass(frozen=True)
class FinetuneSettings:
    """How to fine-tune.

    Attributes:
        steps: Optimiser steps.
        batch: Samples per step.
        lr: Largest learning rate (AdamW).
        backbone_lr_factor: Learning rate of everything but the policy head, relative to `lr`; 0 freezes it
            all but the action queries, which then learn with the head.
        lora_rank: Rank of the adapters that train in the backbone in place of its weights; 0 is none. They
            are merged into the weights at the end. See `training.adapters`.
        warmup: Steps over which the learning rate rises; afterwards it falls along a cosine.
        final_lr: Learning rate at the end, relative to `lr`.
        weight_decay: On matrices only.
        clip: Largest norm of the gradient.
        waypoint_weight: Weight of the extra loss that lets the last query foretell the state in which the
            gripper will close, as long as it is open; 0 switches it off. It needs nothing but the recording,
            and it ties the sentence to a place.
        state_noise: Spread of the noise on the normalised state.
        gain, offset: Images are multiplied by 1 +- gain, then brightened by +- offset (of 1).
        holdout: Share of the episodes that is kept apart for the report.
        seed: Of the split, the order, the noise and the new head.
        save_every: Steps between saves of the running training.
    """

    steps: int
    batch: int = 32
    lr: float = 1e-3
    backbone_lr_factor: float = 1.0
    lora_rank: int = 0
    warmup: int = 100
    final_lr: float = 0.02
    weight_decay: float = 0.02
    clip: float = 1.0
    waypoint_weight: float = 0.5
    state_noise: float = 0.02
    gain: float = 0.15
    offset: float = 0.075
    holdout: float = 0.05
    seed: int = 0
    save_every: int = 500

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "save_every"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("lr", "clip"):
            self._require(name, getattr(self, name) > 0, "more than 0")
        for name in ("backbone_lr_factor", "weight_decay", "waypoint_weight", "state_noise", "warmup"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        lora = isinstance(self.lora_rank, int) and self.lora_rank >= 0
        self._require("lora_rank", lora, "a whole number from 0")
        if self.lora_rank:
            self._require("backbone_lr_factor", self.backbone_lr_factor > 0, "more than 0 with LoRA")
        for name in ("gain", "offset", "holdout", "final_lr"):
            self._require(name, 0 <= getattr(self, name) < 1, "0 to below 1")

    def _require(self, name: str, ok: bool, allowed: str) -> None:
        if not ok:
            raise TrainingError(f"{name} = {getattr(self, name)!r}: allowed is {allowed}")
