"""Small data sets by "others": format v2.1, foreign names and units, images in the data files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from recording_samples import CONTRACT, record

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.writer import DatasetWriter

LENGTHS = (12, 9, 15)
MAPPING = {
    "schema": 1,
    "contract": "franka_sim",
    "cameras": {"third_view": "front", "gripper": {"from": "observation.images.wrist", "rotation": 180}},
    "state": {
        **{f"fr3_joint{n}": {"from": f"observation.state[j{n}]", "unit": "deg"} for n in range(1, 8)},
        "fr3_finger_joint1": {"from": "observation.gripper", "unit": "mm"},
        **{f"tool_{axis}": f"observation.state[{place}]" for place, axis in enumerate("xyz", 7)},
    },
    "action": {
        **{f"fr3_joint{n}": {"from": f"action[{n - 1}]", "factor": 2.0, "offset": -1.0} for n in range(1, 8)},
        "gripper": {"from": "action[grip]", "open": 0.0, "closed": 100.0},
    },
}


def make_ours(root: Path, lengths=LENGTHS, tasks=("wave", "push", "wave"), gop: int = 4) -> DatasetReader:
    """A data set of ours."""
    with DatasetWriter(root, CONTRACT, gop=gop) as writer:
        for seed, (count, task) in enumerate(zip(lengths, tasks, strict=True)):
            record(writer, task, count, seed)
    return DatasetReader(root)


def make_foreign(root: Path, ours: DatasetReader, *, images: str = "video", missing: int = -1) -> Path:
    """The same episodes as a v2.1 data set with other names, in degrees and millimeters.

    Args:
        root: New folder.
        ours: Where rows and videos come from.
        images: video, or image for PNGs in the data files.
        missing: Episode whose files are left out.
    """
    names = [f"j{n}" for n in range(1, 8)] + ["tx", "ty", "tz"]
    features = {
        "observation.state": {"dtype": "float32", "shape": [10], "names": {"motors": names}},
        "observation.gripper": {"dtype": "float32", "shape": [1], "names": None},
        "action": {"dtype": "float32", "shape": [8], "names": [*(f"j{n}" for n in range(1, 8)), "grip"]},
        "next.note": {"dtype": "string", "shape": [1], "names": None},
        **{n: {"dtype": "float32" if n == "timestamp" else "int64", "shape": [1], "names": None}
           for n in ("timestamp", "frame_index", "episode_index", "index", "task_index")},
    }  # fmt: skip
    for camera in ("front", "wrist"):
        features[f"observation.images.{camera}"] = {"dtype": images, "shape": [112, 112, 3], "names": None}
    info = {
        "codebase_version": "v2.1", "robot_type": "franka", "fps": 10, "chunks_size": 1000,
        "total_episodes": len(ours.episodes), "total_frames": ours.num_frames, "total_tasks": 2,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }  # fmt: skip
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    _lines(root / "meta/tasks.jsonl", [{"task_index": i, "task": t} for i, t in enumerate(ours.tasks)])
    episodes = [
        {"episode_index": e.index, "tasks": [ours.task_of(e.index)], "length": e.length}
        for e in ours.episodes
    ]
    _lines(root / "meta/episodes.jsonl", episodes)
    for episode in ours.episodes:
        if episode.index == missing:
            continue
        table = _table(ours, episode.index, images)
        path = root / info["data_path"].format(episode_chunk=0, episode_index=episode.index)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), path)
        for camera, theirs in (("third_view", "front"), ("gripper", "wrist")) if images == "video" else ():
            key = f"observation.images.{theirs}"
            path = root / info["video_path"].format(
                episode_chunk=0, episode_index=episode.index, video_key=key
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(episode.videos[camera].path, path)
    return root


def irregular_times(count: int) -> np.ndarray:
    """Times at 10 Hz, of which every fourth comes 60 ms late."""
    return 0.1 * np.arange(count) + 0.06 * (np.arange(count) % 4 == 3)


def _table(ours: DatasetReader, episode: int, images: str) -> dict:
    rows = ours.rows(episode)
    count, state, action = len(rows["index"]), rows["observation.state"], rows["action"]
    theirs = np.hstack([np.degrees(state[:, :7]), state[:, 8:]]).astype(np.float32)
    commands = np.hstack([(action[:, :7] + 1) / 2, 100 * (1 - action[:, 7:])]).astype(np.float32)
    table = {
        "observation.state": list(theirs),
        "observation.gripper": (state[:, 7] * 1000).astype(np.float32),
        "action": list(commands),
        "next.note": ["fine"] * count,
        "timestamp": irregular_times(count).astype(np.float32),
        **{name: rows[name] for name in ("frame_index", "episode_index", "index", "task_index")},
    }
    for camera, name in (("third_view", "front"), ("gripper", "wrist")) if images == "image" else ():
        coded = [cv2.imencode(".png", i[..., ::-1])[1].tobytes() for i in ours.images(camera, episode)]
        table[f"observation.images.{name}"] = [{"bytes": c, "path": None} for c in coded]
    return table


def _lines(path: Path, entries: list[dict]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
