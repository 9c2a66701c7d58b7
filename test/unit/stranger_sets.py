"""Data sets with any columns, names, rates and image sizes: format v2.1, images as PNG in the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def make_set(
    root: Path,
    columns: Mapping[str, tuple[Sequence[np.ndarray], object]],
    *,
    cameras: Mapping[str, tuple[int, int]] | None = None,
    fps: float = 10,
    robot: str = "stranger",
) -> Path:
    """Write a data set.

    Args:
        root: New folder.
        columns: Name -> episodes, (T, D) each, and what info.json says of their names.
        cameras: Feature -> width and height; each image says its row in its red level. Default: one, 16x12.
        fps: Rate [Hz].
        robot: Its type.
    """
    cameras = {"observation.images.front": (16, 12)} if cameras is None else cameras
    first = next(iter(columns.values()))[0]
    features = {
        name: {"dtype": "float32", "shape": [parts[0].shape[1]], "names": names}
        for name, (parts, names) in columns.items()
    }
    features |= {n: {"dtype": "image", "shape": [h, w, 3], "names": None} for n, (w, h) in cameras.items()}
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        dtype = "float32" if name == "timestamp" else "int64"
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    info = {
        "codebase_version": "v2.1", "robot_type": robot, "fps": fps, "chunks_size": 1000,
        "total_episodes": len(first), "total_frames": sum(map(len, first)), "total_tasks": 1,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "features": features,
    }  # fmt: skip
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "stack"}) + "\n")
    entries = [{"episode_index": n, "tasks": ["stack"], "length": len(part)} for n, part in enumerate(first)]
    (root / "meta/episodes.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    done = 0
    for number, part in enumerate(first):
        count = len(part)
        table = {name: list(np.asarray(parts[number], np.float32)) for name, (parts, _) in columns.items()}
        table |= {name: [picture(row, *size) for row in range(count)] for name, size in cameras.items()}
        table |= {
            "timestamp": (np.arange(count) / fps).astype(np.float32), "frame_index": np.arange(count),
            "episode_index": np.full(count, number), "index": done + np.arange(count),
            "task_index": np.zeros(count, int),
        }  # fmt: skip
        path = root / info["data_path"].format(episode_chunk=0, episode_index=number)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), path)
        done += count
    return root


def picture(row: int, width: int, height: int) -> dict:
    """A PNG as LeRobot keeps it: red says the row, green the column, blue the line."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = row, np.arange(width)[None], np.arange(height)[:, None]
    return {"bytes": cv2.imencode(".png", image[..., ::-1])[1].tobytes(), "path": None}


def motion(joints: int, seed: int, count: int = 60) -> np.ndarray:
    """Smooth motion of joints in rad, (T, J), each its own."""
    rng = np.random.default_rng(seed)
    t = np.arange(count)[:, None] / 10
    values = np.repeat(rng.uniform(-0.5, 0.5, (1, joints)), count, axis=0)
    for _ in range(3):
        size, speed, phase = (rng.uniform(*ends, joints) for ends in ((0.2, 0.5), (0.3, 2), (0, 6)))
        values += size * np.sin(speed * t + phase)
    return values


def grip(seed: int, count: int = 60) -> np.ndarray:
    """A gripper that opens and closes, (T, 1), 0 or 1."""
    return ((np.arange(count)[:, None] + 7 * seed) // 15 % 2).astype(float)


def delayed(values: np.ndarray, rows: int = 2) -> np.ndarray:
    """What follows a command some rows later, (T, D)."""
    return np.concatenate([np.repeat(values[:1], rows, axis=0), values[:-rows]])
