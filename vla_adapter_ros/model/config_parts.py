"""The parts of a model's configuration, as frozen dataclasses; `config.py` is the whole.

Pydantic checks every value: other sizes crash, fill the memory, or predict NaN.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from vla_adapter_ros.choices import HeadKind
from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.config_enums import (
    ConditionGroups,
    LlmKind,
    Resize,
    RopeTables,
    Scaling,
)
from vla_adapter_ros.settings import CHECKED, Flag, NotNegative, Number, Positive, Text, Whole, refusing

Size = Annotated[Whole, Field(ge=1, le=1_000_000)]
"""Any width, length or vocabulary; the published ones stay below 200,000."""
SizeOrZero = Annotated[Whole, Field(ge=0, le=1_000_000)]
Count = Annotated[Whole, Field(ge=1, le=1_000)]
"""Layers, blocks, steps, cameras."""
CountOrZero = Annotated[Whole, Field(ge=0, le=1_000)]
Fraction = Annotated[Number, Field(gt=0, le=1)]
Gate = Annotated[Number, Field(ge=0, le=1)]


@refusing(ModelConfigError, "vits")
@dataclass(frozen=True, config=CHECKED)
class VitConfig:
    """A vision transformer tower. `key` is its name in checkpoints.

    The tower's features are the raw output of its last but one block, without the final norm.
    """

    key: Text
    width: Size
    depth: Count
    heads: Size
    mlp_width: Size
    patch_size: Size = 14
    image_size: Size = 224
    class_token: Flag = False
    registers: SizeOrZero = 0
    layer_scale: Flag = False
    attention_pool: Flag = False

    @property
    def tokens(self) -> int:
        """Patch tokens per image."""
        return (self.image_size // self.patch_size) ** 2


@refusing(ModelConfigError, "stem")
@dataclass(frozen=True, config=CHECKED)
class StemConfig:
    """A small convolution tower: 3x3 convolutions, then ViT blocks. It learns from few images."""

    key: Text = "stem"
    image_size: Size = 56
    channels: tuple[Size, ...] = (24, 48, 48, 96)
    strides: tuple[Size, ...] = (2, 2, 1, 2)
    norm_groups: Size = 8
    blocks: CountOrZero = 1
    heads: Size = 4
    mlp_width: Size = 384
    position_std: NotNegative = 0.5
    """Standard deviation of the learned position embedding of each view; small ones were measured to fail."""

    @property
    def width(self) -> int:
        """Feature width."""
        return self.channels[-1]

    @property
    def tokens(self) -> int:
        """Patch tokens per image."""
        side = self.image_size
        for stride in self.strides:
            side = -(-side // stride)
        return side**2


@refusing(ModelConfigError, "llm")
@dataclass(frozen=True, config=CHECKED)
class LlmConfig:
    """Sizes of the language model.

    `kind` is `qwen2` (biases on q, k and v) or `llama` (none). `bidirectional` lets every token see
    every other real one, as the published code does for its Llama backbones; Qwen2 is causal there.
    """

    hidden: Size
    intermediate: Size
    layers: Count
    heads: Size
    kv_heads: Size
    vocab_size: Size
    rope_theta: Positive = 1e6
    rms_norm_eps: Positive = 1e-6
    max_positions: Size = 32768
    init_std: NotNegative = 0.02
    kind: LlmKind = LlmKind.QWEN2
    bidirectional: Flag = False


@refusing(ModelConfigError, "head")
@dataclass(frozen=True, config=CHECKED)
class HeadConfig:
    """The Bridge-Attention policy: what it reads of the language model, and how.

    `kind`: `base` and `pro` are the published heads, trained with an L1 loss; `dit` is a diffusion
    transformer of the same depth on the same conditions.
    """

    kind: HeadKind
    blocks: Count
    heads: Size = 8
    film_weights: Flag = False
    """Carry the pro head's unused `film_gen` weights, as official checkpoints do."""
    train_noise_std: NotNegative = 0.0
    """Standard deviation of the noise that replaces the zero action tokens in training (official: 0.02)."""
    learned_rows: Flag = False
    """Add a learned embedding per chunk row after the first layer (official: no)."""
    rope_tables: RopeTables = RopeTables.MATCH
    """Precision in which the pro head's rotary tables are computed, whatever the weights' type: `fp32` for
    what is trained here; `match` is that of the weights, as in the official code; `bf16` is what official
    checkpoints were trained with. A file without the key means `match`."""
    conditions: ConditionGroups = ConditionGroups.BOTH
    """Which hidden states are read: `raw` (task positions, all gated), `query` (action queries, nothing
    is gated) or `both` (`num_task_tokens` draws the line)."""
    hidden_layers: tuple[SizeOrZero, ...] = ()
    """Hidden-state layer that each block reads; empty means official: block i reads layer i + 1.
    See `select_hidden_layers`."""
    gate: Gate | None = None
    """Factor on the scores of the raw states: None is tanh of a learned number that starts at 0.
    The diffusion transformer has no gate."""
    gate_per_head: Flag = False
    """Learn a gate for each attention head of each block, not one for all of them (official: one)."""
    denoising_steps: Count = 10
    """Only `dit`: steps from noise to a chunk at inference."""


@refusing(ModelConfigError, "preprocessing")
@dataclass(frozen=True, config=CHECKED)
class PreprocessingConfig:
    """From camera images to pixel values. Each (mean, std) pair yields three channels for one tower."""

    size: Size
    resize: Resize
    rotate_180: Flag = False
    """Turn camera images upside down first, as the official evaluation does in LIBERO."""
    jpeg_round_trip: Flag = False
    """JPEG round trip (quality 95, fast DCT) before resizing, as the official evaluation does."""
    center_crop: Fraction = 1.0
    """Area of the central box that is kept (official: 0.9); 1 means no crop."""
    means: tuple[tuple[Number, ...], ...] = ((0.5, 0.5, 0.5),)
    stds: tuple[tuple[Positive, ...], ...] = ((0.5, 0.5, 0.5),)

    @property
    def channels(self) -> int:
        """Channels C of the pixel values of one image."""
        return 3 * len(self.means)


@refusing(ModelConfigError, "normalization")
@dataclass(frozen=True, config=CHECKED)
class NormalizationConfig:
    """How actions and proprioception are scaled with the data set's statistics."""

    action: Scaling = Scaling.Q01_Q99
    proprio: Scaling = Scaling.Q01_Q99
    clip_actions: Flag = True
    """Clip training targets to +-1 (ranges only)."""
    clip_proprio: Positive = 1.0
    """Clip the scaled proprioception to +- this."""
    zero_range_to_zero: Flag = True
    """A constant dimension becomes 0 (official inference leaves it at -1, unlike its training)."""


@refusing(ModelConfigError, "output")
@dataclass(frozen=True, config=CHECKED)
class OutputConfig:
    """What happens to the grippers' columns after un-normalization; all off unless it is asked for.

    The official LIBERO evaluation maps 1 = open, 0 = close to -1 = open, +1 = close by binarizing and
    inverting. The one of CALVIN inverts, binarizes and inverts again: in sum it binarizes.
    """

    gripper_columns: tuple[Whole, ...] = (-1,)
    """-1 is the last; empty: there is no gripper."""
    gripper_binarize: Flag = False
    """[0, 1] becomes -1 or +1 (0 exactly at 0.5)."""
    gripper_invert: Flag = False
    """Change the sign if binarized, else g becomes 1 - g."""
