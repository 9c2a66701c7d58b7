"""Settings, answers and status of a recording session."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from vla_adapter_ros.choices import Choice, OnFail
from vla_adapter_ros.dataset.finished_episode import EpisodeSummary
from vla_adapter_ros.dataset.outcome import Label
from vla_adapter_ros.dataset.quality.findings import QualityReport
from vla_adapter_ros.dataset.trial_facts import TRIAL, TrialFacts
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.settings import CHECKED, refusing


class SessionState(Choice):
    """What a session is doing."""

    IDLE = "idle"
    RECORDING = "recording"
    PENDING = "pending"  # an episode waits to be saved or discarded


@refusing(ParameterError, "recorder")
@checked_dataclass(frozen=True, config=CHECKED)
class SessionSettings:
    """How a session behaves.

    Attributes:
        on_fail: What happens to an episode that fails its quality checks.
        min_disk_bytes: With less free space no episode starts, and one that is recorded ends [byte].
        silence_s: An episode ends when no good frame has come for so long [s].
        max_saving: Episodes that may wait for the disk before the next one is refused.
    """

    on_fail: OnFail = OnFail.ASK
    min_disk_bytes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e9
    silence_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    max_saving: Annotated[int, Field(ge=0)] = 2


@dataclass(frozen=True)
class Reply:
    """Answer to a command.

    Attributes:
        ok: Whether it was done, or is being done in `saved`.
        message: What happened, or why not, in one sentence.
        saved: Becomes the summary once the episode is on disk, or raises RecordingError.
        dropped: Frames that were left out of that episode.
        labeled: Becomes the number of the episode once its label is on disk, or raises RecordingError.
    """

    ok: bool
    message: str
    saved: Future[EpisodeSummary] | None = None
    dropped: int = 0
    labeled: Future[int] | None = None


@dataclass(frozen=True)
class SessionStatus:
    """What the session does, for a status line.

    Attributes:
        state: What the session is doing.
        reason: What is unusual, or what happened last; one sentence.
        episode: Number that the episode being recorded will get, -1 if none.
        episodes: Episodes on disk.
        saving: Episodes being finished.
        frames, dropped: Rows recorded and left out, of the current or else the last episode.
        rate_hz: True rate of the newest rows [Hz], 0 while nothing is recorded.
        queue_depth: Images waiting for an encoder.
        disk_left: Free space [byte].
        minutes_left: Recording time until the disk has reached its floor [min].
        report_lines: One line per check of the last episode that ended.
        newest: Number of the episode that the rest describes: recorded, waiting or saved last; -1: none.
        interventions: How often a human took over from the policy in it.
        intervention_share: Share of its rows that a human led in them.
        checkpoint: Checkpoint that led it; empty: none, or unknown.
        label: What was said of its outcome.
    """

    state: SessionState
    reason: str
    episode: int
    episodes: int
    saving: int
    frames: int
    dropped: int
    rate_hz: float
    queue_depth: int
    disk_left: float
    minutes_left: float
    report_lines: tuple[str, ...]
    newest: int = -1
    interventions: int = 0
    intervention_share: float = 0.0
    checkpoint: str = ""
    label: Label = field(default_factory=Label)


def describe(summary: EpisodeSummary, dropped: int) -> str:
    """A saved episode in one sentence."""
    return (
        f"saved episode {summary.index}: {summary.frames} frames in {summary.duration_s:.1f} s, "
        f"{summary.rate_hz:.2f} Hz, {dropped} left out"
    )


def notes_of(report: QualityReport, dropped: int, fault: str, facts: TrialFacts) -> dict[str, Any]:
    """What meta/recordings.json keeps of an episode."""
    notes = {
        TRIAL: facts.as_json(),
        "dropped": dropped,
        "level": report.level.value,
        "verdict": [c.as_json() for c in report.findings],
    }
    return notes | {"ended_early": fault} if fault else notes
