"""Find a checkpoint: a directory, one that ships, or a repository on the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path

from vla_adapter_ros.contract.resources import named_checkpoint
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.hub import download, split_id
from vla_adapter_ros.paths import locate

ALLOWED = ("*.json", "*.txt", "*.safetensors", "*.pt", "*.yaml", "*.png")
"""What is downloaded: data, and never code."""
IGNORED = ("lora_adapter/*", "*.py")


def find_checkpoint(path_or_id: str | Path) -> Path:
    """The directory of a checkpoint, downloaded first if need be.

    Args:
        path_or_id: A directory, the name of a shipped checkpoint, or `owner/name` or `owner/name@revision`
            on the hub. A directory of that name wins.

    Raises:
        CheckpointError: neither a directory nor a repository that can be had.
    """
    if (shipped := named_checkpoint(path_or_id)) is not None:
        return shipped
    folder = locate(path_or_id)
    if os.path.isdir(folder):
        return folder
    if os.path.exists(folder):
        raise CheckpointError(f"{folder} is a file: the directory of a checkpoint is needed")
    found = split_id(path_or_id) if isinstance(path_or_id, str) else None
    if found is None:
        raise CheckpointError(
            f"no checkpoint directory at {path_or_id}; give a directory or a hub id `owner/name[@revision]`"
        )
    return download(*found, kind="model", allowed=ALLOWED, ignored=IGNORED, error=CheckpointError)
