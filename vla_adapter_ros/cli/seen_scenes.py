"""Which scenes a data set of demonstrations shows, so that none comes twice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import read_json

FIRST_SCENE = 10_000
SCENES = "meta/scenes.json"  # in the data set: the seed after the last scene that it shows


@dataclass(frozen=True)
class RecordingResult:
    """What a recording session gave."""

    episodes: int
    discarded: int
    seconds: float


def first_scene(dataset: Path, seed: int | None) -> int:
    """The seed at which recording begins: the one asked for, else the first that is new to the data set.

    Raises:
        DatasetError: the scenes from `seed` on are in the data set, or, without one, which they are is not
            known.
    """
    if not (dataset / "meta" / "info.json").is_file():
        return FIRST_SCENE if seed is None else seed
    try:
        free = int(read_json(dataset / SCENES)["next_seed"])
    except FileNotFoundError:
        if seed is None:
            raise DatasetError(
                f"{dataset} is there already and does not say which scenes it shows: name one that is new to "
                "it with --seed, or another --dataset"
            ) from None
        return seed
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{dataset / SCENES} cannot be read: {error}") from error
    if seed is not None and seed < free:
        raise DatasetError(
            f"--seed {seed}: {dataset} may show the scenes from there on already; the next free one is {free}"
        )
    return free if seed is None else seed


def note_scene(dataset: Path, seed: int) -> None:
    """Write into the data set that it shows the scenes up to this one."""
    (dataset / SCENES).write_text(json.dumps({"next_seed": seed + 1}) + "\n")
