"""What the pages show of the robot, as plain values; who fills them need not know the pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """What became of a command: whether it was done, and a sentence."""

    done: bool
    text: str


@dataclass(frozen=True)
class Stream:
    """Rate of a stream [Hz], and the age of its newest sample [s]; infinite: none came."""

    name: str
    rate_hz: float
    age_s: float


@dataclass(frozen=True)
class Recorder:
    """What the recorder does; `state` is empty where none runs.

    Attributes:
        state: idle, recording or pending; empty: no recorder.
        reason: What is unusual, or happened last.
        instruction: Of the newest episode.
        episode, episodes, saving, frames, dropped: Counts, as in `RecorderStatus`.
        rate_hz: True rate [Hz].
        minutes_left: Recording time left on the disk [min]; NaN: unknown.
        verdict: Lines of the last episode's quality report.
        newest: Number of the episode that is recorded, waits or was saved last; -1: none.
        interventions: How often a human took over from the policy in it.
        outcome, outcome_reason: How it ended, as the operator said; empty: nothing was said.
        reasons: That the laboratory offers for an outcome.
    """

    state: str = ""
    reason: str = ""
    instruction: str = ""
    episode: int = -1
    episodes: int = 0
    saving: int = 0
    frames: int = 0
    dropped: int = 0
    rate_hz: float = 0.0
    minutes_left: float = float("nan")
    verdict: tuple[str, ...] = ()
    newest: int = -1
    interventions: int = 0
    outcome: str = ""
    outcome_reason: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class RobotView:
    """The robot at one moment.

    Attributes:
        name: The contract's name of it.
        namespace: Of its nodes.
        state: Of the controller; empty where none is heard.
        leader: Who leads, in words.
        why: The first cause why nothing moves, in a sentence; empty: nothing stands against motion.
        instruction: What the policy follows; empty: nothing.
        mode: Of the controller.
        speed: At which the policy's motion is carried out.
        facts: Further lines, title -> text: latency, starvation, checkpoint, GPU.
        streams: Rates and ages.
        nodes: Node -> how it is.
        recorder: See there.
        checkpoint: What the policy has loaded; empty: nothing.
    """

    name: str
    namespace: str = "/"
    state: str = ""
    leader: str = "nobody leads"
    why: str = ""
    instruction: str = ""
    mode: str = "drive"
    speed: float = 1.0
    facts: Mapping[str, str] = field(default_factory=dict)
    streams: tuple[Stream, ...] = ()
    nodes: Mapping[str, str] = field(default_factory=dict)
    recorder: Recorder = field(default_factory=Recorder)
    checkpoint: str = ""

    @property
    def moves(self) -> bool:
        """Whether the arm moves, or may at any moment."""
        return self.state in ("running", "homing")
