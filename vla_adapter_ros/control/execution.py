"""From who leads to what is sent: every tick of the motion, and what becomes of ticks that were missed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace, CommandType
from vla_adapter_ros.control.arbiter import Arbiter
from vla_adapter_ros.control.arm_state import ArmState
from vla_adapter_ros.control.chunk_intake import ChunkIntake
from vla_adapter_ros.control.clock import TickClock
from vla_adapter_ros.control.gripper import GripperSwitch, resting_value
from vla_adapter_ros.control.homing import SPEED_LIMIT, HomeMotion
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.motion import CommittedMotion
from vla_adapter_ros.control.sources import Sources
from vla_adapter_ros.control.spaces import resting_row
from vla_adapter_ros.control.statistics import Counters
from vla_adapter_ros.control.supervisor import HOME, NONE, POLICY, Event

RAMP_SPEED = 0.2  # fraction of the velocity limits while a far first target is approached
RAMPED_RAD = 0.02  # this close to the reference, an approach is over
# Drivers that stay where they were told to be last.
TOLD_POSITIONS = ("forward_position", "joint_state", "cartesian_pose")
SHORT_GAP_TICKS = 2  # ticks that a position driver may miss without the motion beginning anew


class Execution:
    """Lets the motion follow whoever leads, tick by tick.

    Args:
        contract: The robot's contract.
        clock, arm, motion, sources, arbiter, intake: What it works on.
        counters: Counts missed ticks, limits and latencies.
    """

    def __init__(
        self,
        contract: Contract,
        clock: TickClock,
        arm: ArmState,
        motion: CommittedMotion,
        sources: Sources,
        arbiter: Arbiter,
        intake: ChunkIntake,
        counters: Counters,
    ) -> None:
        self._contract, self._clock, self._arm = contract, clock, arm
        self._motion, self._sources, self._arbiter = motion, sources, arbiter
        self._intake, self._counters = intake, counters
        self._switches = [GripperSwitch(gripper) for gripper in contract.grippers]
        self._commanded_grippers: Sequence[float] | None = (
            None  # newest values of the grippers' dimensions (G,)
        )
        self.kinematics: ArmKinematics | None = None
        self.command: np.ndarray | None = None
        """Action before limiting (A,); see `Tick`."""
        self.urgent = False
        """Whether a trajectory is to be sent at once."""

    def advance(self, now: float) -> None:
        """Go on to `now` [s], in several ticks if some were missed."""
        self.urgent = False
        steps = self._clock.steps(now)
        if self._clock.jumped(steps):
            steps = self._clock_set(now, steps)
        self._counters.missed_ticks += max(steps - 1, 0)
        for _ in range(self._after_gap(steps)):
            self._intake.begin_later(self._clock.time + self._clock.period_s)
            self._clock.tick += 1
            self._step(self._clock.tick, self._clock.time)

    def forget(self) -> None:
        """Drop what was sent so far; the next motion begins where the arm is."""
        self._motion.forget()
        if not self._arbiter.yields:
            self._commanded_grippers = None
        for switch in self._switches:
            switch.forget()

    # Inside

    def _after_gap(self, steps: int) -> int:
        """What ticks that were missed did to the motion; returns how many are to be made up for.

        What nobody was sent was not executed. A trajectory goes on by itself, to the stop that it ends
        with. A position driver stays where it was told to be last. A velocity driver has stopped or gone
        on: the arm begins anew where it is measured.
        """
        clock, motion, command = self._clock, self._motion, self._contract.command.type
        if steps <= 1:
            return steps
        before, clock.tick = clock.tick, clock.tick + steps - 1
        if not motion.moving:
            return 1
        if command is CommandType.JOINT_TRAJECTORY:
            if motion.catch_up(clock.tick + 1):
                self.urgent = True
                return 1
        elif command in TOLD_POSITIONS:
            if steps - 1 > SHORT_GAP_TICKS:
                motion.rest(clock.tick)
            else:
                motion.delay(steps - 1)
            return 1
        elif steps - 1 > SHORT_GAP_TICKS:
            motion.forget()
            return 1
        clock.tick = before
        return steps

    def _clock_set(self, now: float, steps: int) -> int:
        """After a gap or a jump of the clock nothing that was timed is valid any more; returns ticks to go.

        Set back, the motion goes on in the new time and is stopped there. Ahead, what was sent has been
        carried out meanwhile: either the clock was set, or this process was given no processor.
        """
        ahead, moving = steps > 0, self._motion.moving
        text = (
            f"no tick for {steps * self._clock.period_s:.2f} s: "
            "this process got no processor, or the clock was set"
        )
        if ahead and moving and self._contract.command.type is CommandType.JOINT_TRAJECTORY:
            self._motion.catch_up(self._clock.tick + steps)
        elif ahead and moving and self._contract.command.type in TOLD_POSITIONS:
            self._motion.rest(self._clock.tick + steps)
        elif ahead:
            self.forget()
        if not ahead or not self._motion.moving:
            self._clock.tick += max(steps - 1, 0)  # what was carried out meanwhile is past
            gap = self._clock.set(now)
            text = text if ahead else f"the clock jumped by {gap:.2f} s"
            steps = 1
        self._arm.expire()
        self._arbiter.drop_times()
        self._arbiter.do(Event.FAULT, text)
        return steps

    def _step(self, tick: int, time: float) -> None:
        motion = self._motion
        if self._contract.command.type is CommandType.JOINT_TRAJECTORY and motion.given_out:
            self.urgent = motion.catch_up(tick) or self.urgent
        motion.advance(tick)
        self._arbiter.watch(time)
        if self._arbiter.cut:
            motion.cut(tick)
            self._arbiter.cut, self.urgent = False, True
        self._arbiter.choose(time)
        if self._arbiter.source == NONE:
            motion.brake(tick)
            self.command = self._held()
            return
        if self._arbiter.source == HOME:
            self.command = self._held()
            self._go_home(tick, time)
            return
        self.command = self._sources.command(self._arbiter.source, time)
        self._commanded_grippers = self.command[self._sources.gripper_places].tolist()
        if self._arbiter.yields:
            self.forget()
            return
        if self._arbiter.source == POLICY and self._arbiter.uncommanded is not None:
            self._counters.note_latency(time - self._arbiter.uncommanded)
            self._arbiter.uncommanded = None
        self._follow(tick, time)

    def _go_home(self, tick: int, time: float) -> None:
        """Decide one tick of the motion home; the grippers stay as they are."""
        motion, homing = self._motion, self._sources.reference(HOME)
        assert isinstance(homing, HomeMotion), "home leads"
        if homing.over(time) and motion.limiter.resting:
            motion.brake(tick)  # nothing is left but to carry out what is committed
            return
        measured = self._arm.known_position
        self.urgent = self.urgent or not motion.moving
        step = motion.follow(tick, homing, motion.grippers, measured, SPEED_LIMIT)
        if step is not None:
            self._counters.note_limits(step)

    def _follow(self, tick: int, time: float) -> None:
        """Decide one tick towards whoever leads."""
        motion = self._motion
        reference = self._sources.reference(self._arbiter.source)
        measured = self._arm.known_position
        motion.settle(measured)
        if not motion.holds(measured):
            values = self._commanded_grippers
            self.forget()
            self._commanded_grippers = values
        self._arbiter.waits = "" if motion.known else self._arm.moving()
        if self._arbiter.waits:
            self.command = self._held()
            return
        # Whoever interpolates needs the whole time that a beginning leaves to come to its first point.
        self.urgent = self.urgent or not motion.moving
        commanded = self._commanded_grippers or ()
        grippers = tuple(
            switch.position(float(value), time)
            for switch, value in zip(self._switches, commanded, strict=True)
        )
        step = motion.follow(tick, reference, grippers, measured, RAMP_SPEED if self._arbiter.slow else 1.0)
        if step is not None:
            self._counters.note_limits(step)
            near = np.abs(step.state[0] - reference.at(time)[0]).max() <= RAMPED_RAD
            self._arbiter.slow = self._arbiter.slow and not near

    def _held(self) -> np.ndarray | None:
        """The action that keeps the arm where it is sent, or where it is while nothing was sent."""
        measured = self._arm.position
        if measured is None:
            return None
        self._motion.settle(measured)
        if not self._motion.holds(measured):
            self.forget()  # nothing was sent, or somebody else has moved the arm since
        if self._contract.action.space is ActionSpace.EE_POSE and self.kinematics is None:
            return None
        values = self._commanded_grippers
        if values is None:
            values = [resting_value(g, self._arm.grippers.get(g.joint)) for g in self._contract.grippers]
        return resting_row(self._contract, self._motion.from_here(measured)[0], values, self.kinematics)
