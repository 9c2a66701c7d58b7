"""Whether the parts of a policy belong together."""

from __future__ import annotations

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import CheckpointError, StatisticsError
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.normalization import Statistics
from vla_adapter_ros.model.tokenizer import Tokenizer


def check_parts(
    config: VlaAdapterConfig, tokenizer: Tokenizer, statistics: Statistics | None, contract: Contract | None
) -> None:
    """Refuse parts that do not belong to one model.

    Raises:
        CheckpointError: a tokenizer of another prompt or with more words, or a contract of other widths.
        StatisticsError: statistics of another width.
    """
    if tokenizer.prompt != config.prompt:
        raise CheckpointError(f"tokenizer for prompt {tokenizer.prompt!r}, model for {config.prompt!r}")
    if tokenizer.vocab_size > config.llm.vocab_size:
        raise CheckpointError(
            f"tokenizer with {tokenizer.vocab_size} ids, model with {config.llm.vocab_size} embeddings"
        )
    if statistics is not None:
        for name, field, width in (
            ("action", statistics.action, config.action_dim),
            ("proprio", statistics.proprio, config.proprio_dim),
        ):
            if field.width != width:
                raise StatisticsError(f"statistics of {name} are {field.width} wide, the model's {width}")
    if contract is not None:
        for name, names, width in (
            ("cameras", contract.camera_names, config.num_images),
            ("action", contract.action_names, config.action_dim),
            ("state", contract.state_names, config.proprio_dim),
        ):
            if len(names) != width:
                raise CheckpointError(
                    f"contract '{contract.name}' has {len(names)} values in {name}, the model {width}"
                )
