"""The motion that is sent: limited, committed for the length of the lead, always ending in a full stop."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.control.limiter import Limiter, Reference, Step
from vla_adapter_ros.control.quintic import control_points, state_at

CONTINUE_WITHIN_RAD = 0.05  # a rest this close to the last command continues from it
HISTORY_S = 2.0
_UNKNOWN_RAD = 0.015  # how far the set-point of a driver may be from the arm, where nothing was sent before
# A quintic from rest to rest over a distance d in a time T: its largest acceleration and jerk are these times
# d / T^2 and d / T^3.
_REST_TO_REST_ACCELERATION, _REST_TO_REST_JERK = 5.78, 60.0


@dataclass(frozen=True)
class Trajectory:
    """Timed points for the arm, to be joined by quintics.

    Attributes:
        joints: Names (J,).
        times: When each point is due (N,) [s, absolute]. At today's dates a float resolves 0.2 us: messages
            are better made of the two exact ones below.
        positions, velocities, accelerations: (N, J) each. The last point is at rest.
        start_ns: Time from which `offsets` count [ns].
        offsets: Exact times of the points after `start_ns` (N,) [s], > 0.
    """

    joints: tuple[str, ...]
    times: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray
    accelerations: np.ndarray | None = None
    start_ns: int = 0
    offsets: np.ndarray | None = None


@dataclass(frozen=True)
class Setpoint:
    """What should be happening at a moment: the arm (J,) each, the gripper joints (G,) once commanded."""

    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    grippers: tuple[float, ...] | None


@dataclass(frozen=True)
class _Commitment:
    tick: int
    state: np.ndarray
    grippers: tuple[float, ...] | None
    target: np.ndarray | None = None


class CommittedMotion:
    """Where the arm was told to be, tick by tick.

    What is decided at tick n is due at tick n + lead. It is sent with every
    trajectory until it is past, so that a trajectory that arrives late
    continues the one before it exactly. Only `cut` takes back what is due
    later than a short margin.

    What nobody was sent was not executed. `catch_up` says what became of the
    motion while no tick ran.

    Args:
        limiter: Decides each tick.
        period_s: Length of a tick [s].
        lead_ticks: Ticks from decision to arrival.
        margin_ticks: What is due within these ticks was sent already and stays.
        stays_behind: How far a joint may stay behind its command, such as that of a gripper that squeezes
            something, or of an arm that sags [rad or m].
    """

    def __init__(
        self,
        limiter: Limiter,
        period_s: float,
        lead_ticks: int,
        margin_ticks: int,
        stays_behind: float,
    ) -> None:
        self.limiter = limiter
        self._stays_behind = stays_behind
        self._rested_at: np.ndarray | None = None  # where the arm was measured as it came to rest (J,)
        self._sent: list[_Commitment] = []  # the newest trajectory that was given out, with its stop
        self._sent_until = 0  # tick of its last point before the stop
        self._sent_before = self._sent, self._sent_until
        self._period_s, self._lead = period_s, lead_ticks
        self._margin = min(margin_ticks, lead_ticks)
        self._committed: deque[_Commitment] = deque()
        self._past: deque[_Commitment] = deque(maxlen=round(HISTORY_S / period_s))
        self._known = False
        self.grippers: tuple[float, ...] | None = None
        """Gripper joints' positions (G,) that were due at the last `advance`; None before any."""

    @property
    def known(self) -> bool:
        """Whether anything was decided since the start, or since `forget`."""
        return self._known

    @property
    def given_out(self) -> bool:
        """Whether trajectories are given out at all."""
        return bool(self._sent)

    @property
    def moving(self) -> bool:
        """Whether anything decided is still to be carried out."""
        return self._known and (bool(self._committed) or not self.limiter.resting)

    def follow(
        self,
        tick: int,
        reference: Reference,
        grippers: tuple[float, ...] | None,
        measured: np.ndarray,
        speed: float = 1.0,
    ) -> Step | None:
        """Decide one tick towards a reference.

        A motion begins at the last command or, if there is none that holds,
        where the arm is. Until its first command is due the arm is told to
        stay. The first part of that time is left to whoever interpolates, to
        come from where its own set-point is: the arm is never measured where
        it was sent, and what else may have moved it is not known.

        Args:
            tick: Number of the tick.
            reference: See `Limiter.step`.
            grippers: Positions of the gripper joints (G,) [rad or m]; None: they are told nothing.
            measured: Measured position of the arm, float64 (J,).
            speed: Share of the velocity limits that may be used.

        Returns:
            The step; None while a stop that was cut short is still due later than that.
        """
        due = tick + self._lead
        if not self.moving:
            ticks, self._rested_at = self._settling_ticks(measured), None
            if not self._known:
                self.limiter.restart(_at_rest(np.stack([measured] * 3)))
                self._known = True
            self._committed.append(_Commitment(tick + ticks, self.limiter.state, self.grippers))
        if self._committed and self._committed[-1].tick >= due:
            return None
        first = self._committed[-1].tick + 1 if self._committed else tick + 1
        kept = self._committed[-1].grippers if self._committed else self.grippers
        for still in range(first, due):
            self._committed.append(_Commitment(still, self.limiter.state, kept))
        step = self.limiter.step(reference, tick * self._period_s, speed)
        self._committed.append(_Commitment(due, step.state, grippers, step.target))
        return step

    def begins_after(self, measured: np.ndarray) -> float:
        """How long a motion that begins now waits before its first step [s]; `measured`: see `follow`."""
        if self.moving:
            return 0.0
        return max(self._settling_ticks(measured) - self._lead + 1, 0) * self._period_s

    def rests_for(self, tick: int, measured: np.ndarray) -> float:
        """How long the arm stays at rest where it is committed to be, from `tick` on [s].

        Args:
            tick: Number of the newest tick.
            measured: See `follow`.
        """
        if not self.moving:
            return self.begins_after(measured)
        last = self._committed[-1].tick if self._committed else tick
        return max(last - self._lead - tick, 0) * self._period_s

    def _settling_ticks(self, measured: np.ndarray) -> int:
        """How long the arm is told to stay, so that whoever interpolates comes there within the limits."""
        away = np.full_like(measured, _UNKNOWN_RAD)
        if self._known:
            away = np.abs(self.limiter.state[0] - measured)
        limits = self.limiter.planned
        time = max(
            np.sqrt(_REST_TO_REST_ACCELERATION * away / limits.acceleration).max(),
            np.cbrt(_REST_TO_REST_JERK * away / limits.jerk).max(),
        )
        return max(math.ceil(time / self._period_s) + 1, (self._lead + 1) // 2)

    def brake(self, tick: int) -> None:
        """Decide one tick of the stop; at rest nothing happens."""
        if self.limiter.resting or (self._committed and self._committed[-1].tick >= tick + self._lead):
            return
        grippers = self._committed[-1].grippers if self._committed else self.grippers
        self._committed.append(_Commitment(tick + self._lead, self.limiter.brake(), grippers))

    def cut(self, tick: int) -> None:
        """Replace what is due later than the margin by a full stop."""
        if not self.moving:
            return
        kept = [c for c in self._committed if c.tick <= tick + self._margin]
        if len(kept) == len(self._committed) and self.limiter.resting:
            return
        if not kept:  # the rest that a motion begins with, or, where the lead is a tick, what is due now
            kept = [self._committed[0] if self._committed else self._past[-1]]
        last = kept[-1]
        self._committed = deque(c for c in kept if c.tick > tick)
        self.limiter.restart(last.state)
        for i, state in enumerate(self.limiter.stop_path()):
            self._committed.append(_Commitment(last.tick + 1 + i, state, last.grippers))
        self.limiter.restart(self._committed[-1].state)

    def catch_up(self, tick: int) -> bool:
        """Go on from what was sent, where something that nobody was sent is due by `tick`.

        The trajectory that was given out last ended in a stop: the arm is on it, or at rest after it.

        Returns:
            Whether that was so; a trajectory is then to be sent at once.
        """
        unsent = next((c.tick for c in self._committed if c.tick > self._sent_until), None)
        if unsent is None or unsent > tick:
            return False
        newest = self._past[-1].tick if self._past else -1
        self._past.extend(c for c in self._sent if newest < c.tick <= tick)
        rest = self._sent[-1] if self._sent else self._committed[0]
        self._committed = deque(c for c in self._sent if c.tick > tick)
        self._sent_until = max(tick, rest.tick)
        self.limiter.restart(_at_rest(rest.state))
        self.grippers = self._past[-1].grippers if self._past else self.grippers
        return True

    def delay(self, ticks: int) -> None:
        """Carry out everything later by some ticks, in which a position driver was told nothing."""
        self._committed = deque(dataclasses.replace(c, tick=c.tick + ticks) for c in self._committed)

    def rest(self, tick: int) -> None:
        """Stand, at `tick`, where the arm was told to be last: a position driver stays there."""
        if not self.moving:
            return
        told = self._past[-1] if self._past else self._committed[0]
        self._committed.clear()
        self.limiter.restart(_at_rest(told.state))
        self._past.append(_Commitment(tick, self.limiter.state, told.grippers))

    def still_timely(self, tick: int) -> bool:
        """Whether the newest trajectory may be sent at `tick`; if not, it counts as never given out."""
        sent, until = self._sent_before
        begins = next((c.tick for c in self._sent if c.tick > until), None)
        if not sent or begins is None or begins > tick:
            return True
        self._sent, self._sent_until = self._sent_before
        return False

    def holds(self, measured: np.ndarray) -> bool:
        """Whether what was sent last still tells where the arm is, `measured` being float64 (J,).

        At rest it does while the arm is near it, or between it and where the arm came to rest: a joint that
        stays behind its command since then was not moved by anybody else. To begin where such a joint is
        would open a gripper that holds something.
        """
        if not self._known:
            return False
        told, rested = self.limiter.state[0], self._rested_at
        if self.moving or np.abs(told - measured).max() <= CONTINUE_WITHIN_RAD:
            return True
        if rested is None or np.abs(told - rested).max() > self._stays_behind:
            return False
        low, high = np.minimum(told, rested), np.maximum(told, rested)
        beyond = np.maximum(low - measured, measured - high)
        return bool(beyond.max() <= CONTINUE_WITHIN_RAD)

    def settle(self, measured: np.ndarray) -> None:
        """The arm is measured at float64 (J,); where it came to rest is kept until the next motion."""
        if self._known and not self.moving and self._rested_at is None:
            self._rested_at = measured.copy()

    def from_here(self, measured: np.ndarray) -> np.ndarray:
        """State (3, J) that the next motion begins from: what was sent last if it holds, else `measured`."""
        if self.holds(measured):
            return self.limiter.state
        return np.stack([measured, np.zeros_like(measured), np.zeros_like(measured)])

    def forget(self) -> None:
        """Drop everything; the next motion begins where the arm is."""
        self._committed.clear()
        self._past.clear()
        self._sent, self._sent_until = [], 0
        self._sent_before = self._sent, self._sent_until
        self._known, self.grippers, self._rested_at = False, None, None

    def advance(self, tick: int) -> None:
        """Let everything due at `tick` or before become past."""
        while self._committed and self._committed[0].tick <= tick:
            self._past.append(self._committed.popleft())
            self.grippers = self._past[-1].grippers

    def points(self, tick: int) -> tuple[np.ndarray, np.ndarray] | None:
        """What to send at `tick`: everything due later, then a full stop. It counts as sent (`still_timely`).

        Returns:
            Ticks (N,) and states (N, 3, J); None when nothing moves.
        """
        self.advance(tick)
        if not self._committed:
            return None
        last = self._committed[-1]
        tail = enumerate(self.limiter.stop_path(), last.tick + 1)
        self._sent_before = self._sent, self._sent_until
        self._sent = [*self._committed, *(_Commitment(due, state, last.grippers) for due, state in tail)]
        self._sent_until = last.tick
        return np.array([c.tick for c in self._sent]), np.array([c.state for c in self._sent])

    def setpoint(self, time: float) -> Setpoint | None:
        """What should be happening at `time` [s]: the start before any command; None before any motion."""
        if not self._known:
            return None
        before: _Commitment | None = None
        for later in self._around(time):
            if later.tick * self._period_s > time + 1e-9:
                return self._between(before, later, time)
            before = later
        return _setpoint_of(before or _Commitment(0, self.limiter.state, None))

    def commanded(self, time: float) -> np.ndarray | None:
        """The command (J,) of `time` [s], inside position limits and box; None before any motion.

        Deltas that are added to it do not lose what the other limits held back for a while. Where they
        have held back more than `CONTINUE_WITHIN_RAD`, it is what was decided instead: nothing winds up.
        """
        setpoint = self.setpoint(time + self._lead * self._period_s)
        if setpoint is None:
            return None
        tick = round(time / self._period_s) + self._lead
        for commitments in (reversed(self._committed), reversed(self._past)):
            for commitment in commitments:
                if commitment.tick == tick and commitment.target is not None:
                    near = np.abs(commitment.target - setpoint.position).max() <= CONTINUE_WITHIN_RAD
                    return commitment.target if near else setpoint.position
                if commitment.tick < tick:
                    return setpoint.position
        return setpoint.position

    def _around(self, time: float) -> Iterator[_Commitment]:
        """Commitments in order, from the last one before `time` on."""
        past = []
        for commitment in reversed(self._past):
            past.append(commitment)
            if commitment.tick * self._period_s <= time + 1e-9:
                break
        yield from reversed(past)
        yield from self._committed

    def _between(self, before: _Commitment | None, later: _Commitment, time: float) -> Setpoint:
        gap = 1 if before is None else later.tick - before.tick
        if before is None or (gap > 1 and not before.state[1:].any()):
            return _setpoint_of(before or _Commitment(0, _at_rest(later.state), None))
        span = gap * self._period_s
        points = control_points(before.state, later.state, span)
        state = state_at(points, span, time - before.tick * self._period_s)
        return _setpoint_of(_Commitment(before.tick, state, before.grippers))


def _at_rest(state: np.ndarray) -> np.ndarray:
    return np.stack([state[0], np.zeros_like(state[0]), np.zeros_like(state[0])])


def _setpoint_of(commitment: _Commitment) -> Setpoint:
    position, velocity, acceleration = commitment.state
    return Setpoint(position, velocity, acceleration, commitment.grippers)
