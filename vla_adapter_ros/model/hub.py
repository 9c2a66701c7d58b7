"""Find a checkpoint: a directory, or a repository on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from vla_adapter_ros.errors import CheckpointError

ALLOWED = ("*.json", "*.txt", "*.safetensors", "*.pt", "*.yaml")
"""What is downloaded: data, and never code."""
IGNORED = ("lora_adapter/*", "*.py")
_ID = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")


def find_checkpoint(path_or_id: str | Path) -> Path:
    """The directory of a checkpoint, downloaded first if need be.

    Args:
        path_or_id: A directory, or `owner/name` or `owner/name@revision` on the hub. A directory of
            that name wins.

    Raises:
        CheckpointError: neither a directory nor a repository that can be had.
    """
    folder = Path(path_or_id)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{folder} is a file: the directory of a checkpoint is needed")
    match = _ID.fullmatch(path_or_id) if isinstance(path_or_id, str) else None
    if match is None:
        raise CheckpointError(
            f"no checkpoint directory at {path_or_id}; give a directory or a hub id `owner/name[@revision]`"
        )
    return _download(match["name"], match["revision"])


def _download(name: str, revision: str | None) -> Path:
    at = f"@{revision}" if revision else ""
    try:
        import huggingface_hub
    except ImportError:
        reason = "the package 'huggingface_hub' is not installed"
    else:
        try:
            return Path(
                huggingface_hub.snapshot_download(
                    name, revision=revision, allow_patterns=list(ALLOWED), ignore_patterns=list(IGNORED)
                )
            )
        except Exception as error:  # many kinds: no network, no such repository, no permission, a full disk
            reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
    option = f" --revision {revision}" if revision else ""
    raise CheckpointError(
        f"no checkpoint directory at {name}{at}, and as a hub id it cannot be had: {reason}. "
        f"By hand, where there is a network: `hf download {name}{option} --local-dir FOLDER`, and give FOLDER"
    )
