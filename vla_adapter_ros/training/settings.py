"""Settings of a fine-tuning run, checked before anything starts.

Meaning, bounds and option group of every setting stand beside it: the command line's options are made from
them, see `setting_fields`. Pydantic checks every value.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.settings import (
    CHECKED,
    Flag,
    NotNegative,
    Number,
    Positive,
    Text,
    Whole,
    describe_errors,
    join_errors,
)
from vla_adapter_ros.training.setting_words import (
    Augmentation,
    BridgeOption,
    ConditionOption,
    GateOption,
    HeadOption,
    LayerOption,
    OutcomeFilter,
    Padding,
    PolicyPart,
    Precision,
    RopeOption,
    Schedule,
)

SOURCES = ("none", "human", "policy")
"""Who may have been in control of a recorded row, in the order of `source_weights`."""
FREE = (
    "save_every", "save_total_limit", "evaluate_every", "load_best", "gradient_accumulation_steps",
    "gradient_checkpointing", "compile", "workers", "image_cache",
)  # fmt: skip
"""Settings that may change when a run goes on: what is learned does not follow from them."""
GROUPS = {
    "head": "the policy's head: another design than where it starts from makes a new one",
    "adapters": "what trains",
    "optimization": "how it trains",
    "checkpoints": "validation and checkpoints",
    "data": "what is learned from",
}


Fraction = Annotated[Number, Field(ge=0, lt=1)]
Count = Annotated[Whole, Field(ge=0)]
AtLeastOne = Annotated[Whole, Field(ge=1)]


def _setting(group: str, meaning: str) -> Any:
    return Field(description=meaning, json_schema_extra={"group": group})


@dataclass(frozen=True, config=CHECKED)
class FinetuneSettings:
    """How to fine-tune; `setting_fields` has what each setting means, `make_settings` checks how they fit.

    The same `batch_size` gives the same training on one GPU and on eight, and with any number of
    `gradient_accumulation_steps`. See `training.adapters` for LoRA and `data.augmentation` for images.
    """

    steps: Annotated[AtLeastOne, _setting("optimization", "optimizer steps")]
    batch_size: Annotated[
        AtLeastOne, _setting("optimization", "samples per step, over all processes together")
    ] = 32
    gradient_accumulation_steps: Annotated[
        AtLeastOne,
        _setting(
            "optimization",
            "parts in which each process computes its samples of a step, one after the other; more parts "
            "need less memory and give the same step",
        ),
    ] = 1
    lr: Annotated[Positive, _setting("optimization", "largest learning rate (AdamW)")] = 1e-3
    backbone_lr_factor: Annotated[
        NotNegative,
        _setting(
            "adapters",
            "learning rate of everything but the policy head, relative to lr; 0 freezes it all but the "
            "action queries, which then learn with the head",
        ),
    ] = 1.0
    lora_rank: Annotated[
        Count,
        _setting(
            "adapters",
            "rank of the adapters that train in the backbone in place of its weights; they are merged into "
            "the weights at the end; 0: none",
        ),
    ] = 0
    lora_alpha: Annotated[
        Positive | None,
        _setting("adapters", "scale of the adapters; by default twice the rank, as published"),
    ] = None
    lora_dropout: Annotated[Fraction, _setting("adapters", "dropout on the adapters' input")] = 0.0
    lora_targets: Annotated[
        str | tuple[str, ...],
        _setting("adapters", "all-linear, used-linear, or names of layers such as q_proj,v_proj"),
    ] = "all-linear"
    freeze: Annotated[
        tuple[PolicyPart, ...], _setting("adapters", "parts of the policy that stay as they are")
    ] = ()
    warmup_steps: Annotated[
        Count, _setting("optimization", "steps over which the learning rate rises, at most half of all")
    ] = 100
    schedule: Annotated[
        Schedule,
        _setting(
            "optimization",
            "learning rate after the warm-up: cosine falls to final_lr, constant stays, as the published "
            "recipe in effect does",
        ),
    ] = Schedule.COSINE
    final_lr: Annotated[
        Fraction, _setting("optimization", "learning rate at the end of the cosine, relative to lr")
    ] = 0.02
    weight_decay: Annotated[NotNegative, _setting("optimization", "weight decay (AdamW)")] = 0.02
    decay_matrices_only: Annotated[
        Flag,
        _setting(
            "optimization", "leave norms, biases and other vectors without weight decay; not so as published"
        ),
    ] = True
    adam_beta2: Annotated[
        Fraction,
        _setting("optimization", "decay of AdamW's mean of squared gradients; as published 0.999"),
    ] = 0.95
    grad_clip_norm: Annotated[
        NotNegative, _setting("optimization", "largest norm of the gradient; 0: no limit, as published")
    ] = 1.0
    ema_decay: Annotated[
        Fraction,
        _setting(
            "optimization",
            "decay of an exponential moving average of the weights, which is then what is validated and "
            "written; 0: none",
        ),
    ] = 0.0
    precision: Annotated[
        Precision,
        _setting(
            "optimization",
            "type of products: bf16 computes them from float32 weights, auto takes bf16 where the hardware "
            "has it",
        ),
    ] = Precision.AUTO
    frozen_bf16: Annotated[
        Flag,
        _setting(
            "optimization", "keep matrices that do not train in bf16, half their memory; needs bf16 products"
        ),
    ] = False
    master_weights: Annotated[
        Flag,
        _setting(
            "optimization",
            "keep what trains in float32, whatever the type of products; without, weights and moments are "
            "bf16, as published: half the memory, but steps much smaller than a weight are lost",
        ),
    ] = True
    gradient_checkpointing: Annotated[
        Flag,
        _setting(
            "optimization",
            "keep no activations inside the layers and compute them again in the backward pass: less memory, "
            "more time",
        ),
    ] = False
    compile: Annotated[Flag, _setting("optimization", "give the layers to torch.compile")] = False
    waypoint_weight: Annotated[
        NotNegative,
        _setting(
            "optimization",
            "weight of the extra loss that lets the last query predict the state in which the gripper will "
            "close, as long as it is open; it ties the instruction to a place; 0: none",
        ),
    ] = 0.5
    state_noise: Annotated[
        NotNegative, _setting("data", "standard deviation of the noise on the normalized state")
    ] = 0.02
    augmentation: Annotated[
        Augmentation,
        _setting("data", "of images; auto: light for the tiny model, official for the published ones"),
    ] = Augmentation.AUTO
    gain: Annotated[
        Fraction, _setting("data", "largest relative change of contrast by the light augmentation")
    ] = 0.15
    offset: Annotated[
        Fraction, _setting("data", "largest change of brightness (of 1) by the light augmentation")
    ] = 0.075
    padding: Annotated[
        Padding,
        _setting(
            "data",
            "what stands in a chunk past the end of its episode: repeat the last action; mask: the same, and "
            "the loss leaves these chunk rows out; drop: rows so near the end are not trained on, as the "
            "published code does",
        ),
    ] = Padding.REPEAT
    scale_grippers: Annotated[
        Flag,
        _setting(
            "data",
            "scale the grippers' actions to -1 to 1 like the others; without, they go from 0 to 1, as "
            "published",
        ),
    ] = True
    head: Annotated[
        HeadOption, _setting("head", "kind: base and pro are published, dit is a diffusion transformer")
    ] = HeadOption.AUTO
    chunk: Annotated[Count, _setting("head", "rows of a chunk; 0: as where it starts from")] = 0
    queries: Annotated[Count, _setting("head", "ActionQuery tokens; 0: as where it starts from")] = 0
    bridge: Annotated[
        BridgeOption,
        _setting(
            "head",
            "what it reads of the language model, by the paper's names: bridge is the published design, the "
            "others are those that the paper compares; --conditions and --condition-layers go over it",
        ),
    ] = BridgeOption.AUTO
    conditions: Annotated[
        ConditionOption,
        _setting("head", "which hidden states it reads: raw ones, those of the queries, or both"),
    ] = ConditionOption.AUTO
    condition_layers: Annotated[
        LayerOption, _setting("head", "of which layers: of each block its own (all), or of one alone")
    ] = LayerOption.AUTO
    gate: Annotated[
        GateOption,
        _setting("head", "factor on the scores of raw states: learned, learned per attention head, 0 or 1"),
    ] = GateOption.AUTO
    rope_tables: Annotated[
        RopeOption,
        _setting(
            "head",
            "type in which the pro head's rotary tables are computed, in training and when it runs; auto: "
            "fp32 for a new head, for one that trains on those that it was trained with",
        ),
    ] = RopeOption.AUTO
    max_delay_rows: Annotated[
        Count,
        _setting(
            "data",
            "teach the policy to act late: state and chunk of a sample begin up to so many rows after its "
            "image; half of them at once, the others at each delay equally often; 0: no delays, as published",
        ),
    ] = 0
    committed_rows: Annotated[
        Flag,
        _setting(
            "data",
            "with delays: tell the network the rows between image and chunk, which the arm carries out "
            "anyway",
        ),
    ] = True
    relative_rows: Annotated[
        Flag,
        _setting(
            "data",
            "the head gives joint positions relative to those of the state, not absolute ones as published: "
            "chunks of neighboring images agree better",
        ),
    ] = False
    idle_threshold: Annotated[
        NotNegative,
        _setting(
            "data",
            "leave out rows whose whole chunk moves no joint and no axis by more than this [rad or m], nor "
            "the gripper; 0: none",
        ),
    ] = 0.0
    source_weights: Annotated[
        tuple[NotNegative, NotNegative, NotNegative],
        _setting(
            "data",
            "how often rows are drawn by who was in control when they were recorded, 0: never; data sets "
            "that do not say count as human",
        ),
    ] = (0.0, 1.0, 0.0)
    intervention_weight: Annotated[
        NotNegative,
        _setting(
            "data",
            "factor on the rows in which a human corrected the policy, on top of source_weights; more than 1 "
            "draws corrections more often than other demonstrations, 0 leaves them out",
        ),
    ] = 1.0
    outcome: Annotated[
        OutcomeFilter,
        _setting(
            "data",
            "episodes that are learned from: any; success: those that were labeled so; not-failure: all but "
            "those that were labeled as failures",
        ),
    ] = OutcomeFilter.ANY
    image_cache: Annotated[
        Text,
        _setting(
            "data",
            "folder in which decoded images are kept that do not fit memory, for this training and later "
            "ones; default: none, they are decoded whenever they are wanted",
        ),
    ] = ""
    workers: Annotated[
        Annotated[Whole, Field(ge=-1)],
        _setting(
            "data",
            "processes that decode images ahead; -1: none if all images fit memory, else one per spare core",
        ),
    ] = -1
    holdout: Annotated[
        Fraction, _setting("checkpoints", "fraction of the episodes that is kept for validation")
    ] = 0.05
    seed: Annotated[Whole, _setting("", "of the split, the order, the noise and the new head")] = 0
    save_every: Annotated[
        AtLeastOne, _setting("checkpoints", "steps between saves of the running training")
    ] = 500
    save_total_limit: Annotated[
        Count,
        _setting(
            "checkpoints",
            "newest checkpoints that stay beside the running training; the one with the lowest validation "
            "loss stays too; 0: no checkpoints until the end",
        ),
    ] = 2
    evaluate_every: Annotated[
        Count, _setting("checkpoints", "steps between validations; 0: at every save")
    ] = 0
    load_best: Annotated[
        Flag,
        _setting(
            "checkpoints",
            "the checkpoint with the lowest validation loss becomes the output, not the last one",
        ),
    ] = False

    def evaluates_after(self, step: int) -> bool:
        """Whether the policy is validated after step number `step` (from 0)."""
        return (step + 1) % (self.evaluate_every or self.save_every) == 0 or step + 1 == self.steps

    def saves_after(self, step: int) -> bool:
        """Whether the running training is saved after step number `step`; the last one is the output."""
        return (step + 1) % self.save_every == 0 and step + 1 < self.steps

    def as_json(self) -> dict[str, Any]:
        """The settings as they come back from a file."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


_SETTINGS = TypeAdapter(FinetuneSettings)


def setting_fields(group: str | None = None) -> dict[str, FieldInfo]:
    """Settings by name, all or those of one of the `GROUPS`; `description` is the meaning of each."""
    fields: dict[str, FieldInfo] = FinetuneSettings.__pydantic_fields__  # type: ignore[attr-defined]
    return {name: field for name, field in fields.items() if group in (None, _group(field))}


def make_settings(**values: Any) -> FinetuneSettings:
    """Settings of these values, which fit together.

    Raises:
        TrainingError: there is no such setting, or a value is not allowed; all of them, a line each.
    """
    try:
        settings = _SETTINGS.validate_python(values)
    except ValidationError as error:
        lines = describe_errors(error, FinetuneSettings, "settings")
        raise TrainingError(join_errors([line.removeprefix("settings.") for line in lines])) from None
    if broken := _broken_rules(settings):
        raise TrainingError(join_errors(broken))
    return settings


def _group(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""


def _broken_rules(settings: FinetuneSettings) -> list[str]:
    """What does not fit together: a sentence each."""
    parts = settings.gradient_accumulation_steps
    rules = (
        ("source_weights", max(settings.source_weights) > 0, "not all 0"),
        ("backbone_lr_factor", settings.backbone_lr_factor > 0 or not settings.lora_rank,
         "more than 0 with LoRA"),
        ("precision", settings.precision != Precision.FP32 or not settings.frozen_bf16,
         "not 'fp32' with frozen_bf16"),
        ("precision", settings.precision != Precision.FP32 or settings.master_weights,
         "not 'fp32' without master_weights"),
        ("ema_decay", settings.ema_decay == 0 or settings.master_weights,
         "0 without master_weights: in bf16 an average stands still"),
        ("save_total_limit", settings.save_total_limit > 0 or not settings.load_best,
         "at least 1 with load_best"),
        ("batch_size", settings.batch_size % parts == 0, f"a multiple of {parts} parts"),
    )  # fmt: skip
    return [
        f"{name} = {getattr(settings, name)!r}: allowed is {allowed}" for name, ok, allowed in rules if not ok
    ]
