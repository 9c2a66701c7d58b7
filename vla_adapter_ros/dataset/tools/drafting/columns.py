"""Which columns and cameras of a data set are state, action and images, whatever they are called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.info_json import is_numeric
from vla_adapter_ros.dataset.joint_names import tokens
from vla_adapter_ros.dataset.mapping import dimension_names
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.tools.drafting.names import is_generic
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import is_name
from vla_adapter_ros.untrusted import read_json as read_any_json

_MODALITY, _LONGEST = "meta/modality.json", 1000
_KNOWN = {*layout.KNOWN_COLUMNS} - {layout.STATE, layout.ACTION}
_ACTIONS = ("action", "actions")
_STATES = (
    "state",
    "states",
    "qpos",
    "proprio",
    "proprioception",
    "joint",
    "joints",
    "robot",
    "position",
    "positions",
)
_NO_STATE = {
    "next",
    "reward",
    "done",
    "success",
    "env",
    "environment",
    "effort",
    "qvel",
    "velocity",
    "torque",
}
_PREFIXES = (
    "observation.images.",
    "observations.images.",
    "observation.image.",
    "observation.",
    "observations.",
    "images.",
    "image.",
)


@dataclass(frozen=True)
class Source:
    """One value of the data set: a place in a column, and what it is called there.

    Attributes:
        column: Their feature.
        place: Its place in it.
        width: How many values the column has.
        name: In the contract; unique among the values of the same kind.
        known: Whether the data names it.
    """

    column: str
    place: int
    width: int
    name: str
    known: bool = True

    @property
    def text(self) -> str:
        """As a mapping says it."""
        return self.column if self.width == 1 else f"{self.column}[{self.place}]"


@dataclass(frozen=True)
class Columns:
    """State and action of a whole data set, as the data has them.

    Attributes:
        state, action: Sources, (S,) and (A,).
        states, actions: Episodes, float64 (T, S) and (T, A).
        remarks: What was guessed about the columns.
    """

    state: tuple[Source, ...]
    action: tuple[Source, ...]
    states: list[np.ndarray]
    actions: list[np.ndarray]
    remarks: list[str] = field(default_factory=list)

    @property
    def as_usual(self) -> bool:
        """Whether both stand whole in the columns that every reader looks into."""
        usual = ((self.state, layout.STATE), (self.action, layout.ACTION))
        return all({source.column for source in sources} == {name} for sources, name in usual)


def find_columns(dataset: Dataset, state: Sequence[str] = (), action: Sequence[str] = ()) -> Columns:
    """Find and read state and action.

    Args:
        dataset: Opened without a mapping.
        state, action: Their columns, where the guess is wrong.

    Raises:
        DatasetError: there are none, or several that may be meant.
    """
    features, remarks = dataset.features, list[str]()
    numbers = [n for n, f in features.items() if is_numeric(f) and n not in _KNOWN]
    found: dict[str, tuple[str, ...]] = {}
    for what, given, usual, words in (
        ("action", action, layout.ACTION, _ACTIONS), ("state", state, layout.STATE, _STATES),
    ):  # fmt: skip
        if unknown := [name for name in given if name not in numbers]:
            raise DatasetError(
                f"{dataset.root}: --{what} {unknown}: allowed are its columns of numbers {numbers}"
            )
        taken = found.get("action", ())
        free = [name for name in numbers if name not in taken]
        found[what] = tuple(given) or _guess(free, usual, words)
        if not found[what]:
            raise DatasetError(
                f"{dataset.root}: no column for the {what}: it has {numbers or 'no columns of numbers'}; "
                f"say which with --{what} COLUMN"
            )
        if found[what] != (usual,):
            remarks.append(f"{what} is taken from {', '.join(found[what])}")
    parts = [dataset.rows(episode.index) for episode in dataset.episodes]
    if not parts:
        raise DatasetError(f"{dataset.root} has no episodes: nothing can be drafted from it")
    read = {}
    for what, names in found.items():
        for name in names:
            if any(name not in rows or rows[name].dtype.kind not in "iufb" for rows in parts):
                raise DatasetError(
                    f"{dataset.root}: column {name} holds no plain numbers: allowed is --{what} COLUMN"
                )
        read[what] = [
            np.hstack([rows[name].reshape(len(rows["index"]), -1).astype(np.float64) for name in names])
            for rows in parts
        ]
    parts_of = _body_parts(dataset.root)
    sources = {what: _sources(names, features, what, parts_of.get(what, {})) for what, names in found.items()}
    return Columns(sources["state"], sources["action"], read["state"], read["action"], remarks)


def _guess(columns: list[str], usual: str, words: Sequence[str]) -> tuple[str, ...]:
    """The usual column; else those whose names have one of the words, the earlier word first."""
    if usual in columns:
        return (usual,)
    state = words is _STATES
    wanted = [c for c in columns if not state or not ({*tokens(c)} & {*_NO_STATE, *_ACTIONS})]
    for word in words:
        exact = [c for c in wanted if c.rpartition(".")[2].lower() == word]
        if exact:
            return (exact[0],) if len(exact) == 1 or not state else tuple(exact)
        inside = [c for c in wanted if word in tokens(c)]
        if inside:  # such as observation.state.joints and observation.state.gripper
            roots = {c.rpartition(".")[0] for c in inside}
            together = [c for c in wanted if c in inside or (state and c.rpartition(".")[0] in roots - {""})]
            return tuple(together)
    return ()


def _body_parts(root: Path) -> dict[str, dict[int, str]]:
    """State and action -> place -> name, from the ranges in the file that GR00T adds; empty without it."""
    try:
        ranges = read_any_json(root / _MODALITY)
        return {
            what: {
                place: f"{part}_{place - entry['start']}"
                for part, entry in ranges[what].items()
                for place in range(entry["start"], min(entry["end"], entry["start"] + _LONGEST))
            }
            for what in ("state", "action")
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _sources(
    columns: Sequence[str], features: layout.Features, what: str, parts: Mapping[int, str]
) -> tuple[Source, ...]:
    """Sources of all values; names that say nothing but a number give way to those of `parts`."""
    sources: list[Source] = []
    for column in columns:
        width = math.prod(features[column]["shape"])
        names = dimension_names(features[column])
        if names is not None and (len(set(names)) != width or not all(name.strip() for name in names)):
            names = None
        if width == 1 and names == (column,):
            names = None
        if parts and len(columns) == 1 and (names is None or all(is_generic(name) for name in names)):
            names = tuple(parts.get(place, f"{what}_{place}") for place in range(width))
            names = names if len(set(names)) == width else None
        short = column.rpartition(".")[2]
        for place in range(width):
            prefix = short if len(columns) > 1 else what
            alone = width == 1 and len(columns) > 1
            own = names[place] if names is not None else short if alone else f"{prefix}_{place}"
            sources.append(Source(column, place, width, own, names is not None or alone))
    counts: dict[str, int] = {}
    for source in sources:
        counts[source.name] = counts.get(source.name, 0) + 1
    return tuple(
        source if counts[source.name] == 1 else Source(
            source.column, source.place, source.width, f"{source.column}.{source.name}", source.known
        )
        for source in sources
    )  # fmt: skip


def camera_names(cameras: Sequence[str], usual: Sequence[str]) -> dict[str, str]:
    """Name in the contract -> camera of the data set.

    Args:
        cameras: Those of the data set, as a reader gives them.
        usual: Those among them that are under `observation.images.`.
    """
    found: dict[str, str] = {}
    for camera in cameras:
        short = camera
        if camera not in usual:
            short = next((camera[len(p) :] for p in _PREFIXES if camera.startswith(p)), camera) or camera
        if not is_name(short) or short in found:
            short = camera.replace(".", "_")
        found[short] = camera
    return found
