"""LIBERO as a world that is served: runs in an environment of its own (`make libero`).

An episode is that of the published evaluation: the environment is made once per task and seeded with 0,
each episode resets it, restores a stored state and lets ten steps pass without motion. The places of
fixtures are drawn in the reset and are no part of the stored states, so episode n of a task begins after
n + 1 resets.

robosuite observes in the first physics step of each control step, where positions are those from before it:
what is seen after an action is what was there before. Pictures here are the same, but drawn when they are
asked for.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from vla_adapter_ros.simulation.worlds.libero_suites import (
    LONGEST,
    PERTURBED,
    PICTURE,
    STILL_STEPS,
    base_suite,
)
from vla_adapter_ros.simulation.worlds.serving import arguments, serve

_CAMERAS = {"third_view": "agentview", "video": "agentview", "gripper": "robot0_eye_in_hand"}
_STILL = [0.0] * 6 + [-1.0]
_ENVIRONMENT_SEED = 0


class Libero:
    """One task at a time, from stored initial states."""

    def __init__(self) -> None:
        from libero.libero import benchmark, get_libero_path
        from libero.libero.envs import OffScreenRenderEnv

        self._benchmark, self._folder = benchmark, Path(get_libero_path("bddl_files"))
        self._make = OffScreenRenderEnv
        self._suites: dict[str, Any] = {}
        self._task, self._resets = "", 0
        self._env: Any = None
        self._expert: Any = None

    def reset(self, task: str, seed: int) -> Mapping[str, Any]:
        """Begin an episode.

        Args:
            task: Suite and number of the task, such as `libero_spatial_3`.
            seed: Number of the stored initial state.

        Raises:
            ValueError: no such suite, task or state.
        """
        name, _, number = task.rpartition("_")
        base, suite = base_suite(name), self._suite(name)
        if not number.isdecimal() or int(number) >= suite.n_tasks:
            raise ValueError(f"task {task!r}: allowed is {name}_0 to {name}_{suite.n_tasks - 1}")
        states = suite.get_task_init_states(int(number))
        if not 0 <= seed < len(states):
            raise ValueError(f"initial state {seed} of {task}: allowed is 0 to {len(states) - 1}")
        if task != self._task or self._resets > seed:
            self._open(task, suite.get_task(int(number)))
        while self._resets <= seed:
            self._env.reset()
            self._resets += 1
        self._watch_cameras()
        self._seen = self._env.set_init_state(states[seed])
        for _ in range(STILL_STEPS):
            self._seen, *_ = self._env.step(_STILL)
        self._steps, self._longest = 0, LONGEST[base]
        self._expert = None
        return {"state": self._state(), "longest": self._longest, "instruction": self._instruction}

    def step(self, action: np.ndarray) -> Mapping[str, Any]:
        """Let 50 ms pass."""
        self._seen, _, done, _ = self._env.step(action.tolist())
        self._steps += 1
        return {
            "state": self._state(),
            "success": bool(done),
            "over": bool(done) or self._steps >= self._longest,
        }

    def expert(self) -> np.ndarray:
        """What the script would do now; of tasks of picking and placing alone."""
        from vla_adapter_ros.simulation.worlds.libero_expert import PickAndPlace

        if self._expert is None:
            self._expert = PickAndPlace(self._env.env)
        return self._expert.action()

    def physics(self) -> np.ndarray:
        """Time, positions and velocities of all joints, and where fixtures stand."""
        return np.concatenate([self._env.get_sim_state(), self._env.sim.model.body_pos.ravel()])

    def draw(self, camera: str, width: int, height: int) -> np.ndarray:
        """What a camera saw last, upside down and mirrored, as LIBERO gives it."""
        sim = self._env.sim
        context, data, colors = sim._render_context_offscreen, sim.data, sim.model.site_rgba.copy()
        context.data = SimpleNamespace(_data=self._then)
        sim.model.site_rgba[:] = self._colors_then
        try:
            return sim.render(camera_name=_CAMERAS[camera], width=width, height=height)
        finally:
            context.data = data
            sim.model.site_rgba[:] = colors

    def _suite(self, name: str) -> Any:
        if name not in self._suites:
            self._suites[name] = self._benchmark.get_benchmark(name)()
        return self._suites[name]

    def _open(self, task: str, entry: Any) -> None:
        if self._env is not None:
            self._env.close()
        self._task = ""
        bddl = self._folder / entry.problem_folder / entry.bddl_file
        self._env = self._make(bddl_file_name=str(bddl), camera_heights=PICTURE, camera_widths=PICTURE)
        self._env.seed(_ENVIRONMENT_SEED)
        self._resets, self._task = 0, task
        # LIBERO takes the words from a file's name; LIBERO-Pro has other words in files of the same names.
        perturbed = entry.problem_folder in PERTURBED
        self._instruction = self._env.language_instruction if perturbed else entry.language
        if not isinstance(self._instruction, str):
            self._instruction = " ".join(self._instruction)

    def _watch_cameras(self) -> None:
        """Let robosuite take a copy of the state where it would draw a picture."""
        import mujoco
        from robosuite.utils.observables import sensor

        env = self._env.env
        model = env.sim.model._model
        self._then = mujoco.MjData(model)
        blank = np.zeros((PICTURE, PICTURE, 3), np.uint8)

        def keep(_: Any) -> np.ndarray:
            mujoco.mj_copyData(self._then, model, env.sim.data._data)
            self._colors_then = env.sim.model.site_rgba.copy()
            return blank

        def same(_: Any) -> np.ndarray:
            return blank

        for n, camera in enumerate(env.camera_names):
            env.modify_observable(f"{camera}_image", "sensor", sensor(modality="image")(same if n else keep))

    def _state(self) -> list[float]:
        """Place of the hand [m], its turn as axis times angle [rad], positions of the fingers [m]."""
        seen = self._seen
        turn = _axis_angle(seen["robot0_eef_quat"])
        return [*map(float, (*seen["robot0_eef_pos"], *turn, *seen["robot0_gripper_qpos"]))]


def _axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """As robosuite: of (x, y, z, w), an angle of 0 to 2 pi."""
    w = min(max(float(quaternion[3]), -1.0), 1.0)
    sine = math.sqrt(1.0 - w * w)
    if math.isclose(sine, 0.0):
        return np.zeros(3)
    return quaternion[:3] * 2.0 * math.acos(w) / sine


def main() -> None:
    """Serve LIBERO to the parent process."""
    descriptors = arguments()
    warnings.simplefilter("ignore")
    serve(Libero(), *descriptors)
