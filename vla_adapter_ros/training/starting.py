"""Where a training starts: a checkpoint of this package or an official one, a backbone, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vla_adapter_ros.choices import Preset
from vla_adapter_ros.contract import Contract, checkpoints_folder, require_same
from vla_adapter_ros.contract.resources import named_checkpoint
from vla_adapter_ros.errors import CheckpointError, TrainingError
from vla_adapter_ros.hub import download
from vla_adapter_ros.model import Tokenizer, VlaAdapter, VlaAdapterConfig, VlaAdapterPolicy, preset
from vla_adapter_ros.model.backbones import LATEST, read_backbone
from vla_adapter_ros.model.checkpoint_files import CONFIG, find_components, read_own_config
from vla_adapter_ros.model.checkpoint_location import find_checkpoint
from vla_adapter_ros.model.tokenizer import TINY_WORDS
from vla_adapter_ros.paths import expand, locate
from vla_adapter_ros.training.cameras import with_cameras

BACKBONE = "grounded_tiny"
_EMBEDDING_STD = 0.5  # of words and queries at the start; patches come with an RMS of 1
PRISMATIC = "prismatic"
"""The published vision-language model without robot training that VLA-Adapter starts from."""
_PRISMATIC_ID = "Stanford-ILIAD/prism-qwen25-extra-dinosiglip-224px-0_5b"
_TOKENIZER_ID = "Qwen/Qwen2.5-0.5B"


@dataclass(frozen=True)
class Start:
    """Where a training starts.

    Attributes:
        init: A checkpoint (of this package, shipped by name, official, or its name on the hub), a Prismatic
            `.pt` file or run directory, an OpenVLA directory, or `prismatic`, which fetches that model and
            its tokenizer from the hub. None: from scratch if `preset` is given, else the grounded tiny
            backbone of this package.
        preset: Sizes of a published backbone (default `0.5b`), or of a model from scratch, see
            `Preset.light`.
        tokenizer: Folder with `tokenizer.json`: for a Prismatic backbone, and `0.5b` from scratch.
        platform: For an official checkpoint, see `VlaAdapterPolicy.from_pretrained`.
        changes: To single settings of a checkpoint, see `model.overrides`; None for none.
    """

    init: str | Path | None = None
    preset: str | None = None
    tokenizer: str | Path | None = None
    platform: str | None = None
    changes: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """How it is called in records: the name of its folder or file, or `scratch PRESET`."""
        if self.init is not None:
            return locate(self.init).name
        return f"scratch {self.preset}" if self.preset else BACKBONE

    @property
    def is_tiny(self) -> bool:
        """Whether it is known to be the tiny model, without reading any weights."""
        if self.init is None:
            return self.preset is None or Preset(self.preset).has_word_list
        folder = named_checkpoint(self.init) or expand(self.init)
        return os.path.isfile(own := folder / CONFIG) and bool(read_own_config(own).stem)


def open_start(
    start: Start, robot: Contract, instructions: Iterable[str], device: str | torch.device = "cpu"
) -> VlaAdapterPolicy:
    """The policy or backbone to train, in float32.

    Draws what is new from torch's global generator.

    Args:
        start: Which one.
        robot: Cameras, state and actions of the data set.
        instructions: Those of the data set: a tiny model from scratch knows their words.
        device: Where it trains.

    Raises:
        TrainingError: it does not fit the robot, or something that it needs is not named.
        ContractMismatch: the checkpoint was trained for another robot.
        CheckpointError: damaged or missing.
    """
    init, tokenizer = start.init, start.tokenizer
    if init is None and start.preset is None:
        init = checkpoints_folder() / BACKBONE
    if init is None:
        policy = _from_scratch(start.preset or "", robot, instructions, tokenizer)
        policy.network.to(device)
        return policy
    if init == PRISMATIC and not os.path.exists(expand(init)):
        init = _fetch(_PRISMATIC_ID, "config.json", LATEST.as_posix())
        tokenizer = tokenizer or _fetch(_TOKENIZER_ID, "tokenizer*.json")
    path = locate(init) if os.path.isfile(expand(init)) else find_checkpoint(init)
    if _is_policy(path):
        policy = VlaAdapterPolicy.from_pretrained(
            path, platform=start.platform, device=device, preprocessing=start.changes
        )
    elif start.changes:
        raise TrainingError(
            f"init = {str(init)!r} is a backbone: allowed to change is a checkpoint's setting"
        )
    else:
        config = _sized(start.preset or Preset.PUBLISHED_05B, robot)
        policy = read_backbone(path, config, tokenizer=tokenizer, dtype=torch.float32)
        policy.network.to(device)
    if policy.contract is not None:
        require_same(robot, policy.contract, f"checkpoint {init}")
    return with_cameras(policy, len(robot.cameras))


def _fetch(name: str, *files: str) -> Path:
    return download(name, None, kind="model", allowed=files, error=CheckpointError)


def _is_policy(path: Path) -> bool:
    """Whether a folder is a checkpoint of this package or an official one, and no published backbone."""
    if not path.is_dir() or (path / LATEST).is_file():
        return not path.exists()  # a missing one is reported as a checkpoint
    return (path / CONFIG).is_file() or bool(find_components(path))


def _from_scratch(
    name: str, robot: Contract, instructions: Iterable[str], tokenizer: str | Path | None
) -> VlaAdapterPolicy:
    if name not in Preset.light():
        raise TrainingError(f"preset = {name!r}: allowed from scratch is one of {Preset.light()}")
    if tokenizer is not None:
        config = _sized(name, robot)
        known = Tokenizer.from_folder(tokenizer, config.prompt)  # quick to refuse, before weights are drawn
        return VlaAdapterPolicy(VlaAdapter(config), config, known)
    if not Preset(name).has_word_list:
        raise TrainingError(f"preset {name!r} from scratch needs a tokenizer: name the folder of Qwen2.5's")
    known = Tokenizer.from_words((*TINY_WORDS, *instructions))
    config = _sized(name, robot, known.vocab_size)
    network = VlaAdapter(config)
    if name != Preset.TINY:
        raise_embeddings(network)
    return VlaAdapterPolicy(network, config, known)


def raise_embeddings(network: VlaAdapter) -> None:
    """Raise words and queries of an untrained network: as faint as Qwen2's start they drown in patches."""
    with torch.no_grad():
        for embedding in (network.language_model.model.embed_tokens, network.action_queries):
            embedding.weight.mul_(_EMBEDDING_STD / network.config.llm.init_std)


def _sized(name: str, robot: Contract, vocab: int | None = None) -> VlaAdapterConfig:
    return preset(
        name,
        num_images=len(robot.cameras),
        action_dim=len(robot.action_names),
        proprio_dim=len(robot.state_names),
        vocab=vocab,
    )
