"""The safety state machine: who may lead the arm now, and why nobody does."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import watchdogs
from vla_adapter_ros.control.arm_state import ArmState
from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.control.instructions import Instructions
from vla_adapter_ros.control.motion import CommittedMotion
from vla_adapter_ros.control.sources import Sources
from vla_adapter_ros.control.statistics import Counters
from vla_adapter_ros.errors import ChunkError, CommandError


class Supervisor:
    """State, reason and source of motion.

    | state    | meaning                                    | left                          |
    |----------|--------------------------------------------|-------------------------------|
    | disarmed | not armed since the start                  | by `arm`                      |
    | idle     | nothing to do                              | by a chunk or a human         |
    | gated    | first target too far away, nothing moves   | by a nearer one               |
    | running  | a human or the policy leads                | by what is listed below       |
    | holding  | stopping or at rest, the reason says why   | by what is listed below       |
    | stopped  | `stop` was called                          | by `reset`                    |

    What ends motion, how, and what begins it again:

    | cause                             | stop | the policy leads again by    | a human by       |
    |-----------------------------------|------|------------------------------|------------------|
    | rows used up (starved)            | soft | the next chunk               | a command        |
    | chunk without rows                | soft | a new instruction            | a command        |
    | human let go, or took over        | soft | the next chunk               | a command        |
    | `hold`                            | cut  | a new instruction            | letting go first |
    | joint states old, tracking error  | cut  | a new instruction            | letting go first |
    | clock set, deadman released       | cut  | a new instruction            | letting go first |
    | chunk with impossible values      | cut  | a new instruction            | letting go first |
    | `stop`                            | cut  | `reset`, a new instruction   | `reset` only     |

    A soft stop begins where the lead ends. A cut replaces what is due
    later than a margin by a stop. Both are jerk-limited and end at rest. A new
    instruction is a chunk of a new session or instruction with rows. Every
    motion begins through the first-target gate, a human's as well.

    Args:
        contract: The robot's contract.
        armed: Whether motion is allowed from the start.
        arm, motion, sources, counters, instructions: What it looks at; it clears chunks, counts starved ticks
            and ends instructions.
    """

    def __init__(
        self,
        contract: Contract,
        armed: bool,
        arm: ArmState,
        motion: CommittedMotion,
        sources: Sources,
        counters: Counters,
        instructions: Instructions,
    ) -> None:
        self._contract, self._safety = contract, contract.safety
        self._arm, self._motion, self._sources, self._counters = arm, motion, sources, counters
        self._instructions = instructions
        self._armed = armed
        self._fault = ""  # found between two ticks
        self.deadman = watchdogs.Deadman(contract.safety)
        self.state = "idle" if armed else "disarmed"
        self.reason = "" if armed else "not armed yet"
        self.source = "none"
        """human, policy or none."""
        self.latched = False
        """After a fault: the policy waits for an explicit call."""
        self.cut = False
        """Whether the committed motion is to be replaced by a stop at the next tick."""
        self.slow = False
        """Whether a far first target is being approached."""
        self.kinematics_known = False
        self.refused = ""
        """Why the newest chunk was refused; empty if it was not."""

    @property
    def goes_direct(self) -> bool:
        """Whether a human commands the arm past this controller."""
        return self._contract.teleop.route == "direct"

    @property
    def yields(self) -> bool:
        """Whether a human does so now."""
        return self.goes_direct and self.source == "human"

    # Calls

    def arm(self) -> None:
        """Leave `disarmed`, and `holding` after a fault.

        Raises:
            CommandError: the state is `stopped`.
        """
        if self.state == "stopped":
            raise CommandError("state is stopped: call ~/reset first")
        self._armed = True
        if self.state == "disarmed":
            self.become("idle", "")
        self.release()

    def hold(self) -> None:
        """Stop, and hold until a new instruction."""
        if self.state not in ("disarmed", "stopped"):
            self.fail("hold requested")

    def stop(self) -> None:
        """Stop, and stay stopped until `reset`."""
        self.fail("stop requested")
        self.become("stopped", "stop requested")

    def reset(self) -> None:
        """Leave `stopped`, and `holding` after a fault; who was not armed before is not now."""
        if self.state == "stopped":
            self.become("idle", "") if self._armed else self.become("disarmed", "not armed yet")
        self.release()

    def fail(self, reason: str) -> None:
        """Stop, cut short, and end the instruction: `arm` and `reset` do not move the arm."""
        self._sources.timeline.clear()
        self._sources.human_blocked = True
        self._instructions.end(reason)
        self.latched, self.cut, self.slow = True, True, False
        self.become("holding", reason)

    def release(self) -> None:
        """Leave a hold after a fault."""
        self._sources.human_blocked = False
        if self.latched:
            self.latched = False
            if self.state == "holding":
                self.become("idle", "")

    def resume(self) -> None:
        """Begin again after a pause: who leads must be new, and a human must let go first."""
        self._sources.timeline.clear()
        self._sources.human_blocked = True
        self._instructions.end("the controller was inactive")
        self._fault, self.source = "", "none"
        self.latched = self.cut = self.slow = False
        if self.state not in ("disarmed", "stopped"):
            self.become("idle", "")

    def become(self, state: str, reason: str) -> None:
        """Note a state and its reason."""
        self.state, self.reason = state, reason

    # Chunks

    def admit(self, ready: Chunk, time: float) -> None:
        """The gate for the first target of a motion: refuse it, or approach it slowly.

        Args:
            ready: Absolute joint rows, at least one.
            time: Now [s].

        Raises:
            ChunkError: the target is too far from the arm, or the arm is not known well enough.
        """
        if self.state not in ("idle", "gated", "holding"):
            return
        missing = watchdogs.kinematics_missing(self._contract, self.kinematics_known)
        if missing:
            raise ChunkError(missing)
        refused = self._too_far(self._sources.first_target(ready, time), "first target")
        if refused and self._safety.first_target == "refuse":
            if not self.latched:
                self.become("gated", refused)
            raise ChunkError(refused)
        self.slow = bool(refused)

    def follow(self) -> None:
        """A chunk was accepted."""
        self.refused = ""
        if self.state in ("idle", "gated", "holding"):
            self.become("running", "")

    def end_task(self) -> None:
        """A chunk without rows came: stop softly."""
        self._sources.timeline.clear()
        if not self.latched and self.state in ("running", "holding", "gated"):
            self.become("idle", "")

    # Ticks

    def report(self, fault: str) -> None:
        """Note a fault found between two ticks; empty: none."""
        self._fault = self._fault or fault

    def watch(self, time: float) -> None:
        """Turn a fault into a stop that is cut short."""
        active = (self.source != "none" and not self.yields) or self._motion.moving
        fault, self._fault = self._fault, ""
        if not active or self.state == "stopped" or (self.state == "holding" and self.latched):
            return
        fault = (
            fault
            or watchdogs.joint_states_too_old(self._arm.stamp, time, self._safety)
            or self.deadman.released(time)
        )
        if fault:
            self.fail(fault)

    def choose(self, time: float) -> None:
        """Decide who leads at `time` [s], and note why nobody does."""
        sources, timeline = self._sources, self._sources.timeline
        human = sources.human_leads(time)
        if not human:
            sources.human_admitted = sources.human_blocked = False
        before, self.source = self.source, "none"
        if self.state in ("disarmed", "stopped"):
            return
        if not human and timeline.chunk is None:
            if before == "human" and not self.latched:
                self.become("idle", "")
            return
        human = human and not sources.human_blocked
        refused = self._not_ready(time)
        if refused and not (human and self.goes_direct):
            timeline.clear()
            if not self.latched:
                self.become("holding", refused)
        elif human:
            timeline.clear()
            self._let_human_lead(time)
        elif timeline.chunk is None:
            return
        elif timeline.starved(time):
            self._counters.starved_ticks += 1
            because = f"; the newest was refused: {self.refused}" if self.refused else ""
            self.become("holding", f"no action chunk for {time - timeline.chunk.end:.2f} s{because}")
        else:
            self.source = "policy"
            self.become("running", "")

    def _not_ready(self, time: float) -> str:
        return (
            watchdogs.joint_states_too_old(self._arm.stamp, time, self._safety)
            or self.deadman.released(time)
            or watchdogs.kinematics_missing(self._contract, self.kinematics_known)
        )

    def _let_human_lead(self, time: float) -> None:
        if not self._sources.human_admitted and not self.goes_direct:
            refused = self._too_far(self._sources.teleop.at(time)[0], "the human's command")
            if refused and self._safety.first_target == "refuse":
                self.become("gated", refused)
                return
            self.slow = bool(refused)
        self._sources.human_admitted = True
        self.source = "human"
        self.become("running", "")

    def _too_far(self, target: np.ndarray, what: str) -> str:
        here = self._motion.from_here(self._arm.position)[0]
        return watchdogs.too_far(target, here, self._contract.arm_joints, self._safety, what)
