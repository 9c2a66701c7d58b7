"""Settings of a fine-tuning run, checked before anything starts.

Text, allowed values and option group of every setting stand beside it: the command line's options are made
from them, see `setting_fields`.
"""
# ruff: noqa: RUF009 - `_setting` makes a new field for each class

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.choices import Choice
from vla_adapter_ros.errors import TrainingError


class Schedule(Choice):
    """What the learning rate does after the warm-up."""

    COSINE = "cosine"
    CONSTANT = "constant"


class Precision(Choice):
    """Type of products; weights that train are float32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class PolicyPart(Choice):
    """Parts of the policy: what trains in every mode."""

    ACTION_QUERIES = "action_queries"
    ACTION_HEAD = "action_head"
    PROPRIO_PROJECTOR = "proprio_projector"


class LoraTargets(Choice):
    """Sets of layers that LoRA adapts, see `adapters.backbone_layers`."""

    ALL_LINEAR = "all-linear"
    USED_LINEAR = "used-linear"


class Padding(Choice):
    """What stands in a chunk past the end of its episode."""

    REPEAT = "repeat"
    MASK = "mask"
    DROP = "drop"


class Augmentation(Choice):
    """Augmentation of images, see `training.augmentation`."""

    AUTO = "auto"
    OFFICIAL = "official"
    LIGHT = "light"
    NONE = "none"


SOURCES = ("none", "human", "policy")
"""Who may have been in control of a recorded row, in the order of `source_weights`."""
FREE = (
    "save_every", "save_total_limit", "evaluate_every", "load_best", "gradient_accumulation_steps",
    "gradient_checkpointing", "compile", "workers",
)  # fmt: skip
"""Settings that may change when a run goes on: what is learned does not follow from them."""
GROUPS = {
    "adapters": "what trains",
    "optimization": "how it trains",
    "checkpoints": "validation and checkpoints",
    "data": "what is learned from",
}


def _setting(default: Any, group: str, text: str, **rule: Any) -> Any:
    """A field with its option group and text.

    `rule` may hold `minimum` (that value and more), `above` (more than that) and `below` (less than that).
    """
    return dataclasses.field(default=default, metadata={"group": group, "text": text, **rule})


@dataclass(frozen=True)
class FinetuneSettings:
    """How to fine-tune; `setting_fields` has what each setting means.

    The same `batch_size` gives the same training on one GPU and on eight, and with any number of
    `gradient_accumulation_steps`. See `training.adapters` for LoRA and `training.augmentation` for images.
    """

    steps: int = _setting(dataclasses.MISSING, "optimization", "optimizer steps", minimum=1)
    batch_size: int = _setting(32, "optimization", "samples per step, over all processes together", minimum=1)
    gradient_accumulation_steps: int = _setting(
        1, "optimization",
        "parts in which each process computes its samples of a step, one after the other; more parts need "
        "less memory and give the same step", minimum=1,
    )  # fmt: skip
    lr: float = _setting(1e-3, "optimization", "largest learning rate (AdamW)", above=0)
    backbone_lr_factor: float = _setting(
        1.0, "adapters",
        "learning rate of everything but the policy head, relative to lr; 0 freezes it all but the action "
        "queries, which then learn with the head", minimum=0,
    )  # fmt: skip
    lora_rank: int = _setting(
        0, "adapters",
        "rank of the adapters that train in the backbone in place of its weights; they are merged into the "
        "weights at the end; 0: none", minimum=0,
    )  # fmt: skip
    lora_alpha: float | None = _setting(
        None, "adapters", "scale of the adapters; by default twice the rank, as published", above=0
    )
    lora_dropout: float = _setting(0.0, "adapters", "dropout on the adapters' input", minimum=0, below=1)
    lora_targets: str | tuple[str, ...] = _setting(
        "all-linear", "adapters", "all-linear, used-linear, or names of layers such as q_proj,v_proj"
    )
    freeze: tuple[PolicyPart, ...] = _setting((), "adapters", "parts of the policy that stay as they are")
    warmup_steps: int = _setting(
        100, "optimization", "steps over which the learning rate rises, at most half of all", minimum=0
    )
    schedule: Schedule = _setting(
        Schedule.COSINE, "optimization",
        "learning rate after the warm-up: cosine falls to final_lr, constant stays, as the published recipe "
        "in effect does",
    )  # fmt: skip
    final_lr: float = _setting(
        0.02, "optimization", "learning rate at the end of the cosine, relative to lr", minimum=0, below=1
    )
    weight_decay: float = _setting(0.02, "optimization", "weight decay, on matrices only", minimum=0)
    grad_clip_norm: float = _setting(1.0, "optimization", "largest norm of the gradient", above=0)
    ema_decay: float = _setting(
        0.0, "optimization",
        "decay of an exponential moving average of the weights, which is then what is validated and "
        "written; 0: none", minimum=0, below=1,
    )  # fmt: skip
    precision: Precision = _setting(
        Precision.AUTO, "optimization",
        "type of products: bf16 computes them from float32 weights, auto takes bf16 where the "
        "hardware has it",
    )  # fmt: skip
    frozen_bf16: bool = _setting(
        False,
        "optimization",
        "keep matrices that do not train in bf16, half their memory; needs bf16 products",
    )
    gradient_checkpointing: bool = _setting(
        False, "optimization",
        "keep no activations inside the layers and compute them again in the backward pass: less memory, "
        "more time",
    )  # fmt: skip
    compile: bool = _setting(False, "optimization", "give the layers to torch.compile")
    waypoint_weight: float = _setting(
        0.5, "optimization",
        "weight of the extra loss that lets the last query predict the state in which the gripper will "
        "close, as long as it is open; it ties the instruction to a place; 0: none", minimum=0,
    )  # fmt: skip
    state_noise: float = _setting(
        0.02, "data", "standard deviation of the noise on the normalized state", minimum=0
    )
    augmentation: Augmentation = _setting(
        Augmentation.AUTO,
        "data",
        "of images; auto: light for the tiny model, official for the published ones",
    )
    gain: float = _setting(
        0.15, "data", "largest relative change of contrast by the light augmentation", minimum=0, below=1
    )
    offset: float = _setting(
        0.075, "data", "largest change of brightness (of 1) by the light augmentation", minimum=0, below=1
    )
    padding: Padding = _setting(
        Padding.REPEAT, "data",
        "what stands in a chunk past the end of its episode: repeat the last action; mask: the same, and the "
        "loss leaves these chunk rows out; drop: rows so near the end are not trained on, as the published "
        "code does",
    )  # fmt: skip
    idle_threshold: float = _setting(
        0.0, "data",
        "leave out rows whose whole chunk moves no joint and no axis by more than this [rad or m], nor the "
        "gripper; 0: none", minimum=0,
    )  # fmt: skip
    source_weights: tuple[float, float, float] = _setting(
        (0.0, 1.0, 0.0), "data",
        "how often rows are drawn by who was in control when they were recorded, 0: never; data sets that do "
        "not say count as human",
    )  # fmt: skip
    workers: int = _setting(
        -1, "data",
        "processes that decode images ahead; -1: none if all images fit memory, else one per spare core",
        minimum=-1,
    )  # fmt: skip
    holdout: float = _setting(
        0.05, "checkpoints", "fraction of the episodes that is kept for validation", minimum=0, below=1
    )
    seed: int = _setting(0, "", "of the split, the order, the noise and the new head")
    save_every: int = _setting(500, "checkpoints", "steps between saves of the running training", minimum=1)
    save_total_limit: int = _setting(
        2, "checkpoints",
        "newest checkpoints that stay beside the running training; the one with the lowest validation loss "
        "stays too; 0: no checkpoints until the end", minimum=0,
    )  # fmt: skip
    evaluate_every: int = _setting(0, "checkpoints", "steps between validations; 0: at every save", minimum=0)
    load_best: bool = _setting(
        False, "checkpoints",
        "the checkpoint with the lowest validation loss becomes the output, not the last one",
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("freeze", "lora_targets", "source_weights"):
            value = getattr(self, name)
            if not isinstance(value, str | tuple):
                object.__setattr__(self, name, tuple(value))
        for field in dataclasses.fields(self):
            self._check_field(field)
        self._require("freeze", set(self.freeze) <= set(PolicyPart), f"some of {PolicyPart.words()}")
        weights = self.source_weights
        ok = len(weights) == 3 and min(weights) >= 0 and 0 < max(weights) < float("inf")
        self._require("source_weights", ok, "three numbers from 0, for none, human and policy, not all 0")
        if self.lora_rank:
            self._require("backbone_lr_factor", self.backbone_lr_factor > 0, "more than 0 with LoRA")
        if self.frozen_bf16:
            self._require("precision", self.precision != Precision.FP32, "not 'fp32' with frozen_bf16")
        if self.load_best:
            self._require("save_total_limit", self.save_total_limit > 0, "at least 1 with load_best")
        parts = self.gradient_accumulation_steps
        self._require("batch_size", self.batch_size % parts == 0, f"a multiple of {parts} parts")

    def evaluates_after(self, step: int) -> bool:
        """Whether the policy is validated after step number `step` (from 0)."""
        return (step + 1) % (self.evaluate_every or self.save_every) == 0 or step + 1 == self.steps

    def saves_after(self, step: int) -> bool:
        """Whether the running training is saved after step number `step`; the last one is the output."""
        return (step + 1) % self.save_every == 0 and step + 1 < self.steps

    def _check_field(self, field: dataclasses.Field[Any]) -> None:
        """Compare a value with its field's type and rule; words become members of their sets."""
        name, value, rule = field.name, getattr(self, field.name), field.metadata
        if isinstance(field.default, Choice):
            object.__setattr__(self, name, type(field.default).check(name, value, TrainingError))
            return
        if value is None or isinstance(value, str | tuple):
            return
        self._require(name, math.isfinite(value), "a finite number")
        if field.type == "int":
            minimum = rule.get("minimum")
            allowed = "a whole number" + ("" if minimum is None else f" from {minimum}")
            self._require(name, isinstance(value, int), allowed)
        if "minimum" in rule and "below" in rule:
            self._require(name, rule["minimum"] <= value < rule["below"], "0 to below 1")
        elif "minimum" in rule:
            self._require(name, value >= rule["minimum"], f"at least {rule['minimum']}")
        elif "above" in rule:
            self._require(name, value > rule["above"], f"more than {rule['above']}")

    def _require(self, name: str, ok: bool, allowed: str) -> None:
        if not ok:
            raise TrainingError(f"{name} = {getattr(self, name)!r}: allowed is {allowed}")


def setting_fields(group: str | None = None) -> list[dataclasses.Field[Any]]:
    """Fields of `FinetuneSettings`, all or those of one of the `GROUPS`; `metadata["text"]` explains each."""
    fields = dataclasses.fields(FinetuneSettings)
    return [field for field in fields if group in (None, field.metadata["group"])]


def make_settings(**fields: Any) -> FinetuneSettings:
    """Settings of these fields.

    Raises:
        TrainingError: there is no such field, or its value is not allowed.
    """
    try:
        return FinetuneSettings(**fields)
    except TypeError as error:
        raise TrainingError(f"unknown setting: {error}") from None
