"""Demonstrations of a world's scripted expert, row by row as a policy would carry them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vla_adapter_ros.simulation.worlds.process import WorldProcess

NOISE = (0.0, 0.12, 0.25)
"""In turn: how strongly a demonstration's motion is disturbed, as the standard deviation of what is added to
each value at each step (1 is the largest step), before it is smoothed."""
NOISE_MEMORY = 0.8
"""What is left of a disturbance one step later."""
ROWS_AFTER = 2
"""Rows that are recorded after the task is done: the last chunks go on instead of stopping short."""


class Row(NamedTuple):
    """What was seen, and what was done from then on."""

    images: dict[str, np.ndarray]
    """uint8 (H, W, 3) by camera."""
    state: np.ndarray
    """float64 (S,)."""
    action: np.ndarray
    """Mean of the expert's actions in the steps of the row, float64 (A,); without the disturbance."""


def demonstrate(
    world: WorldProcess,
    cameras: Sequence[str],
    task: str,
    seed: int,
    *,
    noise: float,
    steps_per_row: int,
    longest_rows: int,
) -> list[Row] | None:
    """Let the expert do a task, while its motion is disturbed, from which it recovers.

    Args:
        world: Whose expert.
        cameras: To look through.
        task: As the world calls it.
        seed: Of the episode and of the disturbance.
        noise: See `NOISE`; the last value of an action, the gripper, is not disturbed.
        steps_per_row: Simulator steps in a row.
        longest_rows: Give up after so many rows.

    Returns:
        The rows; None: the expert did not do it in time.
    """
    rng = np.random.default_rng([seed, 1])
    rows: list[Row] = []
    state, disturbance, left = world.reset(task, seed).state, np.zeros(1), -1
    while left != 0:
        if left < 0 and len(rows) == longest_rows:
            return None
        images = dict(zip(cameras, world.look(cameras), strict=True)) if cameras else {}
        wanted = []
        for _ in range(steps_per_row):
            action = world.expert()
            wanted.append(action.copy())
            disturbance = NOISE_MEMORY * disturbance + noise * rng.normal(size=len(action) - 1)
            action[:-1] += disturbance
            now = world.step([action])
            if now.success and left < 0:
                left = ROWS_AFTER + 1
        rows.append(Row(images, state, np.mean(wanted, axis=0)))
        state = now.state
        left -= left > 0
    return rows
