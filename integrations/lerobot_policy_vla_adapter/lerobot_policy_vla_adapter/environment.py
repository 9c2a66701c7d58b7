"""The simulated arm of vla_adapter_ros as an environment of LeRobot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE


@EnvConfig.register_subclass("vla_adapter_sim")
@dataclass
class SimulatedArmConfig(EnvConfig):
    """A suite of the simulator.

    Attributes:
        task: Name of the suite.
        contract: The simulated robot's: shipped name or path.
        renderer: raycast, egl, osmesa, or auto.
        fps: Steps per second; set from the contract.
    """

    task: str | None = "pick"
    contract: str = "franka_sim"
    renderer: str = "raycast"
    fps: int = 10

    def __post_init__(self) -> None:
        from vla_adapter_ros.contract import read_contract

        contract = read_contract(self.contract)
        self.fps = round(contract.rate_hz)
        self.features = {
            ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(len(contract.action_names),)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(len(contract.state),)),
        }
        self.features_map = {ACTION: ACTION, "agent_pos": OBS_STATE}
        for name, camera in contract.cameras.items():
            shape = (camera.height, camera.width, 3)
            key = f"{OBS_IMAGES}.{name}"  # LeRobot's recording knows an image by this name alone
            self.features[key] = PolicyFeature(type=FeatureType.VISUAL, shape=shape)
            self.features_map[key] = key

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Of `SimulatedArm`."""
        return {"contract": self.contract, "suite": self.task, "renderer": self.renderer}

    def create_envs(self, n_envs: int, use_async_envs: bool = False) -> Mapping[str, Any]:
        """Environments side by side."""
        kind = gym.vector.AsyncVectorEnv if use_async_envs and n_envs > 1 else gym.vector.SyncVectorEnv
        made = kind(
            [lambda: SimulatedArm(**self.gym_kwargs)] * n_envs,
            autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
        )
        return {str(self.task): {0: made}}


class SimulatedArm(gym.Env):
    """Episodes of a suite; a seed is the number of a scene, and of what is asked for in it.

    Args:
        contract: The robot's: shipped name or path.
        suite: Name of the suite.
        renderer: How images are drawn.

    Raises:
        ParameterError, ContractError, SimulationError: no such suite, contract or robot.
    """

    def __init__(self, contract: str, suite: str, renderer: str) -> None:
        from vla_adapter_ros.contract import read_contract
        from vla_adapter_ros.evaluation.stepped import SteppedArm

        robot = read_contract(contract)
        self._arm = SteppedArm(robot, suite, renderer)
        self._max_episode_steps = self._arm.most_steps
        self._scene = self._arm.suite.seed
        self.task = self.task_description = suite
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(robot.rate_hz)}
        self.render_mode = "rgb_array"
        images = {
            name: gym.spaces.Box(0, 255, (camera.height, camera.width, 3), np.uint8)
            for name, camera in robot.cameras.items()
        }
        state = gym.spaces.Box(-np.inf, np.inf, (len(robot.state),), np.float64)
        self.observation_space = gym.spaces.Dict({"pixels": gym.spaces.Dict(images), "agent_pos": state})
        self.action_space = gym.spaces.Box(-np.inf, np.inf, (len(robot.action_names),), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Put up the scene `seed`; None: the next one."""
        super().reset(seed=seed)
        scene = self._scene if seed is None else seed
        self._scene = scene + 1
        plan = self._arm.suite.demonstration(scene, scene)
        self.task_description = plan.instruction
        self._arm.begin(plan)
        return self._seen(), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Carry out one row (A,), in the contract's units."""
        over = self._arm.step(action)
        success = over and self._arm.result().success
        truncated = not over and self._arm.steps >= self._max_episode_steps
        return self._seen(), float(success), over, truncated, {"is_success": success}

    def render(self) -> np.ndarray:
        """What the reference camera sees."""
        return self._arm.robot.render(self._arm.contract.reference_camera)

    def close(self) -> None:
        """Free the renderers."""
        self._arm.close()

    def _seen(self) -> dict[str, Any]:
        return {"pixels": self._arm.images(), "agent_pos": self._arm.state()}
