"""What the JSON files of an RLDS data set say: its files, and what a step of an episode consists of."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.dataset.layout import image_key
from vla_adapter_ros.dataset.tables import read_json
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import short

INFO, FEATURES = "dataset_info.json", "features.json"
_STEPS = "steps"
_PLAIN = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "bool")


@dataclass(frozen=True)
class Leaf:
    """One value of a step.

    Attributes:
        key: In the records, such as `steps/observation/state`.
        name: As a feature of a data set, such as `observation.state`.
        kind: `numbers`, `text`, `image` or `other`, which cannot be read.
        dtype: Of numbers.
        shape: Of one step.
        encoding: Of numbers: none, bytes or zlib.
    """

    key: str
    name: str
    kind: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    encoding: str = "none"

    @property
    def feature(self) -> dict[str, Any]:
        """As info.json of a LeRobot data set would declare it."""
        dtype = {"numbers": self.dtype, "text": "string"}.get(self.kind, self.kind)
        return {"dtype": dtype, "shape": list(self.shape) or [1], "names": None}

    def values(self, stored: Any) -> np.ndarray:
        """Values of all steps, (T, D), or (T,) for width 1, of what a record holds.

        Raises:
            DatasetError: there are not whole steps of them.
        """
        if self.kind == "text":
            return np.array([bytes(text).decode("utf-8", "replace") for text in stored], dtype=object)
        width = math.prod(self.shape)
        if self.encoding == "none":
            flat = np.array(stored, dtype=self.dtype)
        else:
            parts = [zlib.decompress(part) if self.encoding == "zlib" else part for part in stored]
            flat = np.frombuffer(b"".join(parts), dtype=self.dtype)
        if width == 0 or len(flat) % width:
            raise DatasetError(f"{self.key} holds {len(flat)} values: allowed are {width} for each step")
        return flat if width == 1 else flat.reshape(-1, width)


def is_rlds(path: Path) -> bool:
    """Whether a folder is an RLDS data set, or holds its versions."""
    try:
        return path.is_dir() and bool(_versions(path))
    except OSError:
        return False


def find_rlds(path: Path) -> Path:
    """The folder with the files of an RLDS data set: `path`, or the only version in it.

    Raises:
        DatasetError: there is none, or several.
    """
    versions = _versions(path) if path.is_dir() else []
    if len(versions) != 1:
        found = f"it has the versions {[v.name for v in versions]}: name one" if versions else "it has none"
        raise DatasetError(f"{path}: allowed is a folder with {INFO} and {FEATURES}, as RLDS has it: {found}")
    return versions[0]


def _versions(path: Path) -> list[Path]:
    places = [path, *sorted(inside for inside in path.iterdir() if inside.is_dir())]
    found = [place for place in places if (place / INFO).is_file() and (place / FEATURES).is_file()]
    return found[:1] if path in found else found


def shard_files(root: Path, split: str) -> list[Path]:
    """Files of a split, in order.

    Raises:
        DatasetError: no such split, a file is missing, or they are no TFRecord files.
    """
    info = read_json(root / INFO)
    splits = {s.get("name"): s for s in info.get("splits", []) if isinstance(s, dict)}
    if split not in splits:
        raise DatasetError(f"{root}: split {split!r}: allowed are {sorted(map(str, splits))}")
    if (kind := info.get("fileFormat", "tfrecord")) != "tfrecord":
        raise DatasetError(
            f"{root}: its files are {short(kind)}: allowed is tfrecord; `tfds convert_format "
            "--out_file_format=tfrecord` of TensorFlow Datasets makes them"
        )
    count = len(splits[split].get("shardLengths", []))
    found = sorted(root.glob(f"*-{split}.tfrecord-*-of-{count:05d}"))
    if not count or len(found) != count:
        raise DatasetError(f"{root}: {len(found)} of the {count} files of split {split!r} are there")
    return found


def read_leaves(root: Path) -> dict[str, Leaf]:
    """Every value of a step, by its name as a feature.

    Raises:
        DatasetError: the file cannot be read, or describes no episodes of steps.
    """
    path = root / FEATURES
    try:
        steps = read_json(path)["featuresDict"]["features"][_STEPS]["sequence"]["feature"]
        leaves = {leaf.name: leaf for leaf in _walk(steps, (_STEPS,))}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DatasetError(f"{path} describes no episodes of steps, as RLDS has them") from None
    if not any(leaf.kind == "numbers" for leaf in leaves.values()):
        raise DatasetError(f"{path}: its steps hold no numbers")
    return leaves


def _walk(node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Leaf]:
    if "featuresDict" in node:
        for name, inside in node["featuresDict"]["features"].items():
            yield from _walk(inside, (*path, name))
        return
    key, name = "/".join(path), ".".join(path[1:])
    shape = tuple(int(n) for n in _entry(node).get("shape", {}).get("dimensions", ()))
    dtype = str(_entry(node).get("dtype", ""))
    if "text" in node:
        yield Leaf(key, name, "text")
    elif "image" in node and dtype == "uint8" and shape[-1:] == (3,) and min(shape) > 0:
        yield Leaf(key, image_key(path[-1]), "image", shape=shape)
    elif "tensor" in node and dtype in _PLAIN and all(n > 0 for n in shape):
        yield Leaf(key, name, "numbers", dtype, shape, str(node["tensor"].get("encoding", "none")))
    else:
        yield Leaf(key, name, "other", shape=shape)


def _entry(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a node says of its kind."""
    kinds = [value for key, value in node.items() if key in ("tensor", "image", "text")]
    return kinds[0] if kinds else {}
