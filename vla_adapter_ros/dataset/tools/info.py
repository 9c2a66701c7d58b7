"""What a data set holds, in plain values and in lines for people."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.info_json import is_numeric, names_of
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.task_texts import row_texts


def describe_dataset(
    root: str | Path, *, mapping: str | Path | None = None, contract: Contract | None = None
) -> dict[str, Any]:
    """Facts about a data set: format, sizes, cameras, names, tasks, contract, who was in control.

    Raises:
        DatasetError: it cannot be opened or read.
        MappingError: the mapping does not fit it.
    """
    dataset = open_dataset(root, mapping, contract)
    tasks: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    changing = 0
    for episode in range(dataset.num_episodes):
        rows = dataset.rows(episode)
        said = set(row_texts(dataset.tasks, rows["task_index"], f"{root}: episode {episode}"))
        tasks.update(said)
        changing += len(said) > 1
        known = rows.get(layout.CONTROL_SOURCE)
        for value, count in (
            zip(*np.unique(known, return_counts=True), strict=True) if known is not None else ()
        ):
            sources[layout.CONTROL_SOURCES.get(int(value), str(value))] += int(count)
    lengths = [episode.length for episode in dataset.episodes]
    cameras = {}
    for name in dataset.cameras:
        feature = dataset.features.get(dataset.camera_feature(name), {})
        codec = feature.get("info", {}).get("video.codec", feature.get("dtype"))
        cameras[name] = {"shape": list(feature.get("shape", ())), "codec": codec}
    found = dataset.contract
    return {
        "path": str(root),
        "format": dataset.info.get("codebase_version"),
        "robot_type": dataset.info.get("robot_type"),
        "episodes": dataset.num_episodes,
        "episodes_missing": len(dataset.missing),
        "cameras_without_files": dict(dataset.absent),
        "frames": dataset.num_frames,
        "frames_per_episode": {
            "min": min(lengths, default=0),
            "median": float(np.median(lengths or [0])),
            "max": max(lengths, default=0),
        },
        "rate_hz": dataset.fps,
        "seconds": dataset.num_frames / dataset.fps,
        "bytes": sum(path.stat().st_size for path in dataset.root.rglob("*") if path.is_file()),
        "cameras": cameras,
        "depth_cameras": list(dataset.depth_cameras),
        "state": _names(dataset.features, layout.STATE),
        "action": _names(dataset.features, layout.ACTION),
        "columns": {
            name: _names(dataset.features, name)
            for name, feature in dataset.features.items()
            if is_numeric(feature) and name not in layout.KNOWN_COLUMNS
        },
        "tasks": dict(tasks.most_common()),
        "episodes_of_several_tasks": changing,
        "contract": None if found is None else {"name": found.name, "robot_type": found.robot_type},
        "control_sources": dict(sources),
    }  # fmt: skip


def overview(found: dict[str, Any]) -> list[str]:
    """The lines of `info` for people; `found` is from `describe_dataset`."""
    per = found["frames_per_episode"]
    missing = f" ({found['episodes_missing']} more are missing)" if found["episodes_missing"] else ""
    lines = [
        f"{found['path']}: LeRobot {found['format']}, robot {found['robot_type'] or 'not named'}, "
        f"{found['bytes'] / 1e6:,.1f} MB",
        f"{found['episodes']} episodes{missing}, {found['frames']} frames, {found['seconds'] / 60:.1f} min "
        f"at {found['rate_hz']:g} Hz; {per['min']} to {per['max']} frames each, median {per['median']:g}",
    ]
    for name, camera in found["cameras"].items():
        size = " x ".join(str(n) for n in camera["shape"])
        lines.append(f"camera {name}: {size} (height x width x channels), {camera['codec']}")
    lines += [f"camera {name}: {why}" for name, why in found["cameras_without_files"].items()]
    lines += [f"depth camera {name}: uint16 [mm]" for name in found["depth_cameras"]]
    for part, column in (("state", layout.STATE), ("action", layout.ACTION)):
        names = found[part]
        lines.append(f"{part} ({len(names)}): {', '.join(names)}" if names else f"{part}: no column {column}")
    for name, values in found["columns"].items():
        lines.append(f"column {name} ({len(values)}): {', '.join(values)}")
    if found["columns"] and not (found["state"] and found["action"]):
        lines.append("state or action has another name here: `dataset draft-contract` proposes a mapping")
    for task, count in found["tasks"].items():
        lines.append(f"task {task!r}: {count} episodes")
    if found["episodes_of_several_tasks"]:
        lines.append(f"{found['episodes_of_several_tasks']} episodes change their task on the way")
    contract = found["contract"]
    lines.append(f"contract: {contract['name']} ({contract['robot_type']})" if contract else "contract: none")
    sources = found["control_sources"]
    if sources:
        total = sum(sources.values())
        lines.append("control: " + ", ".join(f"{name} {n / total:.1%}" for name, n in sources.items()))
    return lines


def _names(features: dict[str, Any], name: str) -> list[str]:
    return list(names_of(features[name], name)) if name in features else []
