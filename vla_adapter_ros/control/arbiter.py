"""Who leads the arm, and whether anybody may: instructions, humans, faults and the table of events in one."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import FirstTarget, Route
from vla_adapter_ros.control import watchdogs
from vla_adapter_ros.control.arm_state import ArmState
from vla_adapter_ros.control.clock import TickClock
from vla_adapter_ros.control.homing import NEAR_RAD, HomeMotion, plan_home
from vla_adapter_ros.control.instructions import EndedBy, Ending, Instructions
from vla_adapter_ros.control.motion import CommittedMotion
from vla_adapter_ros.control.sources import Sources
from vla_adapter_ros.control.statistics import Counters
from vla_adapter_ros.control.supervisor import (
    AT_HOME,
    GATED,
    HOLDING,
    HOME,
    HOMING,
    HUMAN,
    MOVING,
    NO_INSTRUCTION,
    NONE,
    POLICY,
    RUNNING,
    STARVED,
    STILL,
    Decision,
    Effect,
    Event,
    Supervisor,
)
from vla_adapter_ros.errors import ChunkError

_ENDED_BY = {
    Event.HOLD: EndedBy.HOLD,
    Event.STOP: EndedBy.STOP,
    Event.SILENCE: EndedBy.SILENCE,
    Event.END: EndedBy.HOLD,
    Event.ACTIVATE: EndedBy.INACTIVE,
}
"""What ended an instruction, by the event; any other one is a fault."""


class Arbiter:
    """Decides who leads. All times are inside times of the clock [s].

    Args:
        contract: The robot's contract.
        clock, arm, motion, sources: What it looks at; it clears the sources, and asks for cuts.
        counters: Counts refused chunks and starved ticks.
        armed: Whether motion is allowed from the start.
    """

    def __init__(
        self,
        contract: Contract,
        clock: TickClock,
        arm: ArmState,
        motion: CommittedMotion,
        sources: Sources,
        counters: Counters,
        armed: bool,
    ) -> None:
        self._contract, self._clock, self._arm = contract, clock, arm
        self._motion, self._sources, self._counters = motion, sources, counters
        self.supervisor = Supervisor(armed)
        self.instructions = Instructions()
        self.deadman = watchdogs.Deadman(contract.safety)
        self.operator = watchdogs.OperatorWatch(contract.safety)
        self.kinematics_known = False
        self.source = NONE
        """Who leads: human, policy, home or none."""
        self.slow = False
        """Whether a far first target is being approached."""
        self.cut = False
        """Whether the committed motion is to be replaced by a stop."""
        self.fault = ""
        """Found between two ticks, in a sentence."""
        self.foreign = ""
        """Another node that publishes what this controller publishes, in words."""
        self.waits = ""
        """What a motion that has leave to begin waits for."""
        self.uncommanded: float | None = None
        """Input stamp of a chunk that has led to no command yet [s]."""
        self.failures = 0, ""
        """How often a fault, or the silence of an input, has ended motion; and why the last time."""
        self._admitted = False  # the human who leads has passed the gate

    @property
    def yields(self) -> bool:
        """Whether a human commands the arm past this controller now."""
        return self.source == HUMAN and self._contract.teleop.route is Route.DIRECT

    @property
    def reason(self) -> str:
        """Why nothing moves, the first cause, or what a motion waits for; empty if nothing is unusual."""
        reason, waits = self.supervisor.reason, self._sources.takeover.waits
        if self.supervisor.state in MOVING:
            return self.waits
        if not waits or self.supervisor.state in STILL:
            return reason
        return waits if reason == NO_INSTRUCTION else f"{reason}; {waits}"

    def do(self, event: Event, why: str = "", by_policy: bool = False) -> Decision:
        """Let an event happen, with all that it does besides changing the state."""
        decision = self.supervisor.handle(event, why)
        if Effect.END in decision.effect:
            # What the policy ended itself says nothing about what it was told meanwhile.
            until = -np.inf if by_policy else self._clock.time
            self.instructions.end(Ending(_ENDED_BY.get(event, EndedBy.FAULT), decision.reason), until)
            self._sources.timeline.clear()
            self._sources.waiting, self.slow = (), False
        if Effect.BLOCK in decision.effect:
            self._sources.takeover.block(self._clock.time)
        if Effect.CUT in decision.effect:
            self.cut = True
            if event in (Event.FAULT, Event.SILENCE):
                self.failures = self.failures[0] + 1, decision.reason
        if self.supervisor.state != HOMING:
            self._sources.homing = None
        return decision

    def answer(self, decision: Decision, done: str) -> tuple[bool, str]:
        """What a service says of a call: whether it happened, and the state, or why it did not."""
        if decision.refused:
            return False, decision.reason
        reason = f": {self.supervisor.reason}" if self.supervisor.reason else ""
        return True, f"{done}, state is {self.supervisor.state}{reason}"

    def home(self, target: np.ndarray) -> tuple[bool, str]:
        """Begin the motion to a pose, float64 (J,), from rest; returns whether it begins, and a sentence.

        Raises:
            CommandError: see `plan_home`.
        """
        motion, measured = self._motion, self._arm.position
        if (refusal := self.supervisor.refusal_of(Event.HOME)) or measured is None:
            return False, refusal or "no joint states yet"
        if self.instructions.alive:
            return False, "the policy carries out an instruction: call ~/hold first"
        if motion.moving and not motion.limiter.resting:
            return False, "the arm is coming to rest: try again"
        if not motion.holds(measured) and (moved := self._arm.moving()):
            return False, moved
        start = motion.from_here(measured)[0]
        limiter = motion.limiter
        plan = plan_home(start, target, self._contract.arm_joints, limiter.planned, limiter.box)
        begin = self._clock.time + motion.rests_for(self._clock.tick, measured)
        self.do(Event.HOME)
        self._sources.takeover.pass_on()
        self._sources.homing = homing = HomeMotion(plan, target, begin, self._sources.path_time)
        far = np.abs(target - start)
        worst = int(far.argmax())
        return True, (
            f"goes home: {self._contract.arm_joints[worst]} moves by {far[worst]:.2f}, "
            f"in {homing.duration_s:.1f} s; ~/hold ends it"
        )

    def admit(self, target: np.ndarray, what: str) -> None:
        """The gate for the first target (J,) of a motion: refuse a far one, or approach it slowly.

        Raises:
            ChunkError: the target is too far from the arm.
        """
        here = self._motion.from_here(self._arm.known_position)[0]
        far = watchdogs.too_far(target, here, self._contract.arm_joints, self._contract.safety, what)
        if far and self._contract.safety.first_target is FirstTarget.REFUSE:
            self.do(Event.FAR, far)
            raise ChunkError(far)
        self.slow = bool(far)

    def end_instruction(self, why: str) -> None:
        """End the instruction as a policy that is gone would have done: stop softly and hold."""
        self._sources.waiting = ()
        if self.instructions.alive:
            self.do(Event.SILENCE, why)

    def observe(self, time: float) -> tuple[str, str]:
        """Tell the supervisor what stands against motion at `time` [s].

        Returns:
            Why the joint states are too old, and what else must stop a motion; each empty where it is well.
        """
        late = watchdogs.joint_states_too_old(self._arm, time, self._contract.safety)
        missing = watchdogs.kinematics_missing(self._contract, self.kinematics_known)
        foreign = f"{self.foreign}: stop it first" if self.foreign else ""
        released = self.deadman.released(time)
        self.supervisor.observe(
            late or missing or foreign or released,
            bool(late or missing or foreign),
            self.operator.refusal(time),
        )
        return late, foreign or released

    def watch(self, time: float) -> None:
        """Look for what stands against motion, and turn a fault into a stop."""
        supervisor, safety = self.supervisor, self._contract.safety
        late, stops = self.observe(time)
        fault, self.fault = self.fault, ""
        active = (self.source != NONE and not self.yields) or self._motion.moving
        if (active or self.instructions.alive) and (fault := fault or stops):
            self.do(Event.FAULT, fault)
        if self.instructions.alive and (silence := self.operator.ending(time)):
            self._end_unwatched(silence, time)
        if not late:
            return
        silent = time - self._arm.stamp > safety.joint_state_timeout_s + safety.resume_within_s
        waits = supervisor.state in (RUNNING, HOLDING, GATED) or active
        if silent:
            if waits and (self.instructions.alive or active or self._sources.takeover.sends):
                self.do(Event.SILENCE, late)
            self.instructions.end(Ending(EndedBy.SILENCE, late), time)
        elif supervisor.state in MOVING and not self.yields:
            self.do(Event.GAP, late)

    def choose(self, time: float) -> None:
        """Decide who leads at `time` [s], and note why nobody does."""
        supervisor, sources, timeline = self.supervisor, self._sources, self._sources.timeline
        before, self.source = self.source, NONE
        human = sources.takeover.leads(time)
        if not human:
            self._admitted = False
            if before == HUMAN and supervisor.state == RUNNING:
                alive = self.instructions.alive
                self.do(Event.LET_GO, "the human has let go" + ("" if alive else ": give a new instruction"))
        direct = self._contract.teleop.route is Route.DIRECT
        if human and self._let_human_lead(time, direct):
            if before != HUMAN and not self._contract.teleop.hands_back:
                self.instructions.end(Ending(EndedBy.HUMAN, "a human took over"), time)
            timeline.clear()
            self.source = HUMAN
        elif human and supervisor.state == GATED:
            timeline.clear()
        elif supervisor.state == HOMING:
            self.source = self._go_home(time)
        elif timeline.chunk is None or not self.instructions.alive:
            return
        elif timeline.starved(time):
            self._counters.starved_ticks += 1
            refused = self.instructions.refused
            because = f": the newest was refused: {refused}" if refused else ""
            if not self.supervisor.refusal:
                self.do(Event.STARVED, f"{STARVED}{because}")
        elif supervisor.state == RUNNING or not self._resume(time):
            self.source = POLICY if supervisor.state == RUNNING else NONE

    def drop_times(self) -> None:
        """Forget all that was timed: the clock was set, or nobody ticked."""
        self._sources.clear()
        self.instructions.forget_time()
        self.deadman.accept(False, 0.0)
        self.operator.forget()
        self.uncommanded = None

    # Inside

    def _end_unwatched(self, why: str, time: float) -> None:
        """End an instruction that no operator watches, as `hold` does; a human who leads goes on."""
        if self.source == HUMAN:
            self.instructions.end(Ending(EndedBy.HOLD, why), time)
        else:
            self.do(Event.HOLD, why)

    def _go_home(self, time: float) -> str:
        """Who leads on the way home; nobody once the arm is there."""
        motion, homing = self._motion, self._sources.homing
        assert homing is not None, "the state is homing"
        if not homing.over(time) or motion.moving:
            return HOME
        short = float(np.abs(motion.limiter.state[0] - homing.target).max())
        if short <= NEAR_RAD:
            self.do(Event.ARRIVED, AT_HOME)
        else:
            self.do(Event.FAULT, f"the arm came to rest {short:.3f} short of home: a limit is in the way")
        return NONE

    def _resume(self, time: float) -> bool:
        """Go on with rows after a short gap of the joint states; returns whether that is refused."""
        try:
            self.admit(self._sources.timeline.at(time)[0], "the next row")
        except ChunkError:
            return True
        return self.do(Event.CHUNK).refused

    def _let_human_lead(self, time: float, direct: bool) -> bool:
        """Whether a human who wants to lead may."""
        if direct:
            return not self.do(Event.COMMAND).refused or self.supervisor.state not in STILL
        if self.supervisor.refusal_of(Event.COMMAND):
            return False
        if not self._admitted:
            try:
                self.admit(self._sources.teleop.at(time)[0], "the human's command")
            except ChunkError:
                return False
        if self.do(Event.COMMAND).refused:
            return False
        self._admitted = True
        return True
