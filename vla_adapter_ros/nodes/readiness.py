"""Whether an instruction, or a recording, may begin now. Pure: what is known is passed in. No rclpy here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vla_adapter_ros.control.supervisor import DISARMED, NOT_ARMED, STILL
from vla_adapter_ros.dataset.leader import SILENCE_S


def controller_problem(status: Any, age_s: float) -> str:
    """Why the controller would refuse an instruction, the first cause; empty if it would not.

    Args:
        status: Its newest `ControllerStatus`; None: none was heard.
        age_s: Time since it was heard [s].
    """
    if status is None or not math.isfinite(age_s):
        return "no controller is heard on controller/status: start and activate it"
    if age_s > SILENCE_S:
        return (
            f"controller: its newest status is {age_s:.1f} s old, allowed are {SILENCE_S:g} s: is it active?"
        )
    why = status.blocked_by
    if not why:
        return ""
    if status.state not in STILL:
        return f"controller: {why}"
    if status.state == DISARMED and why == NOT_ARMED:
        return "controller is disarmed: call ~/arm"
    return f"controller is {why}" if why.startswith(status.state) else f"controller is {status.state}: {why}"


def not_ready(
    *, inputs: Sequence[str] = (), controller: str = "", listeners: int | None = None, text: str = ""
) -> str:
    """Everything that stands against beginning now, in the order of causes; empty if nothing does.

    Args:
        inputs: Why no good frame can be made: see `ObservationBuilder.obstacles`.
        controller: See `controller_problem`; empty where none is needed.
        listeners: Subscribers of the action chunks; None where none are needed.
        text: Why the text does not fit the model.
    """
    causes = [*inputs]
    if controller:
        causes.append(controller)
    elif listeners == 0:
        causes.append("no controller listens to the action chunks")
    if text:
        causes.append(text)
    return "not ready: " + "; ".join(causes) if causes else ""
