"""A small official checkpoint with random weights, for tests that need no reference data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, pre_tokenizers

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.contract.schema import TOOL_COLUMNS, ActionDimension, Kinematics
from vla_adapter_ros.model import (
    Statistics,
    Tokenizer,
    VlaAdapter,
    VlaAdapterConfig,
    VlaAdapterPolicy,
    preset,
)
from vla_adapter_ros.model.config import LlmConfig
from vla_adapter_ros.model.official import SIGLIP_MLP_RATIO

WORDS = ("<|endoftext|>", "<unk>", "What", "action", "should", "the", "robot", "take", "to", "lift", "it?")


def official_config(head: str = "pro") -> VlaAdapterConfig:
    """The published configuration with narrow layers and LIBERO's constants."""
    full = preset("0.5b", action_dim=7, proprio_dim=8, head=head)
    dino, siglip = full.vits
    return dataclasses.replace(
        full,
        head=dataclasses.replace(full.head, rope_tables="match"),
        llm=LlmConfig(hidden=16, intermediate=24, layers=24, heads=2, kv_heads=1, vocab_size=len(WORDS)),
        vits=(
            dataclasses.replace(dino, width=16, depth=2, heads=2, mlp_width=64),
            dataclasses.replace(siglip, width=16, depth=2, heads=2, mlp_width=int(SIGLIP_MLP_RATIO * 16)),
        ),
    )


def vector(width: int, low: float = -1.0, high: float = 1.0) -> dict[str, list[float]]:
    """Statistics of a vector whose dimensions are all alike."""
    numbers = {"min": low, "q01": low, "max": high, "q99": high, "mean": (low + high) / 2, "std": 0.5}
    return {name: [number] * width for name, number in numbers.items()}


def official_policy(head: str = "pro", seed: int = 0) -> VlaAdapterPolicy:
    """A policy of that configuration, weights rounded to bf16."""
    torch.manual_seed(seed)
    config = official_config(head)
    network = VlaAdapter(config).bfloat16().float().eval()
    raw = RawTokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    action = vector(7, 0.0, 1.0) | {"mask": [True] * 6 + [False]}
    entry = {"action": action, "proprio": vector(8), "num_transitions": 10, "num_trajectories": 2}
    statistics = Statistics.from_dict("drawer", entry)
    return VlaAdapterPolicy(network, config, Tokenizer(raw, "qwen_chat"), statistics)


def write_official(folder: Path, head: str = "pro") -> Path:
    """Write it as the published code would have: without the files of this package."""
    official_policy(head).save_pretrained(folder, dtype=torch.bfloat16)
    (folder / "vla_adapter.json").unlink()
    return folder


def fitting_contract(rate_hz: float = 20.0) -> Contract:
    """The shipped arm, moved by changes of its tool: seven actions and eight states."""
    full = read_contract("franka_sim")
    units = dict(zip(TOOL_COLUMNS, ("m",) * 3 + ("rad",) * 3, strict=True))
    dimensions = [ActionDimension(name, unit) for name, unit in units.items()]
    action = dataclasses.replace(
        full.action, space="ee_delta", dimensions=(*dimensions, full.action.dimensions[-1])
    )
    return dataclasses.replace(
        full, name="seven", rate_hz=rate_hz, state=full.state[:8], action=action,
        kinematics=Kinematics("robot_description", "base", "fr3_hand_tcp"),
    )  # fmt: skip
