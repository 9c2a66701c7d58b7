"""Whether episodes can be written into a data set's folder, asked before anybody records one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros import files
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.episode_buffer import EpisodeBuffer
from vla_adapter_ros.dataset.journal import Journal
from vla_adapter_ros.dataset.video import VideoSettings
from vla_adapter_ros.errors import DatasetError, VlaAdapterError
from vla_adapter_ros.observation.frame import Frame


def prove_writable(
    root: Path, contract: Contract, settings: VideoSettings, number: int, journal: Journal
) -> None:
    """Write an episode of one black frame where the next one will lie, with the real encoder, and remove it.

    Args:
        root: Folder of the data set, which is ours.
        contract: Cameras, names and rate.
        settings: Of the videos.
        number: Of the next episode's files.
        journal: Lists what a crash would leave.

    Raises:
        DatasetError: no episode can be written; the folders are as they were.
    """
    videos = {camera: unfinished_video(root, camera, number, 0) for camera in contract.recorded_cameras}
    tables = [layout.data_file(root, number), layout.episode_file(root, number)]
    paths = [*videos.values(), *map(files.temporary_path, tables)]
    names = [path.relative_to(root).as_posix() for path in paths]
    made = [folder for path in paths for folder in files.missing_folders(path.parent)]
    episode = None
    try:
        journal.list_files(names)
        episode = EpisodeBuffer("probe", contract, layout.whole_rate(contract), settings, videos)
        episode.add_frame(_black(contract), layout.HUMAN, wait=True)
        episode.finish_videos().require_images()
        for path in map(files.temporary_path, tables):
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"probe": [0]}), path)
            path.unlink()
    except (OSError, pa.ArrowException, VlaAdapterError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DatasetError(
            f"{root}: no episode can be written there with codec {settings.codec} and preset "
            f"{settings.preset}: {reason}"
        ) from error
    finally:
        if episode is not None:
            episode.stop_encoders()
        for path in videos.values():
            with contextlib.suppress(OSError):  # a file may stand where its folder is to be made
                path.unlink()
        files.remove_empty(made)
        journal.unlist_files(names)


def unfinished_video(root: Path, camera: str, file: int, episode: int) -> Path:
    """Video of a camera while it is written, beside the one of the `file`-th episode.

    Its episode has no number in the data set yet: `episode` counts those that this process has begun.
    """
    return layout.video_file(root, camera, file).with_name(f"take-{episode:06d}.mp4{files.TEMPORARY}")


def _black(contract: Contract) -> Frame:
    images = {name: np.zeros((c.height, c.width, 3), np.uint8) for name, c in contract.cameras.items()}
    images |= {name: np.zeros((c.height, c.width), np.uint16) for name, c in contract.depth_cameras.items()}
    state, action = np.zeros(len(contract.state_names)), np.zeros(len(contract.action_names))
    return Frame(0.0, images, state, action, {}, 0.0)
