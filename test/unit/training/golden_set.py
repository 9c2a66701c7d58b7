"""The batch of the reference's training step as a data set: what `finetune` makes of it is that batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from model.golden import Golden

from vla_adapter_ros.contract import robots_folder
from vla_adapter_ros.model.preprocessing import center_crop

CHUNK = 8
_SHORT = 7  # rows of an episode in which no chunk fits
_PADDING = 4  # such episodes: their rows make the ranges -1 to 1, so that normalization changes nothing
_RATE = 20
_STATE = (*(f"fr3_joint{n}" for n in range(1, 8)), "fr3_finger_joint1")


def write_contract(path: Path) -> Path:
    """A contract with LIBERO's widths and two cameras of the model's size."""
    data = yaml.safe_load((robots_folder() / "franka_sim_ee.yaml").read_text(encoding="utf-8"))
    data |= {"name": "libero", "rate_hz": _RATE}
    for camera in data["cameras"].values():
        camera |= {"width": 224, "height": 224}
        camera.pop("pose", None)
    data["state"] = [value for value in data["state"] if value["name"] in _STATE]
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


@dataclass(frozen=True)
class StepBatch:
    """Two samples to train an official checkpoint on.

    Attributes:
        checkpoint: Its folder.
        tasks: Instructions.
        images: Of each sample two of the model's size, uint8 (224, 224, 3).
        cropped: The same as the network sees them.
        actions, proprio: Normalized, float32 (2, 8, 7) and (2, 8).
        noise: Action tokens of the first step (8, 7 * hidden).
    """

    checkpoint: Path
    tasks: list[str]
    images: list[list[np.ndarray]]
    cropped: list[list[np.ndarray]]
    actions: np.ndarray
    proprio: np.ndarray
    noise: np.ndarray


def golden_batch(golden: Golden, arrays: Mapping[str, np.ndarray]) -> StepBatch:
    """That of the reference's step."""
    return StepBatch(
        golden.checkpoint,
        [golden.info["samples"][n]["task"] for n in (0, 1)],
        [golden.images(n, "resized") for n in (0, 1)],
        [golden.images(n, "cropped") for n in (0, 1)],
        arrays["batch/actions"],
        arrays["batch/proprio"],
        arrays["perturbation"],
    )


def small_batch(checkpoint: Path, hidden: int) -> StepBatch:
    """Random samples for a smaller checkpoint in the official layout."""
    rng = np.random.default_rng(0)
    images = [[rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(2)] for _ in range(2)]
    actions = rng.uniform(-1, 1, (2, CHUNK, 7)).astype(np.float32)
    actions[:, :, 6] = actions[:, :, 6] > 0
    return StepBatch(
        checkpoint,
        ["lift it?", "take the robot"],
        images,
        [list(center_crop(np.stack(pair), 0.9)) for pair in images],
        actions,
        rng.uniform(-1, 1, (2, 8)).astype(np.float32),
        (0.02 * rng.standard_normal((CHUNK, 7 * hidden))).astype(np.float32),
    )


def write_batch(root: Path, batch: StepBatch) -> Path:
    """A data set of format v2.1 whose only rows with a whole chunk are the two samples of the batch."""
    episodes = []
    for sample in (0, 1):
        state = np.zeros((CHUNK, len(_STATE)))
        state[0] = batch.proprio[sample]
        # Images of LIBERO's cameras are upside down; the checkpoint's preprocessing turns them.
        images = [image[::-1, ::-1] for image in batch.images[sample]]
        episodes.append((batch.tasks[sample], state, batch.actions[sample], images))
    for number in range(_PADDING):
        end = 1.0 if number % 2 else -1.0
        action = np.full((_SHORT, 7), end)
        action[:, 6] = end > 0
        episodes.append(("wait", np.full((_SHORT, len(_STATE)), end), action, [np.zeros_like(images[0])] * 2))
    _write(root, episodes)
    return root


def _write(root: Path, episodes: list) -> None:
    tasks = list(dict.fromkeys(task for task, *_ in episodes))
    numbers = ("timestamp", "frame_index", "episode_index", "index", "task_index")
    cameras = [f"observation.images.{name}" for name in ("third_view", "gripper")]
    features = {
        "observation.state": {"dtype": "float32", "shape": [8], "names": list(_STATE)},
        "action": {"dtype": "float32", "shape": [7], "names": ["x", "y", "z", "rx", "ry", "rz", "gripper"]},
        **{n: {"dtype": "float32" if n == "timestamp" else "int64", "shape": [1], "names": None}
           for n in numbers},
        **{n: {"dtype": "image", "shape": [224, 224, 3], "names": None} for n in cameras},
    }  # fmt: skip
    info = {
        "codebase_version": "v2.1", "robot_type": "franka", "fps": _RATE, "chunks_size": 1000,
        "total_episodes": len(episodes), "total_frames": sum(len(state) for _, state, *_ in episodes),
        "total_tasks": len(tasks), "features": features,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    }  # fmt: skip
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    _lines(root / "meta/tasks.jsonl", [{"task_index": n, "task": task} for n, task in enumerate(tasks)])
    listed = [
        {"episode_index": n, "tasks": [task], "length": len(state)}
        for n, (task, state, *_) in enumerate(episodes)
    ]
    _lines(root / "meta/episodes.jsonl", listed)
    first = 0
    for number, (task, state, action, images) in enumerate(episodes):
        count = len(state)
        table = {
            "observation.state": list(state.astype(np.float32)),
            "action": list(action.astype(np.float32)),
            "timestamp": (np.arange(count) / _RATE).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, number),
            "index": np.arange(first, first + count),
            "task_index": np.full(count, tasks.index(task)),
        }
        for name, image in zip(cameras, images, strict=True):
            coded = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
            table[name] = [{"bytes": coded, "path": None}] * count
        pq.write_table(
            pa.table(table), root / info["data_path"].format(episode_chunk=0, episode_index=number)
        )
        first += count


def _lines(path: Path, entries: list[dict]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
