"""Sizes and named settings of a VLA-Adapter. One set of classes serves every size.

Letters: B batch, P prompt tokens, N patch tokens of all images, Q action queries,
L hidden states (layers + 1), H chunk rows, A action width, S proprioception width.
"""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Any

from pydantic.dataclasses import dataclass

from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.config_enums import Attention, LayerChoice, ProjectorKind, PromptKind, TokenOrder
from vla_adapter_ros.model.config_parts import (
    Count,
    HeadConfig,
    LlmConfig,
    NormalizationConfig,
    OutputConfig,
    PreprocessingConfig,
    Size,
    SizeOrZero,
    StemConfig,
    VitConfig,
)
from vla_adapter_ros.model.config_rules import broken_rules
from vla_adapter_ros.settings import CHECKED, Flag, Text, join_errors, refusing
from vla_adapter_ros.untrusted import short

FORMAT = 1


@refusing(ModelConfigError, "configuration")
@dataclass(frozen=True, config=CHECKED)
class VlaAdapterConfig:
    """Everything needed to build a VLA-Adapter and to feed it.

    `num_task_tokens`: how many of the N + Q condition tokens the head treats as gated "task"
    tokens. Official checkpoints keep 512 whatever the number of images.
    `token_order`: `official` is [first text token][patches][other text][queries], and the
    condition slices are the official ones: task = the positions 0..N-1, action = the last prompt
    token and the queries but the last. `text_first` is [text][patches][queries], and the slices
    are the patches' and the queries' own states.
    """

    name: Text
    num_images: Count
    action_dim: Size
    proprio_dim: Size
    chunk: Size
    num_queries: Size
    num_task_tokens: Size
    token_order: TokenOrder
    projector: ProjectorKind
    prompt: PromptKind
    llm: LlmConfig
    head: HeadConfig
    preprocessing: PreprocessingConfig
    vits: tuple[VitConfig, ...] = ()
    stem: StemConfig | None = None
    projector_width: SizeOrZero = 0
    """Width of the first projector layer; 0 means 4 x the vision width (official)."""
    max_delay_rows: SizeOrZero = 0
    """How many rows after its image a chunk may begin: the state is then that of the first row."""
    committed_rows: Flag = False
    """Whether the network is told the rows between image and chunk, which the arm carries out anyway."""
    relative_to: tuple[int, ...] = ()
    """Of each action value the proprioception value that its rows count from, -1: none; empty: all are
    absolute, as published."""
    normalization: NormalizationConfig = field(default_factory=NormalizationConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    attention: Attention = Attention.SDPA
    """`eager` writes the softmax out: its backward pass is faster on a CPU."""

    @property
    def state_width(self) -> int:
        """Numbers that the network gets beside images and words: the state, and what is told of rows."""
        return self.proprio_dim + self.committed_rows * self.max_delay_rows * (self.action_dim + 1)

    @property
    def patches_per_image(self) -> int:
        """Patch tokens of one image."""
        return self.towers[0].tokens

    @property
    def num_patches(self) -> int:
        """Patch tokens N of all images."""
        return self.num_images * self.patches_per_image

    @property
    def vision_width(self) -> int:
        """Width of the concatenated tower features."""
        return sum(tower.width for tower in self.towers)

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

    @property
    def towers(self) -> tuple[VitConfig, ...] | tuple[StemConfig]:
        """The vision towers, or the stem alone."""
        return self.vits if self.stem is None else (self.stem,)

    def __post_init__(self) -> None:
        if broken := broken_rules(self):
            raise ModelConfigError(join_errors(broken))

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
        if blocks > layers:
            raise ModelConfigError(f"blocks = {blocks}: allowed is 1 to {layers}, one layer for each")
        return tuple(range(1, blocks + 1))
    named: dict[str | int, int] = {
        LayerChoice.FIRST: 1, LayerChoice.MIDDLE: (layers + 1) // 2, LayerChoice.LAST: layers,
    }  # fmt: skip
    chosen = named.get(layer, -1) if isinstance(layer, str) else layer
    if type(chosen) is not int or not 0 <= chosen <= layers:
        raise ModelConfigError(
            f"layer = {short(layer)}: allowed is one of {LayerChoice.words()}, or a number from 0 to {layers}"
        )
    return (chosen,) * blocks
