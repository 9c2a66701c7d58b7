"""Goes through a data set once: what a verdict needs of each episode, and the checks of the whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.description import names_of
from vla_adapter_ros.dataset.metadata import EpisodeTables
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.quality.across import EpisodeFacts, compare_episodes, facts_of
from vla_adapter_ros.dataset.quality.all_rows import (
    JoinedRows,
    check_still_values,
    check_timing,
    judge_all_rows,
)
from vla_adapter_ros.dataset.quality.checks import Need, Place, Scope, checks_of
from vla_adapter_ros.dataset.quality.episode import judge
from vla_adapter_ros.dataset.quality.findings import Finding, Verdict, skip
from vla_adapter_ros.dataset.quality.images import MEAN, ImageMeter
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings, count_faults
from vla_adapter_ros.dataset.quality.stored import ColumnSums
from vla_adapter_ros.dataset.quality.stored_files import StoredFiles
from vla_adapter_ros.errors import VlaAdapterError

_GRID_S = 1e-3  # timestamps this far from row / fps are no longer rounding [s]
_SHORT = 100  # rows up to which all images are decoded: three windows cost as much
_WINDOWS = 3
_WINDOW_S = 0.65  # enough that a camera which is frozen all the time is seen to be
_LEAST_WINDOW = 16


class DatasetScan:
    """Looks at episodes one after the other and gathers what the checks of the whole need.

    Args:
        dataset: The data set.
        settings: Thresholds.
        decode: Whether to look at every image; if not, at three windows of each long episode and camera.
        most_looked: In how many episodes to look at images, evenly spread; None: in all.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: QualitySettings,
        decode: bool = False,
        most_looked: int | None = None,
    ) -> None:
        self._dataset, self._settings, self._decode = dataset, settings, decode
        every = max(1, math.ceil(dataset.num_episodes / most_looked)) if most_looked else 1
        self._looked = range(0, dataset.num_episodes, every)
        self._raw: Dataset = getattr(dataset, "reader", dataset)
        self._faults: dict[str, list[str]] = {"rows": [], "timestamps": [], "decoding": []}
        self._sizes: list[str] = []
        self._sums: dict[str, ColumnSums] = {}  # of the columns as they are stored
        self._episode_sums: dict[int, dict[str, ColumnSums]] = {}
        self._state_range: list[tuple[np.ndarray, np.ndarray]] = []
        self._levels: dict[str, list[float]] = {}  # camera -> mean level of the images of each episode
        self._used_tasks: set[int] = set()
        self._changing = 0  # episodes whose task changes on the way
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self._frames = self._decoded = self._windows = self._without_file = 0
        self.stamps: list[np.ndarray] = []
        """True times of the rows of each episode [s], of those that have some."""
        self.facts: list[EpisodeFacts] = []
        """Of each episode that could be read."""

    def look(self, episode: int) -> Verdict | None:
        """Read an episode; its verdict, or None if it cannot be read."""
        try:
            rows = self._dataset.rows(episode)
            stored = rows if self._raw is self._dataset else self._raw.rows(episode)
        except VlaAdapterError as error:
            self._faults["rows"].append(str(error))
            return None
        count = len(rows["frame_index"])
        if count == 0:
            self._faults["rows"].append(f"episode {self._dataset.episodes[episode].number} has none")
            return None
        self._note(episode, rows, count)
        self._sum_up(episode, stored)
        samples = samples_of(self._dataset, rows, {})
        looked = None if self._decode or count <= _SHORT else windows(samples)
        images, looks = self._look_at_images(episode, count, looked) if episode in self._looked else ({}, {})
        samples = samples_of(self._dataset, rows, images, looked)
        if samples.stamps is not None:
            self.stamps.append(samples.stamps)
        self._parts.append((samples.state, samples.action))
        task = int(np.ravel(rows["task_index"])[0])
        sentence = self._dataset.tasks[task] if 0 <= task < len(self._dataset.tasks) else ""
        self.facts.append(facts_of(episode, sentence, samples, self._dataset.contract, looks))
        return judge(samples, self._settings, self._dataset.contract)

    def findings(self, *, all_rows: bool = True) -> tuple[Finding, ...]:
        """The checks of the whole, after all episodes were looked at.

        Args:
            all_rows: Whether to make those that put the rows of all episodes together.
        """
        dataset, settings = self._dataset, self._settings
        files = StoredFiles(dataset, settings)
        tables = EpisodeTables(self._raw)
        levels = {camera: float(np.mean(values)) / 255 for camera, values in self._levels.items() if values}
        found = [
            files.check_format(),
            *self._found_in_rows(),
            files.check_images(self._sizes),
            self._check_decoding(),
            files.check_tasks(self._used_tasks if self._frames else None, self._changing),
            files.check_stats(self._raw, self._sums, levels if self._raw is dataset else {}),
            self._check_episode_stats(tables),
            self._check_still(),
            files.check_contract(),
            files.check_leftovers(),
            count_faults(
                "metadata", tables.structure_faults(), settings, "counts, splits, times and places agree"
            ),
            files.check_videos(),
            files.check_codecs(),
            *compare_episodes(self.facts, dataset.fps, settings),
            check_timing(self.stamps, dataset.fps, settings),
            *(self._check_all_rows(dataset.contract) if all_rows else ()),
        ]
        order = [check.name for check in checks_of(Scope.DATASET)]
        return tuple(sorted(found, key=lambda finding: order.index(finding.name)))

    def _note(self, episode: int, rows: Mapping[str, np.ndarray], count: int) -> None:
        facts, frame_index = self._dataset.episodes[episode], np.arange(count)
        number = facts.number
        wanted = {"frame_index": frame_index, "index": facts.first_row + frame_index}
        wanted["episode_index"] = np.full(count, episode)
        for name, column in wanted.items():
            if not np.array_equal(rows[name], column):
                self._faults["rows"].append(f"{name} of episode {number} has gaps or begins elsewhere")
        off = float(np.abs(rows["timestamp"] - frame_index / self._dataset.fps).max())
        if not off <= _GRID_S:
            self._faults["timestamps"].append(f"episode {number} is up to {off:.3f} s off row / rate")
        stamps = rows.get(layout.STAMP)
        if stamps is not None and not np.isfinite(stamps).all() and np.isfinite(stamps).any():
            self._faults["timestamps"].append(
                f"{layout.STAMP} of episode {episode} has values that are not finite"
            )
        tasks = np.unique(rows["task_index"])
        self._used_tasks.update(int(n) for n in tasks)
        self._changing += len(tasks) > 1
        self._frames += count
        state = rows.get(layout.STATE)
        if state is not None and np.isfinite(state).all():
            state = np.asarray(state, dtype=np.float64).reshape(count, -1)
            self._state_range.append((state.min(axis=0), state.max(axis=0)))

    def _sum_up(self, episode: int, stored: Mapping[str, np.ndarray]) -> None:
        """Exact statistics of the columns as they are stored."""
        sums = {
            name: ColumnSums.of(stored[name])
            for name in (layout.STATE, layout.ACTION)
            if name in stored and stored[name].dtype.kind in "iuf" and np.isfinite(stored[name]).all()
        }
        self._episode_sums[episode] = sums
        for name, one in sums.items():
            fits = name not in self._sums or self._sums[name].low.shape == one.low.shape
            if fits:
                self._sums[name] = self._sums[name].joined(one) if name in self._sums else one

    def _look_at_images(
        self, episode: int, count: int, looked: np.ndarray | None
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Measure the images of an episode: camera -> (M, 4), and -> their mean in blocks."""
        images, looks = {}, {}
        number = self._dataset.episodes[episode].number
        for camera in self._dataset.cameras:
            part = self._dataset.episodes[episode].videos.get(camera)
            if part is not None and not part.path.is_file():
                self._without_file += 1  # `images` names the file
                continue
            meter, sizes = ImageMeter(self._settings), set()
            try:
                for span in spans(looked, count):
                    meter.leap()
                    for image in self._dataset.images(camera, episode, span):
                        sizes.add(image.shape)
                        meter.add(image)
            except VlaAdapterError as error:
                self._faults["decoding"].append(f"camera {camera}, episode {number}: {error}")
                continue
            self._decoded += len(meter.rows)
            self._windows += looked is not None
            self._check_size(camera, number, sizes)
            if meter.look is not None:
                images[camera], looks[camera] = meter.measured, meter.look
                self._levels.setdefault(camera, []).append(float(meter.measured[:, MEAN].mean()))
        return images, looks

    def _check_size(self, camera: str, number: int, sizes: set[tuple[int, ...]]) -> None:
        key = layout.image_key(camera)
        feature = self._dataset.features.get(key)
        declared = tuple(feature["shape"]) if feature else None
        if declared is not None and sizes - {declared, (*declared[:2], 3)}:  # gray is shown as colors
            self._sizes.append(
                f"camera {camera}, episode {number}: {sorted(sizes)}, info.json says {declared}"
            )

    def _found_in_rows(self) -> list[Finding]:
        if not self._frames and not self._faults["rows"]:
            return [skip(name, "there are no rows") for name in ("rows", "timestamps")]
        rows = count_faults(
            "rows", self._faults["rows"], self._settings, f"{self._frames}, numbered without gaps"
        )
        if not self._frames:
            return [rows, skip("timestamps", "no rows could be read")]
        times = self._faults["timestamps"]
        return [rows, count_faults("timestamps", times, self._settings, "row / rate in every episode")]

    def _check_decoding(self) -> Finding:
        faults = self._faults["decoding"]
        if not faults and not self._decoded:
            why = (
                "no video is there" if self._without_file else "no images are there, or no rows could be read"
            )
            return skip("decoding", why)
        how = "windows of the long episodes, all of the others" if self._windows else "all"
        if len(self._looked) < self._dataset.num_episodes:
            how = f"of {len(self._looked)} of {self._dataset.num_episodes} episodes"
        more = f", {self._without_file} videos are missing" if self._without_file else ""
        return count_faults(
            "decoding", faults, self._settings, f"{self._decoded} images decoded ({how}{more})"
        )

    def _check_episode_stats(self, tables: EpisodeTables) -> Finding:
        faults, bad, known = tables.statistics_faults(self._episode_sums)
        if not known:
            return skip("episode_stats", "none are stored, or no rows could be read")
        good = f"those of the rows, in {len(self._episode_sums)} episodes"
        return count_faults("episode_stats", faults, self._settings, good, episodes=tuple(sorted(bad)))

    def _check_still(self) -> Finding:
        """State values that are the same in all episodes: they have no range to normalize by."""
        if not self._state_range:
            return skip("still_values", f"no {layout.STATE}, or no rows could be read")
        names = names_of(self._dataset.features[layout.STATE], "state")
        low = np.min([part[0] for part in self._state_range], axis=0)
        high = np.max([part[1] for part in self._state_range], axis=0)
        return check_still_values(names, high - low, self._settings)

    def _check_all_rows(self, contract: Contract | None) -> list[Finding]:
        names = [
            c.name for c in checks_of(Scope.DATASET, Place.CHECK) if {Need.EPISODES, Need.CONTRACT} <= c.needs
        ]
        if contract is None:
            return [skip(name, "no contract") for name in names]
        widths = (len(contract.state_names), len(contract.action_names))
        parts = [p for p in self._parts if (p[0].shape[1], p[1].shape[1]) == widths]
        parts = [p for p in parts if np.isfinite(p[0]).all() and np.isfinite(p[1]).all()]
        if not parts:
            return [skip(name, "no episode with finite values under the contract's names") for name in names]
        lengths = np.array([len(state) for state, _ in parts])
        rows = JoinedRows(
            np.concatenate([state for state, _ in parts]),
            np.concatenate([action for _, action in parts]),
            np.repeat(np.arange(len(parts)), lengths),
            np.repeat(np.cumsum(lengths) - lengths, lengths),
            contract,
        )
        return judge_all_rows(rows, self._settings)


def windows(samples: Samples) -> np.ndarray:
    """Rows whose images are looked at in a long episode, int (M,): where its state moves most, in each third.

    The first and the last row are among them.
    """
    count = len(samples.state)
    size = max(_LEAST_WINDOW, math.ceil(_WINDOW_S * samples.fps))
    step = np.zeros(count)
    if samples.state.shape[1]:
        way = np.maximum(np.ptp(samples.state, axis=0), 1e-9)
        step[1:] = np.nan_to_num(np.abs(np.diff(samples.state, axis=0) / way)).sum(axis=1)
    rows = {0, count - 1}
    for part in np.array_split(np.arange(count), _WINDOWS):
        length = min(size, len(part))
        motion = np.convolve(step[part], np.ones(length), mode="valid")
        first = int(part[0]) + int(motion.argmax())
        rows |= set(range(first, first + length))
    return np.array(sorted(rows))


def spans(looked: np.ndarray | None, count: int) -> Iterator[range]:
    """Rows that follow each other, of those to look at; all of `count` if None."""
    if looked is None:
        yield range(count)
        return
    for part in np.split(looked, np.flatnonzero(np.diff(looked) != 1) + 1):
        yield range(int(part[0]), int(part[-1]) + 1)


def samples_of(
    dataset: Dataset,
    rows: Mapping[str, np.ndarray],
    images: Mapping[str, np.ndarray],
    looked: np.ndarray | None = None,
) -> Samples:
    """What a verdict needs, from the rows of an episode.

    Args:
        dataset: The data set.
        rows: Columns of the episode.
        images: Camera -> measured images, as of `ImageMeter`.
        looked: Rows whose images were looked at; None: all.

    Returns:
        Stamps and ages are None, or their stream is left out, where they were not recorded: where there is
        no column, where it holds NaN throughout, or where all ages are 0 and all times are row / rate from 0,
        as imports once wrote them.
    """
    count = len(rows["frame_index"])
    values, names = {}, {}
    for feature in (layout.STATE, layout.ACTION):
        column = rows.get(feature, np.empty((count, 0)))
        values[feature] = np.asarray(column, dtype=np.float64).reshape(count, -1)
        known = dataset.features.get(feature)
        names[feature] = names_of(known, feature) if known else ()
    grid = np.arange(count) / dataset.fps
    ages, streams = _known_ages(dataset, rows, count)
    stamps = _known_column(rows.get(layout.STAMP), count)
    made_up = stamps is None or np.abs(stamps - grid).max() < 1e-6
    if ages is None or (made_up and not np.nan_to_num(ages).any()):
        ages, streams = None, ()
        stamps = None if made_up else stamps
    if stamps is None and np.abs(rows["timestamp"] - grid).max() > _GRID_S:
        stamps = np.asarray(rows["timestamp"], dtype=np.float64)  # some formats keep real times there
    sources = rows.get(layout.CONTROL_SOURCE)
    return Samples(
        dataset.fps,
        values[layout.STATE],
        values[layout.ACTION],
        names[layout.STATE],
        names[layout.ACTION],
        stamps,
        ages,
        streams,
        images,
        looked,
        sources=None if sources is None else np.asarray(sources).reshape(count),
    )


def _known_column(column: np.ndarray | None, count: int) -> np.ndarray | None:
    """A column of numbers, float64 (T,), or None where it is not there or holds a NaN."""
    if column is None or column.dtype.kind not in "iuf":
        return None
    plain = np.asarray(column, dtype=np.float64).reshape(count)
    return plain if np.isfinite(plain).all() else None


def _known_ages(
    dataset: Dataset, rows: Mapping[str, np.ndarray], count: int
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Ages of the streams that have some, float64 (T, N) [s], and their names."""
    column = rows.get(layout.AGE)
    if column is None or column.dtype.kind not in "iuf":
        return None, ()
    ages = np.asarray(column, dtype=np.float64).reshape(count, -1)
    names = names_of(dataset.features[layout.AGE], "stream") if layout.AGE in dataset.features else ()
    if len(names) != ages.shape[1]:
        names = tuple(f"stream{n}" for n in range(ages.shape[1]))
    known = np.isfinite(ages).any(axis=0)
    if not known.any():
        return None, ()
    return ages[:, known], tuple(np.array(names)[known].tolist())
