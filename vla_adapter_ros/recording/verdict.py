"""Judges an episode: while it is recorded, before it is saved, or from a data set on disk.

Every check gives one number, which is compared with two thresholds: beyond the
first it warns, beyond the second it fails. What a check needs and does not get
(real stamps, ages, images, a contract) makes it say `skip`, never `pass`.

Nothing has to be decoded while recording: each image leaves four numbers
behind, which are taken from a thinned copy of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.recording.frame import Frame
from vla_adapter_ros.recording.verdict_checks import CHECKS
from vla_adapter_ros.recording.verdict_types import (
    FAIL,
    PASS,
    SKIP,
    WARN,
    Check,
    Samples,
    Verdict,
    VerdictSettings,
    read_settings,
)

__all__ = [
    "FAIL", "PASS", "SKIP", "WARN", "Check", "EpisodeMonitor", "Samples", "Verdict", "VerdictSettings",
    "judge", "measure_images", "names_of", "read_settings",
]  # fmt: skip

_THINNED_WIDTH = 64  # images are thinned to at most this width before they are measured
_BLOCKS = 8  # an image is summed up in 8 x 8 blocks


def summarize_image(image: np.ndarray, saturated_level: float = 250.0) -> tuple[np.ndarray, float]:
    """Sum up an image, uint8 (H, W, 3).

    Returns:
        Mean level of 8 x 8 blocks and 3 channels, float32 (8, 8, 3) (fewer blocks in images of less than
        8 pixels), and the share of values that are saturated.
    """
    step = max(1, -(-image.shape[1] // _THINNED_WIDTH))
    thinned = image[::step, ::step]
    rows, columns = min(_BLOCKS, thinned.shape[0]), min(_BLOCKS, thinned.shape[1])
    height, width = thinned.shape[0] // rows, thinned.shape[1] // columns
    values = thinned[: rows * height, : columns * width].astype(np.float32)
    # Two sums over one axis each are several times faster than one mean over two.
    blocks = values.reshape(rows, height, columns * width * 3).sum(axis=1)
    blocks = blocks.reshape(rows, columns, width, 3).sum(axis=2) / (height * width)
    return blocks, np.count_nonzero(values >= saturated_level) / values.size


def measure_image(blocks: np.ndarray, saturated: float, before: np.ndarray | None) -> np.ndarray:
    """Four numbers that stay of an image: float64 (4,).

    Largest change of a block since the image before (inf without one), mean level, level of the
    brightest block, share of saturated values. Arguments as `summarize_image` returns them.
    """
    change = math.inf if before is None else float(np.abs(blocks - before).max())
    return np.array([change, float(blocks.mean()), float(blocks.max()), saturated])


def measure_images(images: Iterable[np.ndarray], settings: VerdictSettings) -> np.ndarray:
    """Measure images one after the other, uint8 (H, W, 3) each: float64 (M, 4)."""
    rows, before = [], None
    for image in images:
        blocks, saturated = summarize_image(image, settings.saturated_level)
        rows.append(measure_image(blocks, saturated, before))
        before = blocks
    return np.array(rows).reshape(-1, 4)


class EpisodeMonitor:
    """Watches an episode while it is recorded; about 0.06 ms per image, 200 bytes per row.

    Args:
        contract: Names, rate, limits and gripper of the robot.
        settings: Thresholds.
    """

    def __init__(self, contract: Contract, settings: VerdictSettings | None = None) -> None:
        self._contract, self._settings = contract, settings or VerdictSettings()
        self.clear()

    def clear(self) -> None:
        """Begin another episode."""
        self._stamps: list[float] = []
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []
        self._ages: list[list[float]] = []
        self._streams: tuple[str, ...] = ()
        self._periods: Mapping[str, float] = {}
        self._images: dict[str, list[np.ndarray]] = {}
        self._blocks: dict[str, np.ndarray] = {}
        self._dropped = 0
        self._refused: dict[str, tuple[int, str]] = {}

    @property
    def num_frames(self) -> int:
        """Frames added since the last `clear`."""
        return len(self._rows)

    def add(self, frame: Frame) -> None:
        """Take note of a frame that was recorded (it has an action and all images)."""
        self._streams = self._streams or tuple(frame.ages)
        self._stamps.append(frame.stamp)
        self._periods = frame.periods
        self._rows.append((frame.state, frame.action))
        self._ages.append([frame.ages.get(name, math.nan) for name in self._streams])
        for name in self._contract.cameras:
            image = frame.images[name]
            blocks, saturated = summarize_image(image, self._settings.saturated_level)
            measured = measure_image(blocks, saturated, self._blocks.get(name))
            self._images.setdefault(name, []).append(measured)
            self._blocks[name] = blocks

    def drop(self, count: int = 1) -> None:
        """Take note of frames that were left out."""
        self._dropped += count

    def refuse(self, camera: str, why: str) -> None:
        """Take note of an image that could not be used."""
        count, first = self._refused.get(camera, (0, why))
        self._refused[camera] = count + 1, first

    def judge(self, sources: Sequence[int] | None = None, obstacle: str = "") -> Verdict:
        """Judge the episode as it is so far; needs at least one frame.

        Args:
            sources: Who led in each row, (T,); None: not known.
            obstacle: Why nothing could move; empty: nothing says so.
        """
        contract = self._contract
        samples = Samples(
            fps=contract.rate_hz,
            state=np.array([state for state, _ in self._rows], dtype=np.float64),
            action=np.array([action for _, action in self._rows], dtype=np.float64),
            state_names=contract.state_names,
            action_names=contract.action_names,
            stamps=np.array(self._stamps),
            ages=np.array(self._ages) if self._streams else None,
            streams=self._streams,
            images={name: np.array(rows) for name, rows in self._images.items()},
            dropped=self._dropped,
            refused=dict(self._refused),
            sources=None if sources is None else np.array(sources),
            periods=self._periods,
            obstacle=obstacle,
        )
        return judge(samples, self._settings, contract)


def judge(samples: Samples, settings: VerdictSettings, contract: Contract | None = None) -> Verdict:
    """All checks of an episode of at least one row; those that need a contract are skipped without one."""
    return Verdict(tuple(check(samples, settings, contract) for check in CHECKS))


def names_of(feature: Mapping[str, Any], prefix: str) -> tuple[str, ...]:
    """Names of a feature's dimensions, however they are nested; prefix and number where there are none."""
    names: Any = feature.get("names")
    if isinstance(names, Mapping):
        names = [name for part in names.values() for name in (part if isinstance(part, Sequence) else [part])]
    width = int(feature["shape"][0])
    if not isinstance(names, Sequence) or len(names) != width:
        return tuple(f"{prefix}{n}" for n in range(width))
    return tuple(str(name) for name in names)
