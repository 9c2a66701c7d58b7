"""Who may lead the arm, as a table: what every event does in every state.

docs/reference/controller.md shows the same table. Motion begins only with `BEGIN`; it stands nowhere but
under a person's act (an instruction, a human's command, home), or a chunk of an instruction that is still
alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto

DISARMED, IDLE, GATED, RUNNING, HOMING, HOLDING, STOPPED = (
    "disarmed", "idle", "gated", "running", "homing", "holding", "stopped",
)  # fmt: skip
STATES = (DISARMED, IDLE, GATED, RUNNING, HOMING, HOLDING, STOPPED)
STILL = (DISARMED, STOPPED)
MOVING = (RUNNING, HOMING)
NONE, HUMAN, POLICY, HOME = "none", "human", "policy", "home"
NOT_ARMED = "not armed yet: call ~/arm"
NO_INSTRUCTION = "waits for an instruction"
ENDED = "the instruction was ended"
AT_HOME = "home is reached"
GOES_HOME = "the arm goes home: wait until it is there, or call ~/hold first"
STARVED = "no action chunk in time"


class Event(Enum):
    """What can happen."""

    INSTRUCTION = "a new instruction"
    CHUNK = "a further chunk of it"
    COMMAND = "a human's command"
    HOME = "home"
    ARRIVED = AT_HOME
    LET_GO = "the human lets go"
    FAR = "the first target is too far"
    STARVED = "its rows are used up"
    END = "a chunk without rows"
    ARM = "arm"
    HOLD = "hold"
    STOP = "stop"
    RESET = "reset"
    FAULT = "a fault"
    GAP = "joint states are late"
    ACTIVATE = "the controller becomes active"
    SILENCE = "an input is silent, or the policy is gone"


class Effect(Flag):
    """What an event does besides changing the state."""

    NONE = 0
    BEGIN = auto()
    """Motion may begin, or goes on."""
    REFUSE = auto()
    """Nothing happens, and the caller is told why."""
    END = auto()
    """The instruction ends: nothing moves until a person acts."""
    CUT = auto()
    """The committed motion is cut short by a stop, instead of ending softly."""
    BLOCK = auto()
    """A human must let go before leading again."""


@dataclass(frozen=True)
class Response:
    """The next state, and what is to be done."""

    state: str
    effect: Effect = Effect.NONE


_BEGIN, _END, _STOP = Effect.BEGIN, Effect.END, Effect.END | Effect.CUT | Effect.BLOCK


def _still(state: str) -> dict[Event, Response]:
    """Nothing moves and nothing may: disarmed and stopped."""
    refuse = Response(state, Effect.REFUSE)
    return {
        Event.INSTRUCTION: refuse,
        Event.CHUNK: refuse,
        Event.COMMAND: refuse,
        Event.HOME: refuse,
        Event.ARRIVED: Response(state),
        Event.LET_GO: Response(state),
        Event.FAR: Response(state),
        Event.STARVED: Response(state),
        Event.END: Response(state, _END),
        Event.ARM: Response(IDLE, Effect.BLOCK) if state == DISARMED else refuse,
        Event.HOLD: Response(state, _END),
        Event.STOP: Response(STOPPED, _STOP),
        Event.RESET: Response(DISARMED if state == DISARMED else IDLE, Effect.BLOCK),
        Event.FAULT: Response(state, _END),
        Event.GAP: Response(state),
        Event.ACTIVATE: Response(state, _STOP),
        Event.SILENCE: Response(state, _END),
    }


def _ready(state: str) -> dict[Event, Response]:
    """Motion may begin: idle, gated, running and holding, which differ in little."""
    resting = state if state in (IDLE, HOLDING) else IDLE
    return {
        Event.INSTRUCTION: Response(RUNNING, _BEGIN),
        Event.CHUNK: Response(RUNNING, _BEGIN),
        Event.COMMAND: Response(RUNNING, _BEGIN),
        Event.HOME: Response(RUNNING, Effect.REFUSE) if state == RUNNING else Response(HOMING, _BEGIN),
        Event.ARRIVED: Response(state),
        Event.LET_GO: Response(resting),
        Event.FAR: Response(GATED),
        Event.STARVED: Response(HOLDING),
        Event.END: Response(IDLE, _END),
        Event.ARM: Response(RUNNING if state == RUNNING else IDLE),
        Event.HOLD: Response(HOLDING, _STOP),
        Event.STOP: Response(STOPPED, _STOP),
        Event.RESET: Response(RUNNING if state == RUNNING else IDLE),
        Event.FAULT: Response(HOLDING, _STOP),
        Event.GAP: Response(HOLDING, Effect.CUT),
        Event.ACTIVATE: Response(IDLE, _STOP),
        Event.SILENCE: Response(HOLDING, _STOP),
    }


def _homing() -> dict[Event, Response]:
    """The arm goes home: a human may take over, whatever else leads must wait."""
    refuse = Response(HOMING, Effect.REFUSE)
    return _ready(HOLDING) | {
        Event.INSTRUCTION: refuse,
        Event.CHUNK: refuse,
        Event.HOME: refuse,
        Event.ARRIVED: Response(IDLE),
        Event.LET_GO: Response(HOMING),
        Event.STARVED: Response(HOMING),
        Event.ARM: Response(HOMING),
        Event.RESET: Response(HOMING),
    }


TABLE: dict[str, dict[Event, Response]] = {
    state: _still(state) if state in STILL else _homing() if state == HOMING else _ready(state)
    for state in STATES
}
"""What every event does in every state. A cause that stands (see `Supervisor.observe`) turns `BEGIN` into
`REFUSE`, and keeps `arm` and `reset` from leaving where they are."""


@dataclass(frozen=True)
class Decision:
    """What an event led to.

    Attributes:
        effect: What is to be done.
        reason: Why, in a sentence; where the effect is REFUSE, what the caller is told.
    """

    effect: Effect
    reason: str

    @property
    def refused(self) -> bool:
        """Whether nothing happened."""
        return Effect.REFUSE in self.effect


class Supervisor:
    """The state of the controller, and why it is in it.

    Args:
        armed: Whether motion is allowed from the start.
    """

    def __init__(self, armed: bool) -> None:
        self._armed = armed
        self._state = IDLE if armed else DISARMED
        self._reason = NO_INSTRUCTION if armed else NOT_ARMED
        self._cause, self._prevents_arming = "", False
        self._cause_for_policy = ""
        self._over = True  # an END since the last BEGIN

    @property
    def state(self) -> str:
        """One of `STATES`."""
        return self._state

    @property
    def reason(self) -> str:
        """Why nothing moves, in a sentence: the first cause, not what followed; empty in motion."""
        if self._state in (IDLE, GATED):
            return self._cause or self._cause_for_policy or self._reason
        prevents = self._state == DISARMED and self._prevents_arming
        return self._cause if self._cause and prevents else self._reason

    @property
    def refusal(self) -> str:
        """Why an instruction would be refused now; empty: it would not be."""
        return self.refusal_of(Event.INSTRUCTION)

    @property
    def refused_for_policy(self) -> bool:
        """Whether an instruction would be refused by what stands against the policy alone."""
        refusal = self.refusal
        return bool(refusal) and refusal == self._cause_for_policy

    def observe(self, cause: str, prevents_arming: bool = True, for_policy: str = "") -> None:
        """Note the causes that stand against motion now; empty: none.

        Args:
            cause: Such as joint states that are too old, in a sentence.
            prevents_arming: Whether it stands against `arm` and `reset` as well.
            for_policy: What stands against a policy's instruction alone, in a sentence.
        """
        self._cause, self._prevents_arming = cause, prevents_arming
        self._cause_for_policy = for_policy

    def handle(self, event: Event, why: str = "") -> Decision:
        """Look up what an event does, and change the state.

        Args:
            event: What happens.
            why: A sentence that becomes the reason. What follows a first cause does not replace it.
        """
        refusal = self.refusal_of(event)
        if refusal:
            return Decision(Effect.REFUSE, refusal)
        response = TABLE[self._state][event]
        state = response.state
        if event is Event.ARM:
            self._armed = True
        elif event is Event.RESET and state == IDLE and not self._armed:
            state, why = DISARMED, NOT_ARMED
        over = self._over and event in (Event.FAULT, Event.SILENCE)
        follows = state == self._state and (state in STILL or over)
        if why and not follows:
            self._reason = why
        if state in MOVING:
            self._reason = ""
        self._state = state
        if Effect.BEGIN in response.effect:
            self._over = False
        elif Effect.END in response.effect:
            self._over = True
        return Decision(response.effect, self._reason)

    def refusal_of(self, event: Event) -> str:
        """Why an event would be refused now; empty: it would not be."""
        effect = TABLE[self._state][event].effect
        if Effect.REFUSE in effect:
            if self._state == STOPPED:
                return f"stopped ({self._reason}): call ~/reset first"
            return _UNDER_WAY.get(self._state, self._reason)
        leaves = event is Event.ARM or (event is Event.RESET and self._state == HOLDING)
        if Effect.BEGIN in effect or (leaves and self._prevents_arming and self._state not in MOVING):
            of_policy = event in (Event.INSTRUCTION, Event.CHUNK)
            return self._cause or (self._cause_for_policy if of_policy else "")
        return ""


_UNDER_WAY = {
    RUNNING: "a human or the policy leads: call ~/hold first",
    HOMING: GOES_HOME,
}


def table_text() -> str:
    """`TABLE` in Markdown, as docs/reference/controller.md shows it."""
    lines = ["| event | " + " | ".join(STATES) + " |", "|---" * (len(STATES) + 1) + "|"]
    for event in Event:
        cells = [_cell(state, TABLE[state][event]) for state in STATES]
        lines.append(f"| {event.value} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(state: str, response: Response) -> str:
    if Effect.REFUSE in response.effect:
        return "refused"
    words = [word for effect, word in _WORDS.items() if effect in response.effect]
    if response.state != state:
        words.insert(0, f"-> {response.state}")
    return ", ".join(words) or "nothing"


_WORDS = {Effect.BEGIN: "begins", Effect.END: "ends", Effect.CUT: "cut", Effect.BLOCK: "blocks"}
