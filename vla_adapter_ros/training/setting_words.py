"""Closed sets of words that settings of a training take."""

from __future__ import annotations

from vla_adapter_ros.choices import Choice


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


class OutcomeFilter(Choice):
    """Which episodes are learned from, by how they ended."""

    ANY = "any"
    SUCCESS = "success"
    NOT_FAILURE = "not-failure"


class Augmentation(Choice):
    """Augmentation of images, see `data.augmentation`."""

    AUTO = "auto"
    OFFICIAL = "official"
    LIGHT = "light"
    NONE = "none"


class HeadOption(Choice):
    """Kinds of heads; auto: as where the training starts from."""

    AUTO = "auto"
    BASE = "base"
    PRO = "pro"
    DIT = "dit"


class ConditionOption(Choice):
    """Hidden states that a head reads; auto: as where the training starts from."""

    AUTO = "auto"
    BOTH = "both"
    RAW = "raw"
    QUERY = "query"


class LayerOption(Choice):
    """Layers whose states a head reads; auto: as where the training starts from."""

    AUTO = "auto"
    FIRST = "first"
    MIDDLE = "middle"
    LAST = "last"
    ALL = "all"


class GateOption(Choice):
    """Factor on the scores of raw states; auto: as where the training starts from."""

    AUTO = "auto"
    LEARNED = "learned"
    PER_HEAD = "per-head"
    SHUT = "0"
    OPEN = "1"


class BridgeOption(Choice):
    """Designs that the paper compares, see `bridge_designs`; auto: as where the training starts from."""

    AUTO = "auto"
    LAST_RAW = "last_raw"
    MIDDLE_RAW = "middle_raw"
    ALL_RAW = "all_raw"
    LAST_QUERY = "last_query"
    ALL_QUERY = "all_query"
    BRIDGE = "bridge"


class RopeOption(Choice):
    """Types of a pro head's rotary tables; auto: see `settle_rope_tables`."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
