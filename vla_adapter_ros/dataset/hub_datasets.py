"""Data sets on the Hugging Face Hub: fetched from there, and uploaded."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.card import CARD, dataset_card
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.consolidate import consolidate, has_file_per_episode
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.hub import download, split_id
from vla_adapter_ros.paths import expand, locate
from vla_adapter_ros.untrusted import find_links, leaves

_FETCHED = ("*.json", "*.jsonl", "*.parquet", "*.mp4", "*.yaml", "*.md")
_LEFT_AT_HOME = ("*.tmp", "**/*.tmp", "images/**", ".cache/**")


def find_dataset(path_or_id: str | Path) -> Path:
    """The folder of a data set; `owner/name` or `owner/name@revision` on the Hub is downloaded first.

    A folder of that name wins; what is neither is returned as it is, for the reader to refuse.

    Raises:
        DatasetError: it looks like a name on the Hub, but cannot be had from there.
    """
    found = split_id(path_or_id) if isinstance(path_or_id, str) else None
    if found is None or os.path.exists(expand(path_or_id)):
        return locate(path_or_id)
    return download(*found, kind="dataset", allowed=_FETCHED, error=DatasetError)


def push_to_hub(
    root: str | Path, repo_id: str, *, private: bool = True, file_per_episode: bool = False, api: Any = None
) -> str:
    """Upload a data set and tag it with its format, without which LeRobot does not load it.

    Where each episode has files of its own, a consolidated copy is uploaded, see `consolidate`.

    Args:
        root: A v3.0 data set that can be opened; nothing in it is changed.
        repo_id: USER/NAME on the Hub; made if it is not there.
        private: Visibility of a repository that is made.
        file_per_episode: Whether to upload the files as they are.
        api: Stands in for huggingface_hub.HfApi.

    Returns:
        Address of the repository.

    Raises:
        DatasetError: no such data set, a bad name, the package is missing, or the Hub refused.
    """
    if split_id(repo_id) != (repo_id, None):
        raise DatasetError(f"repo id {repo_id!r}: allowed is USER/NAME")
    reader = DatasetReader(root)
    for link in find_links(reader.root):
        if leaves(link, reader.root):
            raise DatasetError(f"{link} is a link out of the data set: links are not uploaded")
    if not file_per_episode and has_file_per_episode(reader):
        with tempfile.TemporaryDirectory(prefix="export-") as folder:
            joined = consolidate(reader.root, Path(folder) / reader.root.name).root
            return push_to_hub(joined, repo_id, private=private, api=api)
    if api is None:
        try:
            from huggingface_hub import HfApi
        except ImportError:
            raise DatasetError(
                "uploading needs the package huggingface_hub: pip install huggingface_hub"
            ) from None
        api = HfApi()
    try:
        address = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=str(reader.root),
            ignore_patterns=list(_LEFT_AT_HOME),
            commit_message=f"{reader.num_episodes} episodes, {reader.num_frames} frames",
        )
        if not (reader.root / CARD).is_file():
            card = dataset_card(reader).encode()
            api.upload_file(path_or_fileobj=card, path_in_repo=CARD, repo_id=repo_id, repo_type="dataset")
        _tag(api, repo_id)
    except Exception as error:  # whatever the network or the Hub says
        raise DatasetError(f"{repo_id}: the Hub refused: {error}") from error
    return str(address)


def _tag(api: Any, repo_id: str) -> None:
    """Move the tag to what was uploaded last."""
    known = {tag.name for tag in api.list_repo_refs(repo_id, repo_type="dataset").tags}
    if layout.VERSION in known:
        api.delete_tag(repo_id, tag=layout.VERSION, repo_type="dataset")
    api.create_tag(repo_id, tag=layout.VERSION, repo_type="dataset")
