"""Checks of the files of a data set against its tables: videos, tasks, statistics, contract, leftovers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from vla_adapter_ros import files
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.info_json import image_size, names_of
from vla_adapter_ros.dataset.mapped import MappedDataset
from vla_adapter_ros.dataset.metadata import declared_video, read_header
from vla_adapter_ros.dataset.opening import Dataset, stored_reader
from vla_adapter_ros.dataset.quality.findings import Finding, Level, listed, skip
from vla_adapter_ros.dataset.quality.settings import QualitySettings, count_faults, grade
from vla_adapter_ros.dataset.quality.stored import (
    ColumnSums,
    VideoHeader,
    image_statistics_faults,
    plain_codec,
    statistics_faults,
    video_faults,
)
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.texts import visible


class StoredFiles:
    """The files of a data set; the header of each video is read once.

    Args:
        dataset: The data set.
        settings: Thresholds.
    """

    def __init__(self, dataset: Dataset, settings: QualitySettings) -> None:
        self._dataset, self._settings = dataset, settings
        self._raw = stored_reader(dataset)
        self._rows: dict[tuple[Path, str], int] = {}  # rows of all episodes in a video
        self._headers: dict[tuple[Path, str], VideoHeader] = {}
        self._unreadable: list[str] = []
        self._missing: list[str] = []
        self._read_videos()

    def _name(self, path: Path) -> str:
        return (
            str(path.relative_to(self._dataset.root))
            if path.is_relative_to(self._dataset.root)
            else str(path)
        )

    def _read_videos(self) -> None:
        cameras = {*self._dataset.cameras, *self._dataset.depth_cameras}
        parts = sorted(
            ((part.path, camera), shown.length, stored.length)
            for shown, stored in zip(self._dataset.episodes, self._raw.episodes, strict=False)
            for camera, part in shown.videos.items()
            if camera in cameras and camera not in self._dataset.absent
        )
        for key, group in groupby(parts, key=lambda part: part[0]):
            if not key[0].is_file():
                self._missing.append(self._name(key[0]))
                continue
            self._rows[key] = sum(length for _, _, length in group)
            try:
                self._headers[key] = read_header(key[0])
            except VlaAdapterError as error:
                self._unreadable.append(str(error))

    def check_format(self) -> Finding:
        """What it is, and whether all of its list is there."""
        dataset = self._dataset
        version = dataset.info.get("codebase_version")
        what = f"{version}, {dataset.num_episodes} episodes, {dataset.num_frames} rows, {dataset.fps:g} Hz"
        missing = [f"no file of camera {name}: {why}" for name, why in dataset.absent.items()]
        if dataset.missing:
            missing.append(f"{len(dataset.missing)} more episodes lack files, such as {dataset.missing_file}")
        if dataset.absent and not dataset.cameras:
            return Finding("format", Level.FAIL, 0.0, "; ".join([what, "no camera has files", *missing]))
        if not dataset.num_episodes:
            return Finding("format", Level.FAIL, 0.0, f"{what}: nothing was recorded")
        if missing:
            return grade("format", len(missing), self._settings, "; ".join([what, *missing]))
        return Finding("format", Level.PASS, math.nan, what)

    def check_images(self, sizes: list[str]) -> Finding:
        """Images in each video against the rows of the episodes that it holds; `sizes` are other faults."""
        faults = list(self._unreadable)
        if self._missing:
            more = f", and {len(self._missing) - 1} more" if len(self._missing) > 1 else ""
            faults.append(f"{self._missing[0]} is missing{more}")
        for (path, camera), header in self._headers.items():
            rows = self._rows[path, camera]
            if header.frames and header.frames != rows:
                faults.append(f"{self._name(path)} (camera {camera}): {header.frames} images, {rows} rows")
        if not faults and not sizes and not self._dataset.cameras:
            return skip("images", "there are no cameras")
        good = "one per row and camera, of the declared size"
        return count_faults("images", faults + sizes, self._settings, good)

    def check_tasks(self, used: set[int] | None, changing: int = 0) -> Finding:
        """Instructions that rows name by number.

        Args:
            used: These numbers; None without rows.
            changing: How many episodes have several.
        """
        tasks = self._dataset.tasks
        if used is None:
            return skip("tasks", "no rows could be read")
        beyond = sorted(n for n in used if not 0 <= n < len(tasks))
        if beyond:
            text = f"task_index {beyond}, there are {len(tasks)} tasks"
            return grade("tasks", len(beyond), self._settings, text)
        empty = [n for n in sorted(used) if not visible(tasks[n])]
        if empty:
            return grade("tasks", len(empty), self._settings, f"tasks {empty} have no text")
        unused = len(tasks) - len(used)
        text = f"{len(tasks)}" + (f", {unused} not used" if unused else "")
        text += f"; {changing} episodes change it on the way" if changing else ""
        return Finding("tasks", Level.PASS, len(tasks), text)

    def check_stats(self, sums: Mapping[str, ColumnSums], levels: Mapping[str, float]) -> Finding:
        """Stored statistics: there, finite, in order, and of these very rows and images.

        Args:
            sums: Exact statistics of the columns as they are stored.
            levels: Camera -> mean level of the images that were looked at, 0 to 1.
        """
        raw = self._raw
        if getattr(raw, "numbers", None) is not None:
            return skip("stats", "computed from the rows on reading")
        if not sums:
            return skip("stats", "no rows could be read")
        try:
            stats = raw.stats
        except VlaAdapterError as error:
            return Finding("stats", Level.FAIL, math.nan, str(error))
        faults = [
            fault for name, one in sums.items() for fault in statistics_faults(name, stats.get(name, {}), one)
        ]
        for camera, level in levels.items():
            stored = stats.get(layout.image_key(camera))
            if stored:
                faults += image_statistics_faults(layout.image_key(camera), stored, level)
        return count_faults("stats", faults, self._settings, "finite, in order, and those of the rows")

    def check_contract(self) -> Finding:
        """Names, cameras, sizes and rate against those of the contract."""
        dataset, contract = self._dataset, self._dataset.contract
        if contract is None:
            return skip("contract", "none; what needs one is skipped")
        faults = []
        for column, wanted in ((layout.STATE, contract.state_names), (layout.ACTION, contract.action_names)):
            declared = dataset.features.get(column)
            found = names_of(declared, column) if declared else ()
            if found != wanted:
                how = "has the order" if sorted(found) == sorted(wanted) else "has"
                faults.append(f"{column} {how} {list(found)}, the contract {list(wanted)}")
        for name, camera in contract.cameras.items():
            feature = dataset.features.get(layout.image_key(name))
            if name not in dataset.cameras or feature is None:
                faults.append(f"camera {name} is not there, only {list(dataset.cameras)}")
            elif image_size(feature) != (camera.height, camera.width):
                shape = feature["shape"]
                faults.append(f"camera {name} is {shape}, the contract says {camera.height} x {camera.width}")
        if dataset.fps != contract.rate_hz:
            faults.append(f"{dataset.fps:g} Hz, the contract says {contract.rate_hz:g} Hz")
        good = f"{contract.name}: names, cameras, sizes and rate agree"
        return count_faults("contract", faults, self._settings, good)

    def check_leftovers(self) -> Finding:
        """Files that no episode uses: unfinished ones, and complete ones that were never committed."""
        root, used = self._raw.root, set()
        for episode in self._raw.episodes:
            used |= {episode.data, *(part.path for part in episode.videos.values())}
        there = [p for folder in ("data", "videos") for p in (root / folder).rglob("*") if p.is_file()]
        left = [path for path in there if path not in used]
        left += [path for path in (root / "meta").rglob(f"*{files.TEMPORARY}") if path not in left]
        names = sorted(str(path.relative_to(root)) for path in left)
        text = f"{len(names)} files that no episode uses{listed(names)}"
        if names and self._raw.info.get("codebase_version") == layout.VERSION:  # the format `repair` reads
            text += "; see `repair`"
        return grade("leftovers", len(names), self._settings, text)

    def check_videos(self) -> Finding:
        """Headers of the videos against what info.json says of their cameras."""
        if not self._headers:
            return skip("videos", "no video could be read")
        faults = []
        for (path, camera), header in self._headers.items():
            dataset = self._dataset
            stored = dataset.source_of(camera).name if isinstance(dataset, MappedDataset) else camera
            feature = self._raw.features[self._raw.camera_feature(stored)]
            said, size = declared_video(feature), image_size(feature)
            faults += video_faults(self._name(path), header, said, size, self._raw.fps)
        good = f"{len(self._headers)} videos have the codec, rate and size that info.json says"
        return count_faults("videos", faults, self._settings, good)

    def check_codecs(self) -> Finding:
        """Videos of a camera that cannot be joined without encoding them again."""
        if not self._headers:
            return skip("mixed_codecs", "no video could be read")
        first: dict[str, str] = {}
        other = []
        for (path, camera), header in self._headers.items():
            codec = plain_codec(header.codec)
            if first.setdefault(camera, codec) != codec:
                other.append(f"{self._name(path)} is {codec}, others of camera {camera} are {first[camera]}")
        good = ", ".join(sorted(set(first.values()))) + " only"
        return count_faults("mixed_codecs", other, self._settings, good)
