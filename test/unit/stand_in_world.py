"""A world that needs nothing: a point in a plane that has to come to a place that the seed draws."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from vla_adapter_ros.simulation.worlds import process
from vla_adapter_ros.simulation.worlds.serving import arguments, serve

START = np.array([0.0, 0.6])  # within the limits of the contract metaworld, as all of the state is
MIDDLE = np.array(
    [0.3, 0.5]
)  # the last two values of the state tell the goal: this, and the way to it from START
STEP, WITHIN, NEAR = 0.01, 0.01, 0.02


def goal_of(state) -> np.ndarray:
    """The place (2,) to come to, from a state (4,)."""
    return START + np.asarray(state)[2:] - MIDDLE


def use_stand_in(monkeypatch) -> Path:
    """Let children find this file, and the package under test; returns the Python to start them with."""
    folders = [str(Path(__file__).parent), str(Path(process.__file__).parents[3])]
    monkeypatch.setattr(process, "_START", f"import sys; sys.path[:0] = {folders!r}; " + process._START)
    return Path(sys.executable)


class PlaneWorld:
    """Any task is the same; but `slow` never answers, `dies` ends the process, `talks` prints."""

    def reset(self, task, seed):
        if task == "slow":
            time.sleep(60.0)
        if task == "dies":
            print("no such library", file=sys.stderr, flush=True)
            os._exit(3)
        if task == "talks":
            print("welcome" * 20_000, flush=True)
        if task == "swim":
            raise KeyError(task)
        rng = np.random.default_rng(seed)
        self._goal, self._place = START + rng.uniform(-0.2, 0.2, 2), START.copy()
        return {"state": self._state(), "longest": 50}

    def step(self, action):
        self._place = self._place + STEP * np.clip(action[:2], -1.0, 1.0)
        distance = float(np.linalg.norm(self._goal - self._place))
        success = distance < WITHIN
        facts = {"near": distance < NEAR, "distance": distance}
        return {"state": self._state(), "success": success, "over": success, **facts}

    def expert(self):
        return np.append(np.clip((self._goal - self._place) / STEP, -1.0, 1.0), [0.0, 1.0])

    def physics(self):
        return np.concatenate([self._place, self._goal])

    def draw(self, camera, width, height):
        picture = np.zeros((height, width, 3), np.uint8)
        for channel, place in enumerate((self._place, self._goal)):
            column, row = ((place - START + 0.5) * (width, height)).astype(int)
            picture[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1), channel] = 255
        return picture[::-1] if camera == "gripper" else picture

    def _state(self):
        return [*self._place.tolist(), *(self._goal - START + MIDDLE).tolist()]


def main() -> None:
    """Serve it."""
    serve(PlaneWorld(), *arguments())
