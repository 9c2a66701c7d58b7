"""Images that lie in the data files of a data set as PNG or JPEG, or in files that the data files name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.dataset.tables import not_readable
from vla_adapter_ros.errors import DatasetError, ImageError
from vla_adapter_ros.observation.image_headers import picture_header
from vla_adapter_ros.observation.images import decode_picture
from vla_adapter_ros.untrusted import leaves


def stored_images(
    root: Path, data: Path, key: str, episode: int, rows: range, *, alone: bool
) -> Iterator[np.ndarray]:
    """Decode images of an episode one by one: uint8 (H, W, 3) RGB.

    Args:
        root: Folder of the data set; files that cells name are looked for there.
        data: File with the episode's rows.
        key: Feature of the camera.
        episode: Number of the episode in the file.
        rows: Of which rows.
        alone: Whether the file holds no other episode.

    Raises:
        DatasetError: the file cannot be read, or a cell holds no image of colors.
    """
    wanted = None if alone else [("episode_index", "=", episode)]
    try:
        cells = pq.read_table(data, columns=[key], filters=wanted)[key]
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise DatasetError(not_readable(data, error)) from error
    for row in rows:
        picture = _picture(cells[row].as_py() if row < len(cells) else None, root)
        try:
            header = picture_header(picture)
            if header.gray and header.bits > 8:
                raise ImageError(f"gray {header.kind} of {header.bits} bits is depth, not color")
            yield decode_picture(picture)
        except ImageError as error:
            raise DatasetError(f"{data}: row {row} of {key}, episode {episode}: {error}") from error


def _picture(cell: Any, root: Path) -> bytes:
    """The picture of a cell: its own bytes, or those of a file of the data set; else empty."""
    data, name = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if isinstance(data, bytes):
        return data
    path = root / name if isinstance(name, str) else None
    if path is None or leaves(path, root):
        return b""
    try:
        return path.read_bytes()
    except (OSError, ValueError):
        return b""
