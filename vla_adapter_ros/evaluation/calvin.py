"""CALVIN's protocol: chains of five subtasks in a row, and how many of them a policy gets done.

CALVIN itself is no package that could be installed here. What an installation of it gives is the interface
`Calvin`; the rest of the protocol is in this file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.policy_loop import Policy
from vla_adapter_ros.trials.rates import rounded_interval

CHAINS = 1000
"""As published."""
SUBTASKS = 5
"""Of a chain; it ends at the first that is not done."""
LONGEST_STEPS = 360
"""Of a subtask."""
_STATE = (
    *range(7),
    14,
)  # of CALVIN's robot_obs: the hand's pose, its opening, the gripper's last command


class Sight(NamedTuple):
    """What is seen now."""

    static: np.ndarray
    """Picture of the static camera, uint8 (200, 200, 3)."""
    gripper: np.ndarray
    """Picture of the gripper's camera, uint8 (84, 84, 3)."""
    robot_obs: np.ndarray
    """CALVIN's own, float64 (15,)."""


class Calvin(Protocol):
    """An installation of CALVIN: its environment, its task oracle, its sequences and its annotations."""

    def chains(self, count: int) -> Sequence[tuple[Any, Sequence[str]]]:
        """Initial states and five subtasks each: CALVIN's `get_sequences(count)`."""

    def instruction(self, subtask: str) -> str:
        """The first validation annotation of a subtask."""

    def reset(self, initial_state: Any) -> None:
        """Put robot and scene into the state that a chain begins with."""

    def begin(self, subtask: str) -> None:
        """Remember the scene: from here on the subtask counts."""

    def observe(self) -> Sight:
        """What is seen now."""

    def step(self, action: np.ndarray) -> None:
        """Carry out a relative action (7,), whose gripper is 1 to open and -1 to close."""

    def is_done(self) -> bool:
        """Whether the task oracle says that the subtask was done since it began."""


def load_installation(name: str) -> Calvin:
    """What `module:name` makes when it is called without arguments.

    Raises:
        ParameterError: there is no such module or name.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)()
    except (ImportError, AttributeError, ValueError) as error:
        raise ParameterError(
            f"installation {name!r}: {error}; allowed is MODULE:NAME of what makes a `Calvin`"
        ) from None


def run_chain(calvin: Calvin, policy: Policy, initial_state: Any, subtasks: Sequence[str], rows: int) -> int:
    """How many subtasks of a chain are done, one after the other.

    Args:
        calvin: Where.
        policy: Asked for chunks.
        initial_state: Of the chain.
        subtasks: Their names.
        rows: Executed of each chunk; a new subtask begins with a new one.
    """
    calvin.reset(initial_state)
    for count, subtask in enumerate(subtasks):
        if not _run_subtask(calvin, policy, subtask, rows):
            return count
    return len(subtasks)


def run_chains(
    calvin: Calvin,
    policy: Policy,
    rows: int,
    count: int = CHAINS,
    report: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Let a policy do chains.

    Args:
        calvin: Where.
        policy: Asked for chunks.
        rows: Executed of each chunk.
        count: Chains.
        report: Called with the number of subtasks that were done, after each chain.

    Returns:
        See `summarize`.
    """
    done: list[int] = []
    for initial_state, subtasks in calvin.chains(count):
        done.append(run_chain(calvin, policy, initial_state, subtasks, rows))
        report(done[-1])
    return summarize(done)


def summarize(done: Sequence[int]) -> dict[str, Any]:
    """Average length, and how many chains came how far, ready for JSON.

    Args:
        done: Subtasks that were done, of each chain.
    """
    reached = [sum(length >= k for length in done) for k in range(1, SUBTASKS + 1)]
    return {
        "chains": len(done),
        "average_length": round(float(np.mean(done)), 4) if done else None,
        "success": {
            str(k): {"rate": round(n / len(done), 4), "interval": rounded_interval(n, len(done))}
            for k, n in enumerate(reached, start=1)
            if done
        },
        "lengths": list(done),
    }


def _run_subtask(calvin: Calvin, policy: Policy, subtask: str, rows: int) -> bool:
    text, waiting = calvin.instruction(subtask), deque[np.ndarray]()
    calvin.begin(subtask)
    for _ in range(LONGEST_STEPS):
        if not waiting:
            sight = calvin.observe()
            state = np.asarray(sight.robot_obs, np.float64)[list(_STATE)]
            waiting.extend(policy.predict([sight.static, sight.gripper], text, state)[:rows])
        calvin.step(waiting.popleft())
        if calvin.is_done():
            return True
    return False
