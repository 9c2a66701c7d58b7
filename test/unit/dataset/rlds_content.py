"""What the samples of RLDS data hold, episode by episode: numbers alone, the same wherever they are made."""

from __future__ import annotations

from typing import Any

import numpy as np

SIZE = 48  # of the images [px]


def libero_episodes() -> list[dict[str, Any]]:
    """Two episodes as the LIBERO sets have them; in the second the arm rests in rows 3 and 4."""
    episodes = []
    for number, (length, task) in enumerate(((12, "pick up the bowl"), (10, "open the drawer"))):
        t = np.arange(length)
        action = np.stack([0.3 * np.sin(0.5 * t + axis + number) for axis in range(7)], axis=1)
        action[:, 6] = np.where(t < 6, -1.0, 1.0)  # -1 opens
        if number == 1:
            action[3:5, :6] = 0.0
        state = np.concatenate([np.cumsum(0.05 * action[:, :6], axis=0), np.full((length, 2), 0.04)], axis=1)
        state[t >= 6, 6:] = [0.01, -0.01]
        images = {name: _pictures(length, number, view) for view, name in enumerate(("image", "wrist_image"))}
        episodes.append(_episode(images, state, action, task))
    return episodes


def bridge_episodes() -> list[dict[str, Any]]:
    """Two episodes as Bridge has them: the gripper is half open in between, one has no instruction."""
    episodes = []
    for number, task in enumerate(("put the spoon on the towel", "")):
        length = 9
        t = np.arange(length)
        state = np.stack([0.1 * np.cos(0.4 * t + axis + number) for axis in range(7)], axis=1)
        state[:, 6] = np.linspace(1.0, 0.2, length)
        action = np.zeros((length, 7))
        action[:, 6] = [1.0, 1.0, 0.98, 0.6, 0.3, 0.02, 0.0, 0.4, 1.0]
        images = {"image_0": _pictures(length, number, 5)}
        episodes.append(_episode(images, state, action, task))
    return episodes


def _episode(
    images: dict[str, np.ndarray], state: np.ndarray, action: np.ndarray, task: str
) -> dict[str, Any]:
    return {
        "images": images,
        "state": state.astype(np.float32),
        "action": action.astype(np.float32),
        "task": task,
    }


def _pictures(length: int, number: int, view: int) -> np.ndarray:
    """Smooth pictures, whose corners differ, uint8 (T, SIZE, SIZE, 3)."""
    row, column = np.mgrid[:SIZE, :SIZE] / SIZE
    shades = [200 * row, 200 * column, 100 * (row + column)]
    base = (
        np.stack(shades, axis=-1)[None] + (4 * np.arange(length) + 5 * number + 3 * view)[:, None, None, None]
    )
    return base.clip(0, 255).astype(np.uint8)
