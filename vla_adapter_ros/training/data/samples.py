"""Recorded data sets as training samples: images, state, the next actions, the instruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.layout import ACTION, STATE
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.quality.value_ranges import HARDLY_MOVES
from vla_adapter_ros.dataset.start_pose import StartPose, start_pose
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import Statistics
from vla_adapter_ros.training.data.data_sources import OpenSource
from vla_adapter_ros.training.data.image_store import ImageStore
from vla_adapter_ros.training.data.row_weights import RowWeights, weigh_rows


@dataclass(frozen=True)
class Rows:
    """Rows of data sets, one set after the other, without their images. N rows, S state, A action values.

    Attributes:
        state: Proprioception in the robot's units, float64 (N, S).
        action: Commands in the robot's units, float64 (N, A).
        episode: Episode of each row, counted over all data sets, int64 (N,).
        dataset: Data set of each row, int64 (N,).
        task: Index into `tasks` of each row, int64 (N,).
        first, last: First and last row of the episode of each row, int64 (N,).
        until: Last row up to which the commands belong together: the end of the episode, or the last row
            before someone takes over who is learned from where the one before was not, or the other way
            round, int64 (N,).
        waypoint: Row at which a gripper that is open at the start first closes in the episode, int64 (N,);
            -1 if none ever does, or one has done so before.
        weight: How often a row is drawn, relative to others, float64 (N,); 0: it is not learned from.
        tasks: Instructions, each once.
        names: Of the data sets.
        contract: Of the robot.
    """

    state: np.ndarray
    action: np.ndarray
    episode: np.ndarray
    dataset: np.ndarray
    task: np.ndarray
    first: np.ndarray
    last: np.ndarray
    until: np.ndarray
    waypoint: np.ndarray
    weight: np.ndarray
    tasks: tuple[str, ...]
    names: tuple[str, ...]
    contract: Contract

    @property
    def usable(self) -> np.ndarray:
        """Whether each row may be learned from, bool (N,)."""
        return self.weight > 0

    def chunks(self, rows: np.ndarray, horizon: int) -> np.ndarray:
        """Actions of rows (B,) and of those after them: float64 (B, H, A).

        Past the end (`until`) the last action is repeated.
        """
        ahead = rows[:, None] + np.arange(horizon)
        return self.action[np.minimum(ahead, self.until[rows][:, None])]

    def inside(self, rows: np.ndarray, horizon: int) -> np.ndarray:
        """Which chunk rows of rows (B,) were recorded, not repeated: bool (B, H)."""
        return rows[:, None] + np.arange(horizon) <= self.until[rows][:, None]


@dataclass(frozen=True)
class Samples(Rows):
    """Rows and their images."""

    images: ImageStore

    @classmethod
    def join(cls, rows: Rows, images: ImageStore) -> Samples:
        """Rows with the images of the same data sets."""
        return cls(**{name: getattr(rows, name) for name in Rows.__dataclass_fields__}, images=images)


def load_samples(
    data: Dataset | Sequence[OpenSource],
    contract: Contract,
    resize: Callable[[np.ndarray], np.ndarray],
    size: int,
    *,
    crop: float = 1.0,
    limit: int | None = None,
    weights: RowWeights | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """Read data sets.

    Args:
        data: A data set, or several as `open_sources` returns them.
        contract: Its robot: cameras, widths and rate must be those of the data set.
        resize: Camera images to the model's size, see `ImageStore`.
        size: The model's image size [px].
        crop, limit: See `ImageStore`.
        weights: How often rows are drawn; None: those led by a human, each equally often.
        progress: Called with (episodes done, episodes).

    Raises:
        TrainingError: a data set is empty, holds nothing to learn from, or does not fit the contract.
        DatasetError: it is damaged.
    """
    sources = _as_sources(data)
    rows = read_rows(sources, contract, weights)
    images = ImageStore(
        [source.data for source in sources], contract.camera_names, resize, size, crop=crop, limit=limit,
        progress=progress,
    )  # fmt: skip
    return Samples.join(rows, images)


def read_rows(
    data: Dataset | Sequence[OpenSource],
    contract: Contract,
    weights: RowWeights | None = None,
) -> Rows:
    """Read the tables of data sets; arguments and errors as of `load_samples`."""
    sources, weights = _as_sources(data), weights or RowWeights()
    parts: list[dict[str, np.ndarray]] = []
    tasks: dict[str, int] = {}
    episodes, start = 0, 0
    for number, source in enumerate(sources):
        require_fit(source.data, contract)
        part = _read_source(source, contract, weights, tasks)
        for name in ("first", "last", "until"):
            part[name] += start
        part["waypoint"][part["waypoint"] >= 0] += start
        part["episode"] += episodes
        part["dataset"] = np.full(len(part["state"]), number)
        parts.append(part)
        start, episodes = start + source.data.num_frames, episodes + source.data.num_episodes
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Rows(**joined, tasks=tuple(tasks), names=tuple(s.name for s in sources), contract=contract)


def compute_statistics(
    name: str,
    samples: Rows,
    contract: Contract,
    rows: np.ndarray | None = None,
    scale_grippers: bool = True,
) -> Statistics:
    """Exact statistics of state and action, as checkpoints store them. Weights of rows do not count.

    A binary gripper gets its open and closed values as range: in a data set in which it closes
    in less than one row of a hundred, quantiles would take closing for noise. The range of a value
    that hardly moves is widened to HARDLY_MOVES, else its noise would be scaled up to a motion.

    Grippers that are not scaled go from 0 to 1. Where that is what the contract says of open and closed,
    their mask is False, as in published checkpoints; otherwise they get ranges and moments that map them so.

    Args:
        name: Of the entry in the checkpoint.
        samples: The data sets.
        contract: Their robot.
        rows: Rows that count, int64 (R,); None: all.
        scale_grippers: Whether grippers go from -1 to 1 like the other values.
    """
    rows = np.arange(len(samples.state)) if rows is None else rows

    def field(values: np.ndarray) -> dict[str, Any]:
        q01, q99 = np.quantile(values, [0.01, 0.99], axis=0)
        lowest, highest = values.min(axis=0), values.max(axis=0)
        still = (lowest < highest) & (highest - lowest < HARDLY_MOVES)
        q01, q99 = np.where(still, _around(q01, q99), (q01, q99))
        lowest, highest = np.minimum(lowest, q01), np.maximum(highest, q99)
        mean, std = values.mean(axis=0), values.std(axis=0)
        std = np.where(still, np.maximum(std, HARDLY_MOVES / 2), std)
        return {"mean": mean, "std": std, "min": lowest, "max": highest, "q01": q01, "q99": q99}

    action = field(samples.action[rows])
    for at, gripper in zip(contract.gripper_places, contract.grippers, strict=True):
        if gripper.mode == "binary":
            action["q01"][at], action["q99"][at] = sorted((gripper.open, gripper.closed))
    if not scale_grippers:
        _keep_grippers(action, contract)
    entry = {
        "action": action,
        "proprio": field(samples.state[rows]),
        "num_transitions": len(rows),
        "num_trajectories": len(np.unique(samples.episode[rows])),
    }
    return Statistics.from_dict(name, entry)


def _keep_grippers(action: dict[str, Any], contract: Contract) -> None:
    """Change statistics of the action (A,) so that grippers go from 0 to 1."""
    action["mask"] = [True] * len(action["mean"])
    for at, gripper in zip(contract.gripper_places, contract.grippers, strict=True):
        low, high = sorted((gripper.open, gripper.closed))
        if (low, high) == (0.0, 1.0):
            action["mask"][at] = False
            continue
        for lowest, highest in (("q01", "q99"), ("min", "max")):  # -1 is as far below closed as open is above
            action[lowest][at], action[highest][at] = 2 * low - high, high
        action["mean"][at], action["std"][at] = low, high - low


def training_start_pose(samples: Rows, rows: np.ndarray) -> StartPose:
    """Range and median of the state in the first frames of the episodes that rows (R,) are from."""
    first = np.unique(samples.first[rows])
    return start_pose(samples.state[first], samples.contract.state_names)


def _around(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranges of width HARDLY_MOVES with the same middles."""
    middle = (low + high) / 2
    return middle - HARDLY_MOVES / 2, middle + HARDLY_MOVES / 2


def is_closed(action: np.ndarray, contract: Contract) -> np.ndarray:
    """Whether each command (N, A) closes each gripper, bool (N, G)."""
    values = action[:, contract.gripper_places]
    opened, closed = (np.array([getattr(g, at) for g in contract.grippers]) for at in ("open", "closed"))
    return np.abs(values - closed) < np.abs(values - opened)


def require_fit(data: Dataset, contract: Contract) -> None:
    """Refuse a data set that is empty, or has not the rate, cameras and widths of the contract.

    Raises:
        TrainingError: says which.
    """
    if data.num_frames == 0:
        raise TrainingError(f"{data.root} is empty: record demonstrations first")
    if data.fps != contract.rate_hz:
        raise TrainingError(f"{data.root}: {data.fps} Hz, the contract says {contract.rate_hz} Hz")
    lacking = [name for name in contract.camera_names if name not in data.cameras]
    if lacking:
        raise TrainingError(f"{data.root} lacks the cameras {lacking}; it has {list(data.cameras)}")
    for name, wanted in ((STATE, contract.state_names), (ACTION, contract.action_names)):
        shape = data.features.get(name, {}).get("shape")
        if list(shape or ()) != [len(wanted)]:
            raise TrainingError(f"{data.root}: {name} has shape {shape}, the contract {len(wanted)} values")


def _as_sources(data: Dataset | Sequence[OpenSource]) -> Sequence[OpenSource]:
    return data if isinstance(data, Sequence) else (OpenSource(data.root.resolve().name, data),)


def _read_source(
    source: OpenSource, contract: Contract, weights: RowWeights, tasks: dict[str, int]
) -> dict[str, np.ndarray]:
    """Columns of one data set, rows counted from 0; new instructions are added to `tasks`."""
    data = source.data
    episodes = [data.rows(number) for number in range(data.num_episodes)]
    shared = [name for name in episodes[0] if all(name in rows for rows in episodes)]
    joined = {name: np.concatenate([rows[name] for rows in episodes]) for name in shared}
    count = data.num_frames
    state = joined[STATE].astype(np.float64).reshape(count, -1)
    action = joined[ACTION].astype(np.float64).reshape(count, -1)
    _require_finite(data, state, action)
    weight = weigh_rows(data, joined, weights) * source.weight
    first, last, until = (np.empty(count, np.int64) for _ in range(3))
    waypoint = np.full(count, -1)
    closed = is_closed(action, contract)
    for episode in data.episodes:
        rows = slice(episode.first_row, episode.first_row + episode.length)
        first[rows], last[rows] = rows.start, rows.stop - 1
        until[rows] = rows.start + _run_ends(weight[rows] > 0)
        opened = ~closed[rows.start]  # a hand that is closed from the start, as one that rests, tells nothing
        closing = np.flatnonzero(closed[rows][:, opened].any(axis=1))
        if len(closing):
            waypoint[rows.start : rows.start + closing[0]] = rows.start + closing[0]
    index = joined["task_index"].astype(np.int64)
    if index.min() < 0 or index.max() >= len(data.tasks):
        raise TrainingError(
            f"{data.root}: task_index {index.min()} to {index.max()}: it has {len(data.tasks)} tasks"
        )
    numbers = np.array([tasks.setdefault(task, len(tasks)) for task in data.tasks])
    return {
        "state": state,
        "action": action,
        "episode": joined["episode_index"].astype(np.int64),
        "task": numbers[index],
        "first": first,
        "last": last,
        "until": until,
        "waypoint": waypoint,
        "weight": weight,
    }


def _run_ends(values: np.ndarray) -> np.ndarray:
    """Last place of the run of equal values that each place belongs to: int64 (T,)."""
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    return ends[np.searchsorted(ends, np.arange(len(values)))]


def _require_finite(data: Dataset, state: np.ndarray, action: np.ndarray) -> None:
    for name, values in ((STATE, state), (ACTION, action)):
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            row = int(bad[0])
            episode = next(e for e in reversed(data.episodes) if e.first_row <= row)
            raise TrainingError(
                f"{data.root}: {name} holds values that are not finite in {len(bad)} rows, the first is row "
                f"{row - episode.first_row} of episode {episode.index}: {values[row].tolist()}"
            )
