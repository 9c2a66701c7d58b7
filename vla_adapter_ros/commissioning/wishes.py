"""What a user has said of a robot already, and how more is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vla_adapter_ros.errors import ContractError

Ask = Callable[[str, Sequence[str], str], str]
"""Called with a question, known answers, and the one that is taken for right; gives the answer."""


def take_default(question: str, answers: Sequence[str], default: str) -> str:
    """Answers every question by what is taken for right."""
    return default


@dataclass(frozen=True)
class Wishes:
    """What a user has said already; what is empty is found out.

    Attributes:
        name: Of the contract.
        robot_type: Kind of robot.
        rate_hz: Rows per second [Hz].
        cameras: Topics, the reference camera first.
        joint_states: Topics of the joint states.
        joints: Joints of the arm, in order, as the joint states call them.
        commands: Topics of the arm's controllers.
        gripper_topics: Where the grippers are told.
        teleop: Topics of a human's devices.
    """

    name: str
    robot_type: str = ""
    rate_hz: float = 0.0
    cameras: tuple[str, ...] = ()
    joint_states: tuple[str, ...] = ()
    joints: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    gripper_topics: tuple[str, ...] = ()
    teleop: tuple[str, ...] = ()


def require_there(names: Sequence[str], there: Sequence[str], what: str) -> None:
    """Refuse wishes that the graph does not have.

    Args:
        names: What was wished for.
        there: What the graph has.
        what: What the names are of, such as camera.

    Raises:
        ContractError: names the first that is missing.
    """
    for name in names:
        if name not in there:
            raise ContractError(f"{what} {name}: the graph has {', '.join(there) or 'none'}")
