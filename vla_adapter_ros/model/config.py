"""Sizes and named settings of a VLA-Adapter. One set of classes serves every size.

Letters: B batch, P prompt tokens, N patch tokens of all images, Q action queries,
L hidden states (layers + 1), H chunk rows, A action width, S proprioception width.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from vla_adapter_ros.choices import Choice, HeadKind, check_choices
from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.sizes import check_sizes
from vla_adapter_ros.untrusted import short

FORMAT = 1
OLD_KEYS = {"head": {"levels": "hidden_layers"}}
"""Names of earlier versions in stored configurations, by part: old to new."""


class TokenOrder(Choice):
    """Order of prompt, patches and queries in the language model's input, see `VlaAdapterConfig`."""

    OFFICIAL = "official"
    TEXT_FIRST = "text_first"


class LlmKind(Choice):
    """Families of language models."""

    QWEN2 = "qwen2"
    LLAMA = "llama"


class Conditions(Choice):
    """Hidden states that the head reads, see `HeadConfig`."""

    BOTH = "both"
    RAW = "raw"
    QUERY = "query"


class RopeTables(Choice):
    """Precision of the pro head's rotary tables, see `HeadConfig`."""

    MATCH = "match"
    FP32 = "fp32"
    BF16 = "bf16"


class ProjectorKind(Choice):
    """Projectors: the published one of three layers with GELUs, and the tiny one of two with an RMS norm."""

    GELU3 = "gelu3"
    RMS2 = "rms2"


class Attention(Choice):
    """Attention kernels: torch's fused one, or the softmax written out."""

    SDPA = "sdpa"
    EAGER = "eager"


class PromptKind(Choice):
    """Forms of the prompt around an instruction, see `Tokenizer`."""

    QWEN_CHAT = "qwen_chat"
    OPENVLA = "openvla"
    PLAIN = "plain"


class Resize(Choice):
    """Ways to bring camera images to the model's size."""

    AREA = "area"
    LANCZOS3 = "lanczos3"


class Scaling(Choice):
    """Statistics that values are scaled with."""

    Q01_Q99 = "q01_q99"
    MIN_MAX = "min_max"
    MEAN_STD = "mean_std"

    @property
    def is_range(self) -> bool:
        """Whether a range goes to [-1, 1]; otherwise mean and standard deviation go to 0 and 1."""
        return self != Scaling.MEAN_STD

    @property
    def statistics(self) -> tuple[str, str]:
        """The two statistics: low and high of the range, or mean and standard deviation."""
        first, _, second = self.value.partition("_")
        return first, second


class LayerChoice(Choice):
    """Words for hidden-state layers, see `select_hidden_layers`."""

    FIRST = "first"
    MIDDLE = "middle"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True)
class VitConfig:
    """A vision transformer tower. `key` is its name in checkpoints.

    The tower's features are the raw output of its last but one block, without the final norm.
    """

    key: str
    width: int
    depth: int
    heads: int
    mlp_width: int
    patch_size: int = 14
    image_size: int = 224
    class_token: bool = False
    registers: int = 0
    layer_scale: bool = False
    attention_pool: bool = False

    @property
    def tokens(self) -> int:
        """Patch tokens per image."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class StemConfig:
    """A small convolution tower: 3x3 convolutions, then ViT blocks. It learns from few images."""

    key: str = "stem"
    image_size: int = 56
    channels: tuple[int, ...] = (24, 48, 48, 96)
    strides: tuple[int, ...] = (2, 2, 1, 2)
    norm_groups: int = 8
    blocks: int = 1
    heads: int = 4
    mlp_width: int = 384
    position_std: float = 0.5
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


@dataclass(frozen=True)
class LlmConfig:
    """Sizes of the language model.

    `kind` is `qwen2` (biases on q, k and v) or `llama` (none). `bidirectional` lets every token see
    every other real one, as the published code does for its Llama backbones; Qwen2 is causal there.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocab_size: int
    rope_theta: float = 1e6
    rms_norm_eps: float = 1e-6
    max_positions: int = 32768
    init_std: float = 0.02
    kind: LlmKind = LlmKind.QWEN2
    bidirectional: bool = False

    def __post_init__(self) -> None:
        check_choices(self, ModelConfigError, "llm.")


@dataclass(frozen=True)
class HeadConfig:
    """The Bridge-Attention policy: what it reads of the language model, and how.

    `kind`: `base` and `pro` are the published heads, trained with an L1 loss; `dit` is a diffusion
    transformer of the same depth on the same conditions.
    """

    kind: HeadKind
    blocks: int
    heads: int = 8
    film_weights: bool = False
    """Carry the pro head's unused `film_gen` weights, as official checkpoints do."""
    train_noise_std: float = 0.0
    """Standard deviation of the noise that replaces the zero action tokens in training (official: 0.02)."""
    learned_rows: bool = False
    """Add a learned embedding per chunk row after the first layer (official: no)."""
    rope_tables: RopeTables = RopeTables.MATCH
    """Precision in which the pro head's rotary tables are computed, whatever the weights' type: `fp32` for
    what is trained here; `match` is that of the weights, as in the official code; `bf16` is what official
    checkpoints were trained with. A file without the key means `match`."""
    conditions: Conditions = Conditions.BOTH
    """Which hidden states are read: `raw` (task positions, all gated), `query` (action queries, nothing
    is gated) or `both` (`num_task_tokens` draws the line)."""
    hidden_layers: tuple[int, ...] = ()
    """Hidden-state layer that each block reads; empty means official: block i reads layer i + 1.
    See `select_hidden_layers`."""
    gate: float | None = None
    """Factor on the scores of the raw states: None is tanh of a learned number that starts at 0.
    The diffusion transformer has no gate."""
    denoising_steps: int = 10
    """Only `dit`: steps from noise to a chunk at inference."""

    def __post_init__(self) -> None:
        check_choices(self, ModelConfigError, "head.")


@dataclass(frozen=True)
class PreprocessingConfig:
    """From camera images to pixel values. Each (mean, std) pair yields three channels for one tower."""

    size: int
    resize: Resize
    rotate_180: bool = False
    """Turn camera images upside down first, as the official evaluation does in LIBERO."""
    jpeg_round_trip: bool = False
    """JPEG round trip (quality 95, fast DCT) before resizing, as the official evaluation does."""
    center_crop: float = 1.0
    """Area of the central box that is kept (official: 0.9); 1 means no crop."""
    means: tuple[tuple[float, ...], ...] = ((0.5, 0.5, 0.5),)
    stds: tuple[tuple[float, ...], ...] = ((0.5, 0.5, 0.5),)

    def __post_init__(self) -> None:
        check_choices(self, ModelConfigError, "preprocessing.")

    @property
    def channels(self) -> int:
        """Channels C of the pixel values of one image."""
        return 3 * len(self.means)


@dataclass(frozen=True)
class NormalizationConfig:
    """How actions and proprioception are scaled with the data set's statistics."""

    action: Scaling = Scaling.Q01_Q99
    proprio: Scaling = Scaling.Q01_Q99
    clip_actions: bool = True
    """Clip training targets to +-1 (ranges only)."""
    clip_proprio: float = 1.0
    """Clip the scaled proprioception to +- this."""
    zero_range_to_zero: bool = True
    """A constant dimension becomes 0 (official inference leaves it at -1, unlike its training)."""

    def __post_init__(self) -> None:
        check_choices(self, ModelConfigError, "normalization.")


@dataclass(frozen=True)
class OutputConfig:
    """What happens to the grippers' columns after un-normalization; all off unless it is asked for.

    The official LIBERO evaluation maps 1 = open, 0 = close to -1 = open, +1 = close by binarizing and
    inverting. The one of CALVIN inverts, binarizes and inverts again: in sum it binarizes.
    """

    gripper_columns: tuple[int, ...] = (-1,)
    """-1 is the last; empty: there is no gripper."""
    gripper_binarize: bool = False
    """[0, 1] becomes -1 or +1 (0 exactly at 0.5)."""
    gripper_invert: bool = False
    """Change the sign if binarized, else g becomes 1 - g."""


@dataclass(frozen=True)
class VlaAdapterConfig:
    """Everything needed to build a VLA-Adapter and to feed it.

    `num_task_tokens`: how many of the N + Q condition tokens the head treats as gated "task"
    tokens. Official checkpoints keep 512 whatever the number of images.
    `token_order`: `official` is [first text token][patches][other text][queries], and the
    condition slices are the official ones: task = the positions 0..N-1, action = the last prompt
    token and the queries but the last. `text_first` is [text][patches][queries], and the slices
    are the patches' and the queries' own states.
    """

    name: str
    num_images: int
    action_dim: int
    proprio_dim: int
    chunk: int
    num_queries: int
    num_task_tokens: int
    token_order: TokenOrder
    projector: ProjectorKind
    prompt: PromptKind
    llm: LlmConfig
    head: HeadConfig
    preprocessing: PreprocessingConfig
    vits: tuple[VitConfig, ...] = ()
    stem: StemConfig | None = None
    projector_width: int = 0
    """Width of the first projector layer; 0 means 4 x the vision width (official)."""
    normalization: NormalizationConfig = field(default_factory=NormalizationConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    attention: Attention = Attention.SDPA
    """`eager` writes the softmax out: its backward pass is faster on a CPU."""

    @property
    def patches_per_image(self) -> int:
        """Patch tokens of one image."""
        return self.stem.tokens if self.stem else self.vits[0].tokens

    @property
    def num_patches(self) -> int:
        """Patch tokens N of all images."""
        return self.num_images * self.patches_per_image

    @property
    def vision_width(self) -> int:
        """Width of the concatenated tower features."""
        return self.stem.width if self.stem else sum(vit.width for vit in self.vits)

    @property
    def num_hidden_states(self) -> int:
        """Number of hidden states L: the embeddings (layer 0) and the output of every layer."""
        return self.llm.layers + 1

    @property
    def head_hidden_layers(self) -> tuple[int, ...]:
        """Hidden-state layer that each block of the head reads. Official: never layer 0, the embeddings."""
        return self.head.hidden_layers or tuple(range(1, self.head.blocks + 1))

    @property
    def max_prompt_tokens(self) -> int:
        """Longest prompt that fits the language model beside patches and queries."""
        return self.llm.max_positions - self.num_patches - self.num_queries

    def __post_init__(self) -> None:
        check_choices(self, ModelConfigError)
        check_sizes(self)
        _require(bool(self.vits) != bool(self.stem), "vits", self.vits, "either ViT towers or a stem")
        for name in ("num_images", "action_dim", "proprio_dim", "chunk", "num_queries", "num_task_tokens"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(
            1 <= self.head.blocks <= self.llm.layers,
            "head.blocks", self.head.blocks, f"1 to the number of language model layers, {self.llm.layers}",
        )  # fmt: skip
        _require(
            not self.head.hidden_layers
            or (len(self.head.hidden_layers) == self.head.blocks
                and all(0 <= layer <= self.llm.layers for layer in self.head.hidden_layers)),
            "head.hidden_layers", self.head.hidden_layers,
            f"empty, or one layer of 0 to {self.llm.layers} for each of the {self.head.blocks} blocks",
        )  # fmt: skip
        gate = self.head.gate
        _require(gate is None or 0 <= gate <= 1, "head.gate", gate, "null (learned) or 0 to 1")
        _require(gate is None or self.head.kind.is_bridge, "head.gate", gate, "null: this head has no gate")
        _require(
            self.head.denoising_steps >= 1, "head.denoising_steps", self.head.denoising_steps, "at least 1"
        )
        columns, width = self.output.gripper_columns, self.action_dim
        _require(
            all(-width <= column < width for column in columns),
            "output.gripper_columns", columns, f"columns from {-width} to {width - 1}",
        )  # fmt: skip
        kept = self.preprocessing.center_crop
        _require(0 < kept <= 1, "preprocessing.center_crop", kept, "above 0, at most 1")
        for name, width, heads in (
            ("llm.heads", self.llm.hidden, self.llm.heads),
            ("head.heads", self.llm.hidden, self.head.heads),
        ):
            _require(width % heads == 0, name, heads, f"a divisor of {width}")
        towers = self.vits or (self.stem,)
        sizes = {tower.image_size for tower in towers}
        _require(
            sizes == {self.preprocessing.size}, "preprocessing.size", self.preprocessing.size, f"{sizes}"
        )
        _require(
            len(self.preprocessing.means) == len(self.preprocessing.stds) == len(towers),
            "preprocessing.means", self.preprocessing.means, f"one per tower, {len(towers)}",
        )  # fmt: skip
        _require(len({t.tokens for t in towers}) == 1, "vits", self.vits, "towers with equally many patches")
        _require(self.max_prompt_tokens >= 1, "llm.max_positions", self.llm.max_positions, "more positions")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `config_from_dict` gives an equal object back."""
        return {"format": FORMAT, **dataclasses.asdict(self)}


def select_hidden_layers(layer: str | int, layers: int, blocks: int) -> tuple[int, ...]:
    """Value of `HeadConfig.hidden_layers`: every block reads the same layer, or each its own.

    Args:
        layer: `first` (layer 1), `middle` (layer layers / 2, rounded up), `last` (after the final norm),
            a number from 0 (the embeddings) to `layers`, or `all`: block i reads layer i + 1.
        layers: Layers of the language model.
        blocks: Blocks of the head.

    Raises:
        ModelConfigError: another word, or a layer that the language model does not have.
    """
    if layer == LayerChoice.ALL:
        _require(blocks <= layers, "blocks", blocks, f"1 to {layers}, one layer for each")
        return tuple(range(1, blocks + 1))
    named = {LayerChoice.FIRST: 1, LayerChoice.MIDDLE: (layers + 1) // 2, LayerChoice.LAST: layers}
    chosen = named.get(layer, -1) if isinstance(layer, str) else layer
    _require(
        type(chosen) is int and 0 <= chosen <= layers,
        "layer", layer, f"one of {LayerChoice.words()}, or a number from 0 to {layers}",
    )  # fmt: skip
    return (chosen,) * blocks


def config_from_dict(data: Any) -> VlaAdapterConfig:
    """Build a configuration from plain data, that of earlier versions included.

    Raises:
        ModelConfigError: unknown or missing key, or a value that is not allowed.
    """
    _require(isinstance(data, dict), "configuration", type(data).__name__, "a mapping")
    data = dict(data)
    version = data.pop("format", None)
    _require(version == FORMAT, "format", version, f"{FORMAT}")
    output = data.get("output")
    if isinstance(output, dict) and "gripper_column" in output:  # files from before there were several
        kept = {key: value for key, value in output.items() if key != "gripper_column"}
        data["output"] = kept | {"gripper_columns": [output["gripper_column"]]}
    for part, names in OLD_KEYS.items():
        if isinstance(stored := data.get(part), dict):
            data[part] = {names.get(key, key): value for key, value in stored.items()}
    return _build(VlaAdapterConfig, data, "configuration")


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn plain data into `kind`: a dataclass, tuple[X, ...], X | None or a scalar."""
    if dataclasses.is_dataclass(kind):
        _require(isinstance(value, dict), where, value, "a mapping")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(value) - set(hints))
        _require(not unknown, where, unknown, f"only these keys: {', '.join(hints)}")
        arguments = {key: _build(hints[key], entry, f"{where}.{key}") for key, entry in value.items()}
        try:
            return kind(**arguments)
        except TypeError as error:
            raise ModelConfigError(f"{where}: {error}") from None
    if isinstance(kind, type) and issubclass(kind, Choice):
        return kind.check(where, value, ModelConfigError)
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        inner = next(k for k in typing.get_args(kind) if k is not type(None))
        return None if value is None else _build(inner, value, where)
    if origin is tuple:
        _require(isinstance(value, (list, tuple)), where, value, "a list")
        inner = typing.get_args(kind)[0]
        return tuple(_build(inner, entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    _require(type(value) is kind, where, value, f"a value of type {kind.__name__}")
    return value


def _require(ok: bool, where: str, value: Any, allowed: str) -> None:
    if not ok:
        raise ModelConfigError(f"{where} = {short(value)}: allowed is {allowed}")
