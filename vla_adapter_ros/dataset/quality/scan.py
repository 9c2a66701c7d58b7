"""Goes through a data set once: the checks of each episode, and of the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.info_json import names_of
from vla_adapter_ros.dataset.metadata import EpisodeTables
from vla_adapter_ros.dataset.opening import Dataset, stored_reader
from vla_adapter_ros.dataset.quality.across import EpisodeFacts, compare_episodes, facts_of
from vla_adapter_ros.dataset.quality.all_rows import validate_rows
from vla_adapter_ros.dataset.quality.checks import Need, Place, Scope, checks_of
from vla_adapter_ros.dataset.quality.clock import check_timing
from vla_adapter_ros.dataset.quality.episode import validate_episode
from vla_adapter_ros.dataset.quality.findings import Finding, QualityReport, skip
from vla_adapter_ros.dataset.quality.image_windows import MAX_WHOLE_ROWS, spans, windows
from vla_adapter_ros.dataset.quality.images import MEAN, ImageMeter
from vla_adapter_ros.dataset.quality.samples import JoinedRows, describing_contract
from vla_adapter_ros.dataset.quality.settings import QualitySettings, count_faults
from vla_adapter_ros.dataset.quality.stored import ColumnSums
from vla_adapter_ros.dataset.quality.stored_files import StoredFiles
from vla_adapter_ros.dataset.quality.stored_samples import GRID_S, samples_of
from vla_adapter_ros.dataset.quality.value_ranges import check_still_values
from vla_adapter_ros.errors import VlaAdapterError


class DatasetScan:
    """Validates episodes one after the other and gathers what the checks of the whole need.

    Args:
        dataset: The data set.
        settings: Thresholds.
        decode: Whether to look at every image; if not, at three windows of each long episode and camera.
        max_image_episodes: In how many episodes to look at images, evenly spread; None: in all.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: QualitySettings,
        decode: bool = False,
        max_image_episodes: int | None = None,
    ) -> None:
        self._dataset, self._settings, self._decode = dataset, settings, decode
        every = max(1, math.ceil(dataset.num_episodes / max_image_episodes)) if max_image_episodes else 1
        self._with_images = range(0, dataset.num_episodes, every)
        self._raw = stored_reader(dataset)
        self._faults: dict[str, list[str]] = {"rows": [], "timestamps": [], "decoding": []}
        self._sizes: list[str] = []
        self._sums: dict[str, ColumnSums] = {}  # of the columns as they are stored
        self._episode_sums: dict[int, dict[str, ColumnSums]] = {}
        self._state_range: list[tuple[np.ndarray, np.ndarray]] = []
        self._levels: dict[str, list[float]] = {}  # camera -> mean level of the images of each episode
        self._used_tasks: set[int] = set()
        self._changing = 0  # episodes whose task changes on the way
        self._described: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        """Number of an episode that the contract describes -> its state and action."""
        self._frames = self._decoded = self._windows = self._without_file = 0
        self.stamps: list[np.ndarray] = []
        """True times of the rows of each episode [s], of those that have some."""
        self.facts: list[EpisodeFacts] = []
        """Of each episode that could be read."""

    def validate_episode(self, episode: int) -> QualityReport | None:
        """Read the episode at a place and make its checks; None if it cannot be read.

        A contract of another number of values counts as none, in every check.
        """
        number = self._dataset.episodes[episode].number
        try:
            rows = self._dataset.rows(episode)
            stored = rows if self._raw is self._dataset else self._raw.rows(episode)
        except VlaAdapterError as error:
            self._faults["rows"].append(str(error))
            return None
        count = len(rows["frame_index"])
        if count == 0:
            self._faults["rows"].append(f"episode {number} has none")
            return None
        self._check_numbering(episode, rows, count)
        self._sum_up(number, stored)
        samples = samples_of(self._dataset, rows, {})
        looked = None if self._decode or count <= MAX_WHOLE_ROWS else windows(samples)
        has_images = episode in self._with_images
        images, mean_images = self._measure_images(episode, count, looked) if has_images else ({}, {})
        samples = samples_of(self._dataset, rows, images, looked)
        contract = describing_contract(samples, self._dataset.contract)
        if samples.stamps is not None:
            self.stamps.append(samples.stamps)
        if contract is not None:
            self._described[number] = samples.state, samples.action
        task = int(np.ravel(rows["task_index"])[0])
        instruction = self._dataset.tasks[task] if 0 <= task < len(self._dataset.tasks) else ""
        self.facts.append(facts_of(number, instruction, samples, contract, mean_images))
        return validate_episode(samples, self._settings, contract)

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
            files.check_stats(self._sums, levels if self._raw is dataset else {}),
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

    def _check_numbering(self, episode: int, rows: Mapping[str, np.ndarray], count: int) -> None:
        facts, frame_index = self._dataset.episodes[episode], np.arange(count)
        number = facts.number
        wanted = {"frame_index": frame_index, "index": facts.first_row + frame_index}
        wanted["episode_index"] = np.full(count, episode)
        for name, column in wanted.items():
            if not np.array_equal(rows[name], column):
                self._faults["rows"].append(f"{name} of episode {number} has gaps or begins elsewhere")
        off = float(np.abs(rows["timestamp"] - frame_index / self._dataset.fps).max())
        if not off <= GRID_S:
            self._faults["timestamps"].append(f"episode {number} is up to {off:.3f} s off row / rate")
        stamps = rows.get(layout.STAMP)
        if stamps is not None and not np.isfinite(stamps).all() and np.isfinite(stamps).any():
            self._faults["timestamps"].append(
                f"{layout.STAMP} of episode {number} has values that are not finite"
            )
        tasks = np.unique(rows["task_index"])
        self._used_tasks.update(int(n) for n in tasks)
        self._changing += len(tasks) > 1
        self._frames += count
        state = rows.get(layout.STATE)
        if state is not None and np.isfinite(state).all():
            state = np.asarray(state, dtype=np.float64).reshape(count, -1)
            self._state_range.append((state.min(axis=0), state.max(axis=0)))

    def _sum_up(self, number: int, stored: Mapping[str, np.ndarray]) -> None:
        """Exact statistics of the columns as they are stored."""
        sums = {
            name: ColumnSums.of(stored[name])
            for name in (layout.STATE, layout.ACTION)
            if name in stored and stored[name].dtype.kind in "iuf" and np.isfinite(stored[name]).all()
        }
        self._episode_sums[number] = sums
        for name, one in sums.items():
            fits = name not in self._sums or self._sums[name].low.shape == one.low.shape
            if fits:
                self._sums[name] = self._sums[name].joined(one) if name in self._sums else one

    def _measure_images(
        self, episode: int, count: int, looked: np.ndarray | None
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Measure the images of an episode: camera -> (M, 4), and -> their mean in blocks."""
        images, mean_images = {}, {}
        number = self._dataset.episodes[episode].number
        for camera in self._dataset.cameras:
            part = self._dataset.episodes[episode].videos.get(camera)
            if part is not None and not part.path.is_file():
                self._without_file += 1  # `images` names the file
                continue
            meter, sizes = ImageMeter(self._settings), set()
            try:
                for span in spans(looked, count):
                    meter.forget_image()
                    for image in self._dataset.images(camera, episode, span):
                        sizes.add(image.shape)
                        meter.add_image(image)
            except VlaAdapterError as error:
                self._faults["decoding"].append(f"camera {camera}, episode {number}: {error}")
                continue
            self._decoded += len(meter.measurements)
            self._windows += looked is not None
            self._check_size(camera, number, sizes)
            if meter.mean_image is not None:
                images[camera], mean_images[camera] = meter.measured, meter.mean_image
                self._levels.setdefault(camera, []).append(float(meter.measured[:, MEAN].mean()))
        return images, mean_images

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
        if len(self._with_images) < self._dataset.num_episodes:
            how = f"of {len(self._with_images)} of {self._dataset.num_episodes} episodes"
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
        finite = {
            number: part
            for number, part in self._described.items()
            if np.isfinite(part[0]).all() and np.isfinite(part[1]).all()
        }
        if not finite:
            return [skip(name, "no episode with finite values under the contract's names") for name in names]
        lengths = np.array([len(state) for state, _ in finite.values()])
        rows = JoinedRows(
            np.concatenate([state for state, _ in finite.values()]),
            np.concatenate([action for _, action in finite.values()]),
            np.repeat(list(finite), lengths),
            np.repeat(np.cumsum(lengths) - lengths, lengths),
            contract,
        )
        return validate_rows(rows, self._settings)
