"""A recorded data set as training samples: images, state, the next actions, the sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import Statistics
from vla_adapter_ros.recording.layout import ACTION, CONTROL_SOURCE, STATE, image_key
from vla_adapter_ros.recording.reader import DatasetReader

MEMORY_LIMIT = 4 * 2**30  # bytes of images that are kept decoded
HUMAN = 1
_BLOCK = 64  # images that are resized at once


class ImageStore:
    """The images of a data set at the model's size, by row.

    All are decoded once and kept if they fit `limit` bytes; otherwise each is decoded when asked for.

    Args:
        reader: The data set.
        cameras: Their order is the model's.
        resize: uint8 (..., H, W, 3) to uint8 (..., size, size, 3).
        size: Width and height after `resize` [px].
        limit: Memory that decoded images may take [byte].
        progress: Called with (episodes done, episodes) while decoding.
    """

    def __init__(
        self,
        reader: DatasetReader,
        cameras: tuple[str, ...],
        resize: Callable[[np.ndarray], np.ndarray],
        size: int,
        *,
        limit: int = MEMORY_LIMIT,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._reader, self._cameras, self._resize = reader, cameras, resize
        self._lengths = np.array([episode.length for episode in reader.episodes])
        shape = (reader.num_frames, len(cameras), size, size, 3)
        self._images: np.ndarray | None = None
        if np.prod(shape, dtype=np.int64) <= limit:
            self._images = np.empty(shape, dtype=np.uint8)
            for episode in reader.episodes:
                for c, camera in enumerate(cameras):
                    self._fill(self._images[episode.first_row :, c], camera, episode.index)
                progress(episode.index + 1, reader.num_episodes)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Images of rows (B,): uint8 (B, cameras, size, size, 3)."""
        if self._images is not None:
            return self._images[rows]
        return np.stack([self._decode(int(row)) for row in rows])

    def _fill(self, target: np.ndarray, camera: str, episode: int) -> None:
        block: list[np.ndarray] = []
        done = 0
        for image in self._reader.images(camera, episode):
            block.append(image)
            if len(block) == _BLOCK or done + len(block) == self._lengths[episode]:
                target[done : done + len(block)] = self._resize(np.stack(block))
                done += len(block)
                block.clear()

    def _decode(self, row: int) -> np.ndarray:
        episode = int(np.searchsorted(np.cumsum(self._lengths), row, side="right"))
        at = row - self._reader.episodes[episode].first_row
        images = [self._reader.image(camera, episode, at) for camera in self._cameras]
        return np.stack([self._resize(image) for image in images])


@dataclass(frozen=True)
class Samples:
    """Rows of a data set. N rows, S state values, A action values.

    Attributes:
        images: Images by row.
        state: Proprioception in the robot's units, float64 (N, S).
        action: Commands in the robot's units, float64 (N, A).
        episode: Episode of each row, int64 (N,).
        task: Index into `tasks` of each row, int64 (N,).
        first, last: First and last row of the episode of each row, int64 (N,).
        waypoint: Row at which the gripper first closes in the episode, int64 (N,); -1 if it never does,
            or has done so before.
        usable: Whether the row may be learned from: a human gave its command, bool (N,).
        tasks: Sentences.
    """

    images: ImageStore
    state: np.ndarray
    action: np.ndarray
    episode: np.ndarray
    task: np.ndarray
    first: np.ndarray
    last: np.ndarray
    waypoint: np.ndarray
    usable: np.ndarray
    tasks: tuple[str, ...]

    def chunks(self, rows: np.ndarray, horizon: int) -> np.ndarray:
        """Actions of rows (B,) and of those after them: float64 (B, H, A).

        Past the end of an episode its last action is repeated.
        """
        ahead = rows[:, None] + np.arange(horizon)
        return self.action[np.minimum(ahead, self.last[rows][:, None])]


def load_samples(
    reader: DatasetReader,
    contract: Contract,
    resize: Callable[[np.ndarray], np.ndarray],
    size: int,
    *,
    limit: int = MEMORY_LIMIT,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Samples:
    """Read a data set.

    Args:
        reader: The data set.
        contract: Its robot: cameras, widths and rate must be those of the data set.
        resize: Camera images to the model's size, see `ImageStore`.
        size: The model's image size [px].
        limit: Memory for decoded images [byte].
        progress: Called with (episodes done, episodes).

    Raises:
        TrainingError: the data set is empty, holds nothing that a human did, or does not fit the contract.
        DatasetError: it is damaged.
    """
    _check(reader, contract)
    episodes = [reader.rows(number) for number in range(reader.num_episodes)]
    joined = {name: np.concatenate([rows[name] for rows in episodes]) for name in episodes[0]}
    state = joined[STATE].astype(np.float64).reshape(reader.num_frames, -1)
    action = joined[ACTION].astype(np.float64).reshape(reader.num_frames, -1)
    if not (np.isfinite(state).all() and np.isfinite(action).all()):
        raise TrainingError(f"{reader.root}: state or action holds values that are not finite")
    first, last = np.empty(reader.num_frames, np.int64), np.empty(reader.num_frames, np.int64)
    waypoint = np.full(reader.num_frames, -1)
    closed = _is_closed(action, contract)
    for episode in reader.episodes:
        rows = slice(episode.first_row, episode.first_row + episode.length)
        first[rows], last[rows] = rows.start, rows.stop - 1
        closing = np.flatnonzero(closed[rows])
        if len(closing):
            waypoint[rows.start : rows.start + closing[0]] = rows.start + closing[0]
    usable = joined[CONTROL_SOURCE] == HUMAN if CONTROL_SOURCE in joined else np.ones(len(state), bool)
    if not usable.any():
        raise TrainingError(f"{reader.root}: no row in which a human was in control: nothing to learn from")
    return Samples(
        images=ImageStore(reader, contract.camera_names, resize, size, limit=limit, progress=progress),
        state=state,
        action=action,
        episode=joined["episode_index"].astype(np.int64),
        task=joined["task_index"].astype(np.int64),
        first=first,
        last=last,
        waypoint=waypoint,
        usable=usable,
        tasks=reader.tasks,
    )


def compute_statistics(name: str, samples: Samples, contract: Contract) -> Statistics:
    """Exact statistics of state and action over the data set, as checkpoints store them.

    A binary gripper gets its open and closed values as range: in a data set in which it closes
    in less than one row of a hundred, quantiles would take closing for noise.
    """

    def field(values: np.ndarray) -> dict[str, np.ndarray]:
        q01, q99 = np.quantile(values, [0.01, 0.99], axis=0)
        return {
            "mean": values.mean(axis=0),
            "std": values.std(axis=0),
            "min": values.min(axis=0),
            "max": values.max(axis=0),
            "q01": q01,
            "q99": q99,
        }

    action = field(samples.action)
    if contract.gripper.mode == "binary":
        at = contract.action_names.index(contract.gripper.dimension)
        action["q01"][at], action["q99"][at] = sorted((contract.gripper.open, contract.gripper.closed))
    entry = {
        "action": action,
        "proprio": field(samples.state),
        "num_transitions": len(samples.state),
        "num_trajectories": int(samples.episode[-1]) + 1,
    }
    return Statistics.from_dict(name, entry)


def _is_closed(action: np.ndarray, contract: Contract) -> np.ndarray:
    """Whether each command (N, A) closes the gripper, bool (N,)."""
    gripper = contract.gripper
    value = action[:, contract.action_names.index(gripper.dimension)]
    return np.abs(value - gripper.closed) < np.abs(value - gripper.open)


def _check(reader: DatasetReader, contract: Contract) -> None:
    if reader.num_frames == 0:
        raise TrainingError(f"{reader.root} is empty: record demonstrations first")
    if reader.fps != contract.rate_hz:
        raise TrainingError(f"{reader.root}: {reader.fps} Hz, the contract says {contract.rate_hz} Hz")
    lacking = [name for name in contract.camera_names if image_key(name) not in reader.features]
    if lacking:
        raise TrainingError(f"{reader.root} lacks the cameras {lacking}; it has {list(reader.cameras)}")
    for name, wanted in ((STATE, contract.state_names), (ACTION, contract.action_names)):
        shape = reader.features.get(name, {}).get("shape")
        if shape != [len(wanted)]:
            raise TrainingError(f"{reader.root}: {name} has shape {shape}, the contract {len(wanted)} values")
