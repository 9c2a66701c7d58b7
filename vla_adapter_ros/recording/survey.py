"""Goes through a data set once: what a verdict needs of each episode, and the structural checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby

import numpy as np

from vla_adapter_ros.dataset.quality.episode import judge
from vla_adapter_ros.dataset.quality.findings import Finding, Level, Verdict, listed, skip
from vla_adapter_ros.dataset.quality.images import measure_images
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings, count_faults, grade
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.recording import files, layout
from vla_adapter_ros.recording.description import names_of
from vla_adapter_ros.recording.opening import Dataset
from vla_adapter_ros.recording.video import count_frames
from vla_adapter_ros.texts import visible

_GRID_S = 1e-3  # timestamps this far from row / fps are no longer rounding [s]
_SHORT = 100  # rows up to which all images are decoded: finding three in a video costs as much as 30


class Survey:
    """Looks at episodes one after the other and gathers what the structural checks need.

    Args:
        dataset: The data set.
        settings: Thresholds.
        decode: Whether to look at every image; if not, at three of each long episode and camera.
    """

    def __init__(self, dataset: Dataset, settings: QualitySettings, decode: bool) -> None:
        self._dataset, self._settings, self._decode = dataset, settings, decode
        self._faults: dict[str, list[str]] = {
            name: [] for name in ("rows", "timestamps", "images", "decoding")
        }
        self._low: dict[str, np.ndarray] = {}
        self._high: dict[str, np.ndarray] = {}
        self._frames = 0
        self._used_tasks: set[int] = set()
        self._changing = 0  # episodes whose task changes on the way
        self._decoded = self._sampled = 0

    def look(self, episode: int) -> Verdict | None:
        """Read an episode; its verdict, or None if it cannot be read."""
        try:
            rows = self._dataset.rows(episode)
        except VlaAdapterError as error:
            self._faults["rows"].append(str(error))
            return None
        count = len(rows["frame_index"])
        if count == 0:
            self._faults["rows"].append(f"episode {self._dataset.episodes[episode].number} has none")
            return None
        self._note(episode, rows, count)
        whole = self._decode or count <= _SHORT
        self._sampled += not whole
        images = {}
        for camera in self._dataset.cameras:
            measured = self._look_at_images(camera, episode, count, whole)
            if len(measured):
                images[camera] = measured
        return judge(
            samples_of(self._dataset, rows, images, every_image=whole),
            self._settings,
            self._dataset.contract,
        )

    def structure(self) -> tuple[Finding, ...]:
        """The structural checks, after all episodes were looked at."""
        dataset = self._dataset
        version = dataset.info.get("codebase_version")
        what = f"{version}, {dataset.num_episodes} episodes, {dataset.num_frames} rows, {dataset.fps:g} Hz"
        self._count_images()
        how = f"three of each of {self._sampled} long episodes, all of the others" if self._sampled else "all"
        good = {
            "rows": f"{self._frames}, numbered without gaps",
            "timestamps": "row / rate in every episode",
            "images": "one per row and camera, of the declared size",
            "decoding": f"{self._decoded} images decoded ({how})",
        }
        return (
            *self._check_format(what),
            *(count_faults(name, self._faults[name], self._settings, text) for name, text in good.items()),
            self._check_tasks(),
            self._check_stats(),
            self._check_still(),
            _check_contract(dataset, self._settings),
            _check_leftovers(dataset, self._settings),
        )

    def _check_format(self, what: str) -> list[Finding]:
        missing = [f"no file of camera {name}: {why}" for name, why in self._dataset.absent.items()]
        if episodes := getattr(self._dataset, "missing", ()):
            missing.append(f"{len(episodes)} more episodes lack files, such as {self._dataset.missing_file}")
        if not self._dataset.num_episodes:
            return [Finding("format", Level.FAIL, 0.0, f"{what}: nothing was recorded")]
        if missing:
            text = "; ".join([what, *missing])
            return [grade("format", len(missing), self._settings, text)]
        return [Finding("format", Level.PASS, math.nan, what)]

    def _note(self, episode: int, rows: Mapping[str, np.ndarray], count: int) -> None:
        facts, frame_index = self._dataset.episodes[episode], np.arange(count)
        number = facts.number
        wanted = {"frame_index": frame_index, "index": facts.first_row + frame_index}
        wanted["episode_index"] = np.full(count, episode)
        for name, column in wanted.items():
            if not np.array_equal(rows[name], column):
                self._faults["rows"].append(f"{name} of episode {number} has gaps or begins elsewhere")
        off = float(np.abs(rows["timestamp"] - frame_index / self._dataset.fps).max())
        if off > _GRID_S:
            self._faults["timestamps"].append(f"episode {number} is up to {off:.3f} s off row / rate")
        tasks = np.unique(rows["task_index"])
        self._used_tasks.update(int(n) for n in tasks)
        self._changing += len(tasks) > 1
        self._frames += count
        for name, column in rows.items():
            if column.dtype.kind in "iuf" and np.isfinite(column).all():
                low, high = column.min(axis=0), column.max(axis=0)
                self._low[name] = np.minimum(self._low.get(name, low), low)
                self._high[name] = np.maximum(self._high.get(name, high), high)

    def _look_at_images(self, camera: str, episode: int, count: int, whole: bool) -> np.ndarray:
        """Measure images of an episode: (M, 4), empty if they cannot be decoded."""
        dataset, sizes = self._dataset, set()
        where = f"camera {camera}, episode {dataset.episodes[episode].number}"

        def images():
            if whole:
                found = dataset.images(camera, episode)
            else:
                found = (dataset.image(camera, episode, n) for n in sorted({0, count // 2, count - 1}))
            for image in found:
                sizes.add(image.shape)
                yield image

        try:
            measured = measure_images(images(), self._settings)
        except VlaAdapterError as error:
            self._faults["decoding"].append(f"{where}: {error}")
            return np.empty((0, 4))
        self._decoded += len(measured)
        declared = next(
            (tuple(f["shape"]) for name, f in dataset.features.items() if name == layout.image_key(camera)),
            None,
        )
        if declared is not None and sizes - {declared, (*declared[:2], 3)}:  # grey is shown as colors
            self._faults["images"].append(f"{where}: {sorted(sizes)}, info.json says {declared}")
        return measured

    def _count_images(self) -> None:
        """Compare the images in each video with the rows of the episodes that it holds."""
        parts = [
            (part.path, camera, episode.length)
            for episode in self._dataset.episodes
            for camera, part in episode.videos.items()
            if camera not in self._dataset.absent
        ]
        for (path, camera), group in groupby(sorted(parts), key=lambda part: part[:2]):
            rows = sum(length for _, _, length in group)
            try:
                found = count_frames(path)
            except VlaAdapterError as error:
                self._faults["images"].append(str(error))
                continue
            if found != rows:
                name = path.relative_to(self._dataset.root)
                self._faults["images"].append(f"{name} (camera {camera}): {found} images, {rows} rows")

    def _check_tasks(self) -> Finding:
        tasks = self._dataset.tasks
        beyond = sorted(n for n in self._used_tasks if not 0 <= n < len(tasks))
        empty = [n for n in sorted(self._used_tasks - set(beyond)) if not visible(tasks[n])]
        if beyond:
            return grade(
                "tasks", len(beyond), self._settings, f"task_index {beyond}, there are {len(tasks)} tasks"
            )
        if empty:
            return grade("tasks", len(empty), self._settings, f"tasks {empty} have no text")
        unused = len(tasks) - len(self._used_tasks)
        text = f"{len(tasks)}" + (f", {unused} not used" if unused else "")
        text += f"; {self._changing} episodes change it on the way" if self._changing else ""
        return Finding("tasks", Level.PASS, len(tasks), text)

    def _check_stats(self) -> Finding:
        """Stored statistics: there, finite, and of these very rows."""
        if getattr(self._dataset, "numbers", None) is not None:
            return skip("stats", "computed from the rows on reading")
        try:
            stats = self._dataset.stats
        except VlaAdapterError as error:
            return Finding("stats", Level.FAIL, math.nan, str(error))
        faults = []
        for name in (layout.STATE, layout.ACTION):
            if name not in self._low:
                continue
            for statistic in ("min", "max", "mean", "std"):
                try:
                    values = np.asarray(stats.get(name, {}).get(statistic, []), dtype=np.float64)
                except (TypeError, ValueError, OverflowError):
                    values = np.empty(0)
                if values.size != np.size(self._low[name]) or not np.isfinite(values).all():
                    faults.append(f"{name}/{statistic} is missing or not finite")
            if not faults:
                span = np.maximum(self._high[name] - self._low[name], 1e-6)
                for statistic, true in (("min", self._low[name]), ("max", self._high[name])):
                    off = np.abs(np.ravel(stats[name][statistic]) - np.ravel(true)) / np.ravel(span)
                    if off.max() > 1e-3:
                        faults.append(f"{name}/{statistic} is not that of the rows")
        return count_faults("stats", faults, self._settings, "finite, and those of the rows")

    def _check_still(self) -> Finding:
        """State values that are the same in all episodes: they have no range to normalise by."""
        if layout.STATE not in self._low:
            return skip("still_values", f"no {layout.STATE}")
        names = names_of(self._dataset.features[layout.STATE], "state")
        spans = np.ravel(self._high[layout.STATE] - self._low[layout.STATE])
        still = [n for n, span in zip(names, spans, strict=True) if span <= self._settings.still_range]
        text = f"{len(still)} of {len(names)} state values are the same in all episodes{listed(still)}"
        return grade("still_values", len(still) / len(names), self._settings, text)


def samples_of(
    dataset: Dataset, rows: Mapping[str, np.ndarray], images: Mapping[str, np.ndarray], *, every_image: bool
) -> Samples:
    """What a verdict needs, from the rows of an episode and its measured images (as `measure_images`)."""
    count = len(rows["frame_index"])
    values, names = {}, {}
    for feature in (layout.STATE, layout.ACTION):
        column = rows.get(feature, np.empty((count, 0)))
        values[feature] = np.asarray(column, dtype=np.float64).reshape(count, -1)
        known = dataset.features.get(feature)
        names[feature] = names_of(known, feature) if known else ()
    stamps = rows.get(layout.STAMP)
    if stamps is None:  # some formats keep real times in the timestamps
        grid = np.arange(count) / dataset.fps
        stamps = rows["timestamp"] if np.abs(rows["timestamp"] - grid).max() > _GRID_S else None
    ages, sources = rows.get(layout.AGE), rows.get(layout.CONTROL_SOURCE)
    streams = dataset.features.get(layout.AGE, {}).get("names") or ()
    return Samples(
        dataset.fps,
        values[layout.STATE],
        values[layout.ACTION],
        names[layout.STATE],
        names[layout.ACTION],
        None if stamps is None else np.asarray(stamps, dtype=np.float64),
        None if ages is None else np.asarray(ages, dtype=np.float64).reshape(count, -1),
        tuple(streams),
        images,
        every_image,
        lossy=True,
        sources=None if sources is None else np.asarray(sources).reshape(count),
    )


def _check_contract(dataset: Dataset, settings: QualitySettings) -> Finding:
    contract = dataset.contract
    if contract is None:
        return skip("contract", "none; what needs one is skipped")
    faults = []
    for feature, wanted in ((layout.STATE, contract.state_names), (layout.ACTION, contract.action_names)):
        declared = dataset.features.get(feature)
        found = names_of(declared, feature) if declared else ()
        if found != wanted:
            faults.append(f"{feature} has {list(found)}, the contract {list(wanted)}")
    for name, camera in contract.cameras.items():
        shape = dataset.features.get(layout.image_key(name), {}).get("shape")
        if name not in dataset.cameras:
            faults.append(f"camera {name} is not there, only {list(dataset.cameras)}")
        elif shape and tuple(shape) != (camera.height, camera.width, 3):
            faults.append(f"camera {name} is {shape}, the contract says {camera.height} x {camera.width}")
    if dataset.fps != contract.rate_hz:
        faults.append(f"{dataset.fps:g} Hz, the contract says {contract.rate_hz:g} Hz")
    return count_faults(
        "contract", faults, settings, f"{contract.name}: names, cameras, sizes and rate agree"
    )


def _check_leftovers(dataset: Dataset, settings: QualitySettings) -> Finding:
    """Files that no episode uses: unfinished ones, and complete ones that were never committed."""
    root, used = dataset.root, set()
    for episode in dataset.episodes:
        used |= {episode.data, *(part.path for part in episode.videos.values())}
    there = [path for folder in ("data", "videos") for path in (root / folder).rglob("*") if path.is_file()]
    left = [path for path in there if path not in used]
    left += [path for path in (root / "meta").rglob(f"*{files.TEMPORARY}") if path not in left]
    names = sorted(str(path.relative_to(root)) for path in left)
    text = f"{len(names)} files that no episode uses{listed(names)}"
    if names and dataset.info.get("codebase_version") == layout.VERSION:  # the format that `repair` reads
        text += "; see `repair`"
    return grade("leftovers", len(names), settings, text)
