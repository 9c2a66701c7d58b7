"""Settings of a fine-tuning run, checked before anything starts."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.errors import TrainingError

SCHEDULES = ("cosine", "constant")
PRECISIONS = ("auto", "fp32", "bf16")
POLICY_PARTS = ("action_queries", "action_head", "proprio_projector")
TARGETS = ("all-linear", "used-linear")
TAKES = ("last", "best")
PADDINGS = ("repeat", "mask", "drop")
SOURCES = ("none", "human", "policy")
"""Who may have been in control of a recorded row, in the order of `source_weights`."""
AUGMENTATIONS = ("auto", "official", "light", "none")
FREE = ("save_every", "keep", "evaluate_every", "take", "accumulation", "checkpointing", "compile", "workers")
"""Settings that may change when a run goes on: what is learned does not follow from them."""


@dataclass(frozen=True)
class FinetuneSettings:
    """How to fine-tune.

    Attributes:
        steps: Optimizer steps.
        batch: Samples per step, over all processes and parts together. The same number gives the same
            training on one GPU and on eight.
        accumulation: Parts in which each process takes its share of the batch, one after the other; more
            parts need less memory and give the same step.
        lr: Largest learning rate (AdamW).
        backbone_lr_factor: Learning rate of everything but the policy head, relative to `lr`; 0 freezes it
            all but the action queries, which then learn with the head.
        lora_rank: Rank of the adapters that train in the backbone in place of its weights; 0 is none. They
            are merged into the weights at the end. See `training.adapters`.
        lora_alpha: Scale of the adapters; None: twice the rank, as published.
        lora_dropout: On the adapters' input.
        lora_targets: `all-linear`, `used-linear`, or layers such as `q_proj`; see `adapters.add_lora`.
        freeze: Parts of the policy (`POLICY_PARTS`) that stay as they are.
        warmup: Steps over which the learning rate rises; afterwards it follows the schedule.
        schedule: `cosine` falls to `final_lr`; `constant` stays, as the published recipe in effect does.
        final_lr: Learning rate at the end of the cosine, relative to `lr`.
        weight_decay: On matrices only.
        clip: Largest norm of the gradient.
        ema: Decay of a running mean of the weights, which is then what is judged and written; 0: none.
        precision: `bf16` computes products in bf16 from float32 weights (autocast); `fp32` does not;
            `auto` takes bf16 where the hardware has it.
        frozen_bf16: Keep matrices that do not train in bf16: half their memory. Needs bf16 products.
        checkpointing: Keep no activations inside the layers, compute them again in the backward pass.
        compile: Give the layers to torch.compile.
        waypoint_weight: Weight of the extra loss that lets the last query foretell the state in which the
            gripper will close, as long as it is open; 0 switches it off. It needs nothing but the recording,
            and it ties the sentence to a place.
        state_noise: Spread of the noise on the normalized state.
        augmentation: Of images: `official`, `light`, `none`; `auto` is light for the tiny model, official for
            the published ones. See `training.augmentation`.
        gain, offset: Of the light one: images times 1 +- gain, then brighter by +- offset (of 1).
        padding: What stands in a chunk past the end of its episode: `repeat` the last action; `mask`: the
            same, and the loss leaves these chunk rows out; `drop`: rows so near the end are not trained on,
            as the published code does.
        idle_threshold: Rows whose whole chunk moves no joint and no axis by more than this [rad or m], nor
            the gripper, are not trained on; 0 keeps them.
        source_weights: How often rows are drawn by who was in control when they were recorded: none, human,
            policy; 0: never. Data sets that do not say count as human.
        workers: Processes that decode images ahead; -1: none if all images fit memory, else one per spare
            core.
        holdout: Share of the episodes that is kept apart for the report.
        seed: Of the split, the order, the noise and the new head.
        save_every: Steps between saves of the running training.
        keep: Newest checkpoints that stay beside the running training; the one with the lowest held-out
            loss stays too. 0: no checkpoints until the end.
        evaluate_every: Steps between looks at the held-out loss; 0: at every save.
        take: `last` or `best` of the checkpoints becomes the output; `best` is by held-out loss.
    """

    steps: int
    batch: int = 32
    accumulation: int = 1
    lr: float = 1e-3
    backbone_lr_factor: float = 1.0
    lora_rank: int = 0
    lora_alpha: float | None = None
    lora_dropout: float = 0.0
    lora_targets: str | tuple[str, ...] = "all-linear"
    freeze: tuple[str, ...] = ()
    warmup: int = 100
    schedule: str = "cosine"
    final_lr: float = 0.02
    weight_decay: float = 0.02
    clip: float = 1.0
    ema: float = 0.0
    precision: str = "auto"
    frozen_bf16: bool = False
    checkpointing: bool = False
    compile: bool = False
    waypoint_weight: float = 0.5
    state_noise: float = 0.02
    augmentation: str = "auto"
    gain: float = 0.15
    offset: float = 0.075
    padding: str = "repeat"
    idle_threshold: float = 0.0
    source_weights: tuple[float, float, float] = (0.0, 1.0, 0.0)
    workers: int = -1
    holdout: float = 0.05
    seed: int = 0
    save_every: int = 500
    keep: int = 2
    evaluate_every: int = 0
    take: str = "last"

    def __post_init__(self) -> None:
        for name in ("freeze", "lora_targets", "source_weights"):
            value = getattr(self, name)
            if not isinstance(value, str | tuple):
                object.__setattr__(self, name, tuple(value))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            self._require(field.name, not isinstance(value, float) or math.isfinite(value), "a finite number")
        for name in ("steps", "batch", "save_every", "accumulation"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("lr", "clip"):
            self._require(name, getattr(self, name) > 0, "more than 0")
        for name in (
            "backbone_lr_factor", "weight_decay", "waypoint_weight", "state_noise", "warmup", "keep",
            "evaluate_every", "idle_threshold",
        ):  # fmt: skip
            self._require(name, getattr(self, name) >= 0, "at least 0")
        lora = isinstance(self.lora_rank, int) and self.lora_rank >= 0
        self._require("lora_rank", lora, "a whole number from 0")
        if self.lora_rank:
            self._require("backbone_lr_factor", self.backbone_lr_factor > 0, "more than 0 with LoRA")
        self._require("lora_alpha", self.lora_alpha is None or self.lora_alpha > 0, "more than 0")
        for name in ("gain", "offset", "holdout", "final_lr", "ema", "lora_dropout"):
            self._require(name, 0 <= getattr(self, name) < 1, "0 to below 1")
        for name, allowed in (
            ("schedule", SCHEDULES), ("precision", PRECISIONS), ("take", TAKES), ("padding", PADDINGS),
            ("augmentation", AUGMENTATIONS),
        ):  # fmt: skip
            self._require(name, getattr(self, name) in allowed, f"one of {list(allowed)}")
        self._require("freeze", set(self.freeze) <= set(POLICY_PARTS), f"some of {list(POLICY_PARTS)}")
        weights = self.source_weights
        ok = len(weights) == 3 and min(weights) >= 0 and 0 < max(weights) < float("inf")
        self._require("source_weights", ok, "three numbers from 0, for none, human and policy, not all 0")
        self._require("workers", self.workers >= -1, "a whole number from 0, or -1")
        if self.frozen_bf16:
            self._require("precision", self.precision != "fp32", "not 'fp32' with frozen_bf16")
        if self.take == "best":
            self._require("keep", self.keep > 0, "at least 1 with take = 'best'")
        self._require(
            "batch", self.batch % self.accumulation == 0, f"a multiple of {self.accumulation} parts"
        )

    def evaluates_after(self, step: int) -> bool:
        """Whether the held-out loss is looked at after step number `step` (from 0)."""
        return (step + 1) % (self.evaluate_every or self.save_every) == 0 or step + 1 == self.steps

    def saves_after(self, step: int) -> bool:
        """Whether the running training is saved after step number `step`; the last one is the output."""
        return (step + 1) % self.save_every == 0 and step + 1 < self.steps

    def _require(self, name: str, ok: bool, allowed: str) -> None:
        if not ok:
            raise TrainingError(f"{name} = {getattr(self, name)!r}: allowed is {allowed}")


def make_settings(**fields: Any) -> FinetuneSettings:
    """Settings of these fields.

    Raises:
        TrainingError: there is no such field, or its value is not allowed.
    """
    try:
        return FinetuneSettings(**fields)
    except TypeError as error:
        raise TrainingError(f"unknown setting: {error}") from None
