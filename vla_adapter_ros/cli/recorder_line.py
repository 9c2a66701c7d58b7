"""What the recorder does, in one line for a terminal."""

from __future__ import annotations

import math
from typing import Any

LONG_MIN = 24 * 60  # more than this is no estimate that anybody needs [min]


def status_line(status: Any) -> str:
    """A RecorderStatus in one line."""
    silent = [name for name, age in zip(status.streams, status.ages, strict=True) if not age < 1.0]
    hint = " (a arms it)" if status.controller == "disarmed" else ""
    parts = [status.state]
    if status.state == "pending":
        parts += [
            *(line for line in status.verdict if line.startswith("fail")),
            "save it (s) or discard it (d)?",
        ]
    parts.append("no controller" if status.controller == "none" else f"controller {status.controller}{hint}")
    if status.state != "idle":
        parts += [f"episode {status.episode}"] if status.episode >= 0 else []
        parts.append(f"{status.frames} frames, {status.rate_hz:.2f} Hz, {status.dropped} left out")
        parts.append(f"queue {status.queue_depth}")
    if status.interventions:
        parts.append(f"{status.interventions} interventions")
    if status.outcome:
        parts.append(
            f"{status.outcome}: {status.outcome_reason}" if status.outcome_reason else status.outcome
        )
    parts.append(f"{status.episodes} on disk" + (f" + {status.saving} being saved" if status.saving else ""))
    parts += _time_left(status.minutes_left)
    if silent:
        parts.append(f"silent: {', '.join(silent)}")
    return " | ".join(parts)


def _time_left(minutes: float) -> list[str]:
    """How long can still be recorded, as a part of the status line; nothing where nobody knows."""
    if not math.isfinite(minutes):
        return []
    return ["> 24 h left" if minutes > LONG_MIN else f"{minutes:.0f} min left"]
