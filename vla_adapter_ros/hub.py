"""Downloads from the Hugging Face hub, where huggingface_hub is installed: data, and never code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.errors import VlaAdapterError

_ID = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")


def split_id(text: str) -> tuple[str, str | None] | None:
    """`owner/name` or `owner/name@revision` as name and revision; None if it is neither."""
    match = _ID.fullmatch(text)
    if match is None or ".." in (match["revision"] or ""):  # it becomes part of a path in the cache
        return None
    return match["name"], match["revision"]


def download(
    name: str,
    revision: str | None,
    *,
    kind: str,
    allowed: Sequence[str],
    ignored: Sequence[str] = (),
    error: type[VlaAdapterError] = VlaAdapterError,
) -> Path:
    """Download a repository, or what of it is not here yet; returns its folder.

    Args:
        name: `owner/name`.
        revision: Branch, tag or commit; None for the newest.
        kind: `model` or `dataset`.
        allowed, ignored: Patterns of file names.
        error: Raised if it cannot be had; says why, and how to fetch it by hand.
    """
    try:
        import huggingface_hub
    except ImportError:
        reason = "the package 'huggingface_hub' is not installed"
    else:
        try:
            folder = huggingface_hub.snapshot_download(
                name,
                repo_type=kind,
                revision=revision,
                allow_patterns=list(allowed),
                ignore_patterns=list(ignored),
            )
            return Path(folder)
        except Exception as cause:  # many kinds: no network, no such repository, no permission, a full disk
            reason = " ".join(f"{type(cause).__name__}: {cause}".split()).rstrip(".")
    at = f"@{revision}" if revision else ""
    options = " --repo-type dataset" if kind == "dataset" else ""
    options += f" --revision {revision}" if revision else ""
    raise error(
        f"no directory {name}{at}, and as a hub id it cannot be had: {reason}. "
        f"By hand, where there is a network: `hf download {name}{options} --local-dir FOLDER`, "
        "and give FOLDER"
    )
