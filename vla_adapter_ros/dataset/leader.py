"""Who led the arm when: what the controller says of it, and what follows where there is no controller.

Without a controller, whoever commands is a human: somebody leads the arm through drivers of their own. No ROS
here.
"""

from __future__ import annotations

import bisect
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.layout import HUMAN, SOURCE_NUMBERS

SILENCE_S = 1.0  # a controller that is silent for longer is none
JUMP_BACK_S = 0.5  # a report stamped this much earlier tells of a clock that was set back, not of a detour
STILL = ("disarmed", "stopped")
NOBODY = SOURCE_NUMBERS["none"]
_MOST_REMARKS = 3  # of one kind about one episode


@dataclass(frozen=True)
class Report:
    """What a controller says of itself: see `ControllerStatus`.

    Attributes:
        stamp: Control tick that it describes [s].
        state: disarmed, idle, gated, running, homing, holding or stopped.
        source: Who leads: none, human or policy; or home, on the way home.
        blocked_by: Why a human's command would be refused; empty: it would not be.
        mode: drive, dry_run, shadow or row_pass_through.
        foreign: Another node that drives the arm; empty: none.
        checkpoint: Behind the chunk that it follows; empty: none, or unknown.
        latency_p50_s, latency_p99_s: From image to first command of its newest chunks [s].
    """

    stamp: float
    state: str
    source: str
    blocked_by: str = ""
    mode: str = "drive"
    foreign: str = ""
    checkpoint: str = ""
    latency_p50_s: float = math.nan
    latency_p99_s: float = math.nan

    @property
    def obstacle(self) -> str:
        """Why the arm cannot move; empty if it can. In shadow mode a human moves it past the controller."""
        return "" if self.mode == "shadow" else self.blocked_by

    def while_guided(self) -> Report:
        """What it means where a human guides the arm by hand: only an armed controller is in the way."""
        if self.mode in ("dry_run", "shadow") or self.state in STILL:
            return replace(self, source="human", blocked_by="", foreign="")
        return replace(
            self,
            source="none",
            blocked_by=f"the controller is armed ({self.state}) and could move the arm while a hand guides "
            "it: `vla-adapter stop`, or start it disarmed or in mode dry_run",
        )


@dataclass
class _EpisodeNotes:
    """What is to be said of an episode.

    Attributes:
        began: When it began [s].
        news: What has changed since it was asked for last.
        remarks: What is to be said of the whole.
        stretches: From when to when nothing could move, and why.
        told_silent: Whether it was said that the controller is silent.
        checkpoints: Those that have led, in their order.
        latency_s: Median and 99th percentile, as said last while the policy led [s].
    """

    began: float = -math.inf
    news: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    stretches: list[tuple[float, float, str]] = field(default_factory=list)
    told_silent: bool = False
    checkpoints: dict[str, None] = field(default_factory=dict)
    latency_s: tuple[float, float] = (math.nan, math.nan)


class Leader:
    """Keeps what the controller reports, and answers for every time who led. For several threads.

    Args:
        contract: The robot's contract.
        count_humans: How many publish on the contract's teleop topic.
        steady: Steady time [s].
        alone: Whether there is no controller, until one reports.
    """

    def __init__(
        self,
        contract: Contract,
        count_humans: Callable[[], int] = lambda: 1,
        steady: Callable[[], float] = time.monotonic,
        *,
        alone: bool = True,
    ) -> None:
        self._contract, self._count_humans, self._steady = contract, count_humans, steady
        self._direct = contract.teleop.route == "direct"
        self._guided = contract.hand_guided
        self._lock = threading.RLock()
        self._alone = alone
        self._newest: Report | None = None
        self._heard_at = -math.inf
        self._times: list[float] = []  # from when on ...
        self._sources: list[int] = []  # ... who led
        self._home_from = math.inf
        self._episode = _EpisodeNotes()

    def hear(self, report: Report) -> None:
        """Learn from a report; one that was overtaken by a later one counts no more."""
        with self._lock:
            report = report.while_guided() if self._guided else report
            before = self._newest
            if before is not None and before.stamp - JUMP_BACK_S < report.stamp < before.stamp:
                return
            self._newest, self._heard_at = report, self._steady()
            self._home_from = min(self._home_from, report.stamp) if report.source == "home" else math.inf
            while self._times and self._times[-1] >= report.stamp:
                del self._times[-1], self._sources[-1]
            if self._guided:
                pass  # whether a controller speaks changes nothing about who leads
            elif before is None and self._alone:
                self._episode.news.append("a controller is heard: from here on it says who leads")
                since = self._since(report.stamp)
                self._episode.remarks.append(
                    f"a controller spoke from {since} on, rows before count as a human's"
                )
            elif before is not None and report.stamp > before.stamp + SILENCE_S:
                self._lead_from(before.stamp + SILENCE_S, NOBODY)
                self._episode.remarks.append(self._silence(before.stamp, f"to {self._since(report.stamp)}"))
            self._episode.told_silent = False
            if report.source == "policy":
                self._episode.checkpoints |= {report.checkpoint: None} if report.checkpoint else {}
                self._episode.latency_s = report.latency_p50_s, report.latency_p99_s
            self._lead_from(report.stamp, SOURCE_NUMBERS.get(report.source, NOBODY))
            self._extend_obstacle(report)

    @property
    def state(self) -> str:
        """State of the controller; none where none was heard within `SILENCE_S` by the steady clock."""
        with self._lock:
            if self._newest is None or self._steady() - self._heard_at > SILENCE_S:
                return "none"
            return self._newest.state

    def goes_home_at(self, stamp: float) -> bool:
        """Whether the arm goes home at a time [s], as far as is known by now."""
        with self._lock:
            return stamp >= self._home_from

    def source_at(self, stamp: float) -> int:
        """Who led at a time [s]: 0 nobody, 1 a human, 2 the policy.

        It is what the newest report from until then says. Where the controller has been silent since, nobody
        is known to lead.
        """
        with self._lock:
            at = bisect.bisect_right(self._times, stamp) - 1
            if at < 0 or self._newest is None:
                return HUMAN if self._alone or self._guided else NOBODY
            if self._guided:
                return self._sources[at]
            return NOBODY if stamp > self._newest.stamp + SILENCE_S else self._sources[at]

    # Before an episode

    def refusal(self, now: float) -> str:
        """Why an episode that began at `now` [s] would show an arm that cannot move; empty if it can."""
        with self._lock:
            report = self._speaking(now)
            if self._guided:
                return report.blocked_by if report else ""
            if report is None or report.mode == "shadow" or self._direct:
                return ""
            if report.mode == "dry_run":
                return "the controller is in mode dry_run: nothing moves, so there is nothing to record"
            # A switch that must be held may be all that is missing: a human takes hold of it later.
            armed = report.state not in STILL and not report.foreign
            if report.blocked_by and not (armed and self._contract.safety.deadman_topic):
                return f"the controller lets nothing move: {report.blocked_by}"
            return ""

    def begin(self, now: float) -> str:
        """Begin an episode at `now` [s].

        Returns:
            What is to be said of who leads, above all where fine-tuning may find nothing to learn from; empty
            if all is well.
        """
        with self._lock:
            report, last = self._speaking(now), self._sources[-1:]
            self._episode = _EpisodeNotes(now)
            self._newest, self._alone = report, report is None
            self._times, self._sources = [], []
            if self._guided:
                self._times, self._sources = ([-math.inf], last) if report else ([], [])
                return "hand guiding: each row's action is the state of the row after it"
            if report is None:
                return "no controller is heard, so whoever commands counts as a human"
            self._lead_from(-math.inf, last[0])
            if report.obstacle:
                self._episode.stretches.append((now, math.inf, report.obstacle))
                return f"no row counts as a human's while the controller lets nothing move: {report.obstacle}"
            if report.source == "human" or self._count_humans():
                return ""
            who = "the policy leads" if report.source == "policy" else "nobody leads"
            topic = " and ".join(group.topic for group in self._contract.teleop_groups)
            return f"{who} and nobody publishes on {topic}: fine-tuning learns from a human's rows alone"

    def _speaking(self, now: float) -> Report | None:
        """Newest report of a controller that is there. One that waits for a simulation's tick is not gone."""
        if self._newest is None:
            return None
        heard = self._steady() - self._heard_at <= SILENCE_S or abs(now - self._newest.stamp) <= SILENCE_S
        return self._newest if heard else None

    # During an episode, and after it

    def news(self, now: float) -> list[str]:
        """What has changed since the last call, in words; `now` [s]."""
        with self._lock:
            episode = self._episode
            silent = not self._guided and self._newest is not None and now - self._newest.stamp > SILENCE_S
            if silent and not episode.told_silent:
                episode.news.append("the controller is silent: nobody is known to lead")
                episode.told_silent = True
            news, episode.news = episode.news, []
            return news

    def obstacle(self, end: float) -> str:
        """Why nothing could move in most of the episode, which ends at `end` [s]; empty if it could."""
        with self._lock:
            stretches = self._episode.stretches
            still = sum(max(min(until, end) - begin, 0.0) for begin, until, _ in stretches)
            return stretches[0][2] if still > 0.5 * (end - self._episode.began) else ""

    def policy_facts(self) -> tuple[str, float, float]:
        """Which checkpoint has led in the episode, and its latency, median and 99th percentile [s].

        Empty and NaN where none has, or nobody says.
        """
        with self._lock:
            return " + ".join(self._episode.checkpoints), *self._episode.latency_s

    def remarks(self, end: float) -> list[str]:
        """What is to be said of the episode, whose last row is of `end` [s]."""
        with self._lock:
            remarks = list(self._episode.remarks)
            if not self._guided and self._newest is not None and end - self._newest.stamp > SILENCE_S:
                remarks.append(self._silence(self._newest.stamp, "on"))
            for begin, until, why in self._episode.stretches:
                side = "on" if until > end else f"to {self._since(until)}"
                remarks.append(f"nothing could move from {self._since(begin)} {side}: {why}")
            more = len(remarks) - _MOST_REMARKS
            return remarks if more <= 0 else [*remarks[:_MOST_REMARKS], f"and {more} more times"]

    def _lead_from(self, stamp: float, source: int) -> None:
        if not self._sources or self._sources[-1] != source:
            self._times.append(stamp)
            self._sources.append(source)

    def _extend_obstacle(self, report: Report) -> None:
        """Extend, end or begin the stretch of time in which nothing can move."""
        stretches = self._episode.stretches
        if stretches:
            begin, end, why = stretches[-1]
            if end == math.inf and why == report.obstacle:
                return
            stretches[-1] = begin, min(end, report.stamp), why
        if report.obstacle and report.stamp >= self._episode.began:
            stretches.append((report.stamp, math.inf, report.obstacle))
            self._episode.news.append(f"the controller lets nothing move: {report.obstacle}")

    def _silence(self, begin: float, side: str) -> str:
        return f"the controller was silent from {self._since(begin)} {side}: nobody is known to have led then"

    def _since(self, stamp: float) -> str:
        return f"{max(stamp - self._episode.began, 0.0):.1f} s"
