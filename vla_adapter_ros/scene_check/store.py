"""Reference views in the folder of a checkpoint.

scene/CAMERA.png   what the camera always saw, RGB; the alpha channel is the share of the demonstrations
scene/scene.json   camera -> size of its images, brightness and color of the demonstrations
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.files import write_file
from vla_adapter_ros.scene_check.reference import LightRange, ReferenceView, stored_size
from vla_adapter_ros.untrusted import is_name, read_json, short

FOLDER, INDEX = "scene", "scene.json"
_OPAQUE = 255


def write_references(checkpoint: Path, references: Mapping[str, ReferenceView]) -> None:
    """Write the reference views of a checkpoint's cameras, in place of older ones.

    Args:
        checkpoint: Its folder.
        references: Camera -> what it always saw.

    Raises:
        CheckpointError: a file cannot be written.
    """
    folder = checkpoint / FOLDER
    facts = {name: _facts(reference) for name, reference in references.items()}
    pictures = {name: _encode(reference) for name, reference in references.items()}
    try:
        for old in (*folder.glob("*.png"), folder / INDEX):
            old.unlink(missing_ok=True)
        for name, picture in pictures.items():
            write_file(folder / f"{name}.png", partial(_write, picture))
        write_file(folder / INDEX, partial(_write, (json.dumps(facts, indent=2) + "\n").encode()))
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error.strerror or error}") from error


def read_references(checkpoint: Path) -> dict[str, ReferenceView]:
    """The reference views that a checkpoint holds, by camera.

    Args:
        checkpoint: Its folder.

    Returns:
        Empty for checkpoints without any, as earlier versions made them.

    Raises:
        CheckpointError: a file is missing or damaged; it says which and what is needed.
    """
    index = checkpoint / FOLDER / INDEX
    if not index.is_file():
        return {}
    try:
        facts = read_json(index)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{index} is not readable: {error}") from None
    if not isinstance(facts, Mapping) or not all(map(is_name, facts)):
        raise CheckpointError(f"{index} holds {short(facts)}: a mapping is needed, by camera")
    return {name: _read(checkpoint, name, entry) for name, entry in facts.items()}


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _facts(reference: ReferenceView) -> dict[str, Any]:
    limits = reference.light
    return {
        "size": list(reference.size),
        "brightness": [limits.darkest, limits.brightest],
        "color": [limits.low.tolist(), limits.high.tolist()],
    }


def _encode(reference: ReferenceView) -> bytes:
    alpha = np.round(reference.share * _OPAQUE).astype(np.uint8)
    good, data = cv2.imencode(".png", np.dstack([reference.image[..., ::-1], alpha]))
    assert good
    return data.tobytes()


def _read(checkpoint: Path, name: str, entry: Any) -> ReferenceView:
    index, path = checkpoint / FOLDER / INDEX, checkpoint / FOLDER / f"{name}.png"
    try:
        size = tuple(int(n) for n in entry["size"])
        darkest, brightest = map(float, entry["brightness"])
        low, high = np.array(entry["color"], dtype=np.float64).reshape(2, 3)
        if len(size) != 2 or min(size) < 1 or not (darkest <= brightest and (low <= high).all()):
            raise ValueError
        if not np.isfinite([darkest, brightest, *low, *high]).all():
            raise ValueError
    except (TypeError, ValueError, KeyError, OverflowError):
        needed = (
            "a size of 2 whole numbers, a brightness of 2 finite numbers and a color of 2 x 3, lowest first"
        )
        raise CheckpointError(f"{index}: {name} = {short(entry)}: needed is {needed}") from None
    if not path.is_file():
        raise CheckpointError(
            f"{path} is not there: {index} names it; write both anew with `vla-adapter scene`"
        )
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    width, height = stored_size(size)
    if picture is None or picture.shape != (height, width, 4) or picture.dtype != np.uint8:
        raise CheckpointError(
            f"{path} is damaged: needed is a PNG file of {width}x{height} pixels with alpha"
        )
    image = np.ascontiguousarray(picture[..., 2::-1])
    share = picture[..., 3].astype(np.float32) / _OPAQUE
    return ReferenceView(image, share, size, LightRange(darkest, brightest, low, high))
