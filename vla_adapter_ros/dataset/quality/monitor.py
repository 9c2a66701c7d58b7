"""Watches an episode while it is recorded, so that its quality report is there before it is saved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.episode import validate_episode
from vla_adapter_ros.dataset.quality.findings import QualityReport
from vla_adapter_ros.dataset.quality.images import ImageMeter
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import DEFAULTS, QualitySettings
from vla_adapter_ros.errors import FrameError
from vla_adapter_ros.observation.frame import Frame


@dataclass
class _Seen:
    """What was seen of an episode; lists have an entry per row."""

    meters: dict[str, ImageMeter]
    states: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)
    ages: list[list[float]] = field(default_factory=list)
    streams: tuple[str, ...] = ()
    periods: Mapping[str, float] = field(default_factory=dict)
    dropped: int = 0
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)


class EpisodeMonitor:
    """Watches an episode while it is recorded; about 0.06 ms per image, 200 bytes per row.

    Args:
        contract: Names, rate, limits and gripper of the robot.
        settings: Thresholds.
    """

    def __init__(self, contract: Contract, settings: QualitySettings = DEFAULTS) -> None:
        self._contract, self._settings = contract, settings
        self._seen = self._nothing_seen()

    def _nothing_seen(self) -> _Seen:
        return _Seen({name: ImageMeter(self._settings) for name in self._contract.cameras})

    def clear(self) -> None:
        """Begin another episode."""
        self._seen = self._nothing_seen()

    @property
    def num_frames(self) -> int:
        """Frames added since the last `clear`."""
        return len(self._seen.stamps)

    def add_frame(self, frame: Frame) -> None:
        """Add a frame that was recorded.

        Raises:
            FrameError: it has no action.
        """
        if frame.action is None:
            raise FrameError(f"frame of {frame.stamp:.3f} s: allowed is one with an action")
        seen = self._seen
        seen.streams = seen.streams or tuple(frame.ages)
        seen.stamps.append(frame.stamp)
        seen.periods = frame.periods
        seen.states.append(frame.state)
        seen.actions.append(frame.action)
        seen.ages.append([frame.ages.get(name, math.nan) for name in seen.streams])
        for name, meter in seen.meters.items():
            meter.add_image(frame.images[name])

    def count_dropped(self, count: int = 1) -> None:
        """Count frames that were left out."""
        self._seen.dropped += count

    def count_refused_image(self, camera: str, why: str) -> None:
        """Count an image that could not be used."""
        count, first = self._seen.refused.get(camera, (0, why))
        self._seen.refused[camera] = count + 1, first

    def validate(self, sources: Sequence[int] | None = None, obstacle: str = "") -> QualityReport:
        """Make all checks of the episode as it is so far; it needs at least one frame.

        Args:
            sources: Who led in each row, (T,); None: not known.
            obstacle: Why nothing could move; empty: nothing says so.
        """
        contract, seen = self._contract, self._seen
        samples = Samples(
            fps=contract.rate_hz,
            state=np.array(seen.states, dtype=np.float64),
            action=np.array(seen.actions, dtype=np.float64),
            state_names=contract.state_names,
            action_names=contract.action_names,
            stamps=np.array(seen.stamps),
            ages=np.array(seen.ages) if seen.streams else None,
            streams=seen.streams,
            images={name: meter.measured for name, meter in seen.meters.items()},
            dropped=seen.dropped,
            refused=dict(seen.refused),
            sources=None if sources is None else np.array(sources),
            periods=seen.periods,
            obstacle=obstacle,
        )
        return validate_episode(samples, self._settings, contract)
