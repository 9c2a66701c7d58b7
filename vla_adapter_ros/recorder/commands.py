"""Commands of a recording session by name, as buttons, keys and the command topic send them."""

from __future__ import annotations

from collections.abc import Sequence

from vla_adapter_ros.recorder.session import RecordingSession
from vla_adapter_ros.recorder.session_types import Reply, SessionState

COMMANDS = ("start", "stop", "toggle", "discard", "rerecord", "save")


def run_command(session: RecordingSession, words: str, now: float, issues: Sequence[str] = ()) -> Reply:
    """Carry out a command.

    Args:
        session: It is told to.
        words: One of `COMMANDS`; after `start` the instruction, empty: that of the episode before.
        now: Time [s].
        issues: Streams that are missing, in words; any refuses a start.
    """
    name, _, instruction = words.strip().partition(" ")
    if name == "toggle":
        name = "stop" if session.state is SessionState.RECORDING else "start"
    match name:
        case "start":
            return session.start(instruction, now, issues)
        case "rerecord":
            return session.rerecord(now, issues)
        case "stop":
            return session.stop()
        case "discard":
            return session.discard()
        case "save":
            return session.save()
    return session.refuse(f"command {words!r}: allowed are {', '.join(COMMANDS)}")
