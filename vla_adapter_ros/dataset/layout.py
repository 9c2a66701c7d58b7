"""Where LeRobot v3.0 keeps things, and how its tables look.

One data file, one episode file and one video per camera for each episode: a
file that is complete is never touched again, but for the label of an episode
(`labels.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from vla_adapter_ros.contract import Contract, full_name
from vla_adapter_ros.contract.camera import Camera
from vla_adapter_ros.dataset import depth, outcome
from vla_adapter_ros.dataset.quality.samples import CONTROL_SOURCES as CONTROL_SOURCES
from vla_adapter_ros.dataset.video import VideoSettings, encodes_depth
from vla_adapter_ros.errors import DatasetError

Features = Mapping[str, Mapping[str, Any]]
"""What info.json declares: name of a column or camera -> dtype, shape, names, info."""
VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
CONTRACT, HISTOGRAMS = "meta/contract.yaml", "meta/image_histograms.json"
RECORDINGS = "meta/recordings.json"  # ours: which software recorded each episode, and its quality report

STATE, ACTION = "observation.state", "action"
STAMP, AGE, CONTROL_SOURCE = "capture.stamp", "capture.age", "control_source"
SOURCE_NUMBERS = {name: number for number, name in CONTROL_SOURCES.items()}
HUMAN = SOURCE_NUMBERS["human"]
INDEX_FEATURES = ("frame_index", "episode_index", "index", "task_index")
KNOWN_COLUMNS = (STATE, ACTION, "timestamp", *INDEX_FEATURES, STAMP, AGE, CONTROL_SOURCE, *outcome.COLUMNS)


def image_key(camera: str) -> str:
    """Feature name of a camera."""
    return f"observation.images.{camera}"


def stream_names(contract: Contract) -> list[str]:
    """Streams of a frame whose ages are recorded: cameras, topics of the state, the command."""
    topics = dict.fromkeys(d.topic for d in contract.state)
    return [*contract.recorded_cameras, *topics, *(t for t in contract.command_topics if t not in topics)]


def age_names(contract: Contract) -> list[str]:
    """What a data set calls them: topics by their full names, whichever way the contract writes them."""
    cameras = contract.recorded_cameras
    return [name if name in cameras else full_name(name) for name in stream_names(contract)]


def build_features(contract: Contract, settings: VideoSettings) -> dict[str, dict[str, Any]]:
    """Declare the columns and videos of a data set recorded on the contract's robot.

    Raises:
        DatasetError: a rate or an image size that the format cannot hold.
    """
    fps = whole_rate(contract)
    features: dict[str, dict[str, Any]] = {
        ACTION: _action_feature(contract),
        STATE: _numbers("float32", len(contract.state_names), list(contract.state_names)),
    }
    for name, camera in contract.recorded_cameras.items():
        if camera.width % 2 or camera.height % 2:
            raise DatasetError(f"camera {name}: {camera.width}x{camera.height}: allowed are even sizes")
    for name, camera in contract.cameras.items():
        more = {
            # Only here: LeRobot 0.6 takes the mark out of its old place, and then the two do not merge.
            "is_depth_map": False,
            "has_audio": False,
            "video.g": settings.gop,
            "video.crf": settings.crf,
            "video.preset": settings.preset,
        }
        features[image_key(name)] = _video_feature(camera, 3, settings.codec, "yuv420p", fps, more)
    for name, camera in contract.depth_cameras.items():
        features[image_key(name)] = _depth_feature(name, camera, fps)
    streams = age_names(contract)
    # Named so that no training tool takes them for an observation.
    features[STAMP] = _numbers("float64", 1, None)
    features[AGE] = _numbers("float32", len(streams), streams)
    features[CONTROL_SOURCE] = _numbers("int64", 1, None)
    features.update((name, _numbers("bool", 1, None)) for name in outcome.COLUMNS)
    features["timestamp"] = _numbers("float32", 1, None)
    features.update((name, _numbers("int64", 1, None)) for name in INDEX_FEATURES)
    return features


def without_encoder(features: Features) -> dict[str, dict[str, Any]]:
    """The same features, without what was said of the encoder: the videos are mostly copies."""
    told = ("video.g", "video.crf", "video.preset")
    found = {}
    for name, feature in features.items():
        found[name] = dict(feature)
        if "info" in feature:
            found[name]["info"] = {key: value for key, value in feature["info"].items() if key not in told}
    return found


def as_begun(features: Features, stored: Features) -> dict[str, dict[str, Any]]:
    """The features of a data set that an older version began: without the columns that it did not know."""
    absent = [name for name in outcome.COLUMNS if name not in stored]
    return {name: dict(feature) for name, feature in features.items() if name not in absent}


def info_without_totals(contract: Contract, features: Features) -> dict[str, Any]:
    """What info.json says of a data set of ours, but for the numbers of episodes, rows and tasks."""
    return {
        "codebase_version": VERSION,
        "robot_type": contract.robot_type,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": whole_rate(contract),
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": {name: dict(feature) for name, feature in features.items()},
    }


def _depth_feature(name: str, camera: Camera, fps: int) -> dict[str, Any]:
    """A depth camera as LeRobot 0.6 declares it; its statistics are in `depth_unit`."""
    if not encodes_depth():
        raise DatasetError(f"camera {name}: this FFmpeg cannot encode {depth.PIXEL_FORMAT} as {depth.CODEC}")
    more = {"is_depth_map": True, "has_audio": False, "depth_unit": depth.UNIT, **depth.DepthCoding().info}
    return _video_feature(camera, 1, depth.CODEC, depth.PIXEL_FORMAT, fps, more)


def _video_feature(
    camera: Camera, channels: int, codec: str, pixel_format: str, fps: int, more: Mapping[str, Any]
) -> dict[str, Any]:
    """A camera whose images are a video; `more` is what its `info` says beside what every video's does."""
    return {
        "dtype": "video",
        "shape": [camera.height, camera.width, channels],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": camera.height,
            "video.width": camera.width,
            "video.codec": codec,
            "video.pix_fmt": pixel_format,
            "video.fps": fps,
            "video.channels": channels,
            **more,
        },
    }


def _action_feature(contract: Contract) -> dict[str, Any]:
    """The action's column; where it is made from next states, it says so to readers without our contract."""
    feature = _numbers("float32", len(contract.action_names), list(contract.action_names))
    return feature | ({"info": {"source": str(contract.action.source)}} if contract.hand_guided else {})


def _numbers(dtype: str, width: int, names: list[str] | None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [width], "names": names}


def whole_rate(contract: Contract) -> int:
    """The contract's rate as the whole number that the format asks for [Hz].

    Raises:
        DatasetError: the rate is no whole number.
    """
    if contract.rate_hz != round(contract.rate_hz):
        raise DatasetError(f"rate_hz = {contract.rate_hz}: LeRobot data sets allow whole numbers only")
    return round(contract.rate_hz)


def numeric_features(features: Features) -> list[str]:
    """Names of the features that are columns, no videos."""
    return [name for name, feature in features.items() if feature["dtype"] != "video"]


def data_schema(features: Features) -> pa.Schema:
    """Columns of a data file."""
    kinds = {"float32": pa.float32(), "float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_()}
    fields = []
    for name in numeric_features(features):
        kind, (width,) = kinds[features[name]["dtype"]], features[name]["shape"]
        fields.append((name, kind if width == 1 else pa.list_(kind, width)))
    return pa.schema(fields)


def tasks_table(tasks: list[str]) -> pa.Table:
    """Table of tasks, row n being task n, which pandas reads with the task as its index."""
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64",
             "numpy_type": "int64", "metadata": None},
            {"name": "task", "field_name": "task", "pandas_type": "unicode",
             "numpy_type": "object", "metadata": None},
        ],
        "pandas_version": "2.0.0",
    }  # fmt: skip
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())}
    )
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def episode_table(row: Mapping[str, Any], features: Features) -> pa.Table:
    """Table of one episode; columns `stats/<feature>/<name>` get the types that the format asks for."""
    arrays = {}
    for name, value in row.items():
        arrays[name] = pa.array([value], _episode_type(name, value, features))
    return pa.table(arrays)


def _episode_type(name: str, value: Any, features: Features) -> pa.DataType:
    if name == "tasks":
        return pa.list_(pa.string())
    if not name.startswith("stats/"):
        return pa.float64() if isinstance(value, float) else pa.int64()
    _, feature, statistic = name.split("/")
    whole = statistic == "count" or (
        statistic in ("min", "max") and features[feature]["dtype"].startswith("int")
    )
    number = pa.int64() if whole else pa.float64()
    if features[feature]["dtype"] == "video" and statistic != "count":
        return pa.list_(pa.list_(pa.list_(number)))
    return pa.list_(number)


def locate(number: int) -> dict[str, int]:
    """Chunk and file of the n-th file."""
    return {"chunk_index": number // FILES_PER_CHUNK, "file_index": number % FILES_PER_CHUNK}


def data_file(root: Path, number: int) -> Path:
    """The n-th data file."""
    return root / DATA_PATH.format(**locate(number))


def episode_file(root: Path, number: int) -> Path:
    """The n-th file of episode facts."""
    return root / EPISODES_PATH.format(**locate(number))


def video_file(root: Path, camera: str, number: int) -> Path:
    """The n-th video of a camera."""
    return root / VIDEO_PATH.format(video_key=image_key(camera), **locate(number))
