"""Closed sets of words of a model's configuration."""

from __future__ import annotations

from vla_adapter_ros.choices import Choice


class TokenOrder(Choice):
    """Order of prompt, patches and queries in the language model's input, see `VlaAdapterConfig`."""

    OFFICIAL = "official"
    TEXT_FIRST = "text_first"


class LlmKind(Choice):
    """Families of language models."""

    QWEN2 = "qwen2"
    LLAMA = "llama"


class ConditionGroups(Choice):
    """Groups of hidden states that the head reads, see `HeadConfig`."""

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
