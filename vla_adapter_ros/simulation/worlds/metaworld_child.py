"""Meta-World as a world that is served: runs in an environment of its own (`make metaworld`)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_adapter_ros.simulation.worlds.serving import arguments, serve

STATE_WIDTH = 4
"""Of an observation: the hand's place (3,) [m] and how far open the gripper is, 0 to 1."""
_CORNER = "corner2"
_CORNER_PLACE = (0.75, 0.075, 0.7)
"""Where LeRobot's environment, and the data set lerobot/metaworld_mt50, put the camera `corner2` [m]."""
_CAMERAS = {"third_view": _CORNER, "video": _CORNER, "gripper": "gripperPOV"}
_TURNED = (_CORNER,)
"""Cameras that hang upside down: their pictures are turned by 180 degrees."""


class MetaWorld:
    """One task at a time, with the objects and the goal placed by the seed."""

    def __init__(self) -> None:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
        from metaworld.policies import ENV_POLICY_MAP

        self._environments, self._experts = ALL_V3_ENVIRONMENTS, ENV_POLICY_MAP
        self._task = ""
        self._env: Any = None
        self._expert: Any = None
        self._seen = np.zeros(0)
        self._renderers: dict[tuple[int, int], Any] = {}

    def reset(self, task: str, seed: int) -> Mapping[str, Any]:
        """Begin an episode of a task."""
        if task != self._task:
            self._open(task)
        self._env.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - Meta-World draws from it, too
        self._seen, _ = self._env.reset()
        # Meta-World puts the marker of the goal into place in its steps alone: the first picture would show
        # it where the episode before had it.
        for site in self._env._target_site_config:
            self._env._set_pos_site(*site)
        self._expert = self._experts[task]()
        return {"state": self._seen[:STATE_WIDTH].tolist(), "longest": int(self._env.max_path_length)}

    def step(self, action: np.ndarray) -> Mapping[str, Any]:
        """Let 12.5 ms pass."""
        self._seen, _, _, truncated, info = self._env.step(np.clip(action, -1.0, 1.0).astype(np.float32))
        success = bool(info["success"])
        return {
            "state": self._seen[:STATE_WIDTH].tolist(),
            "success": success,
            "over": success or bool(truncated),
            "near": bool(info["near_object"]),
            "distance": float(info["obj_to_target"]),
        }

    def expert(self) -> np.ndarray:
        """What Meta-World's scripted policy would do now, clipped as the environment does it."""
        return np.clip(np.asarray(self._expert.get_action(self._seen), np.float64), -1.0, 1.0)

    def physics(self) -> np.ndarray:
        """Positions and velocities of all joints, and where the hand is drawn to."""
        data = self._env.data
        return np.concatenate([data.qpos, data.qvel, data.mocap_pos.ravel()])

    def draw(self, camera: str, width: int, height: int) -> np.ndarray:
        """What a camera sees, without shadows and reflections."""
        name = _CAMERAS[camera]
        renderer = self._renderer(width, height)
        renderer.update_scene(self._env.data, name)
        picture = renderer.render()
        return picture[::-1, ::-1] if name in _TURNED else picture

    def _open(self, task: str) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers, self._task = {}, ""
        self._env = env = self._environments[task]()
        # As MT1's tasks are set: the goal is part of the observation, which the experts need; but objects and
        # goal are drawn anew in each episode.
        env._partially_observable = False
        del env.sawyer_observation_space
        env._set_task_called = True
        env._freeze_rand_vec = False
        env.seeded_rand_vec = True
        env.model.camera(_CORNER).pos[:] = _CORNER_PLACE
        env.model.vis.quality.offsamples = 0
        self._task = task

    def _renderer(self, width: int, height: int) -> Any:
        import mujoco

        if (width, height) not in self._renderers:
            model = self._env.model
            model.vis.global_.offwidth = max(width, int(model.vis.global_.offwidth))
            model.vis.global_.offheight = max(height, int(model.vis.global_.offheight))
            made = mujoco.Renderer(model, height, width)
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                made.scene.flags[flag] = False
            self._renderers[width, height] = made
        return self._renderers[width, height]


def main() -> None:
    """Serve Meta-World to the parent process."""
    descriptors = arguments()
    warnings.simplefilter("ignore")  # the experts' large steps, which are clipped
    serve(MetaWorld(), *descriptors)
