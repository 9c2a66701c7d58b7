"""The simulated arm as a benchmark of `vla-eval`."""

from __future__ import annotations

from typing import Any

import numpy as np
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.specs import IMAGE_RGB, LANGUAGE, RAW, DimSpec

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.stepped import SteppedArm


class SimulatedArmBenchmark(StepBenchmark):  # type: ignore[misc]
    """A suite of the simulator: its tasks by their line in the table of results.

    Args:
        suite: Name of the suite.
        contract: The simulated robot's: shipped name or path.
        seed: First scene; None: the suite's.
        renderer: raycast, egl, osmesa, or auto.

    Raises:
        ParameterError, ContractError, SimulationError: no such suite, contract or robot.
    """

    render_backends = frozenset({"gpu", "cpu"})

    def __init__(
        self,
        suite: str = "pick",
        contract: str = "franka_sim",
        seed: int | None = None,
        renderer: str = "raycast",
    ) -> None:
        super().__init__()
        self._arm = SteppedArm(read_contract(contract), suite, renderer)
        self._seed = self._arm.suite.seed if seed is None else seed

    @classmethod
    def configure_render(cls, mode: str) -> dict[str, str]:
        """Nothing is set: `renderer` says how images are drawn."""
        return {}

    def get_tasks(self) -> list[dict[str, Any]]:
        """The suite's tasks."""
        return [{"name": name, "suite": self._arm.suite.name} for name in self._arm.suite.chance]

    def reset(self, task: dict[str, Any]) -> None:
        """Put up the scene of the task's next episode."""
        number, names = int(task.get("episode_idx", 0)), list(self._arm.suite.chance)
        plans = [
            plan
            for plan in self._arm.suite.plans((number + 1) * len(names), self._seed)
            if plan.task == task["name"]
        ]
        if number >= len(plans):
            raise ParameterError(f"episode {number} of task {task['name']!r}: the suite has {len(plans)}")
        self._plan = plans[number]
        self._arm.begin(self._plan)

    def step(self, action: dict[str, Any]) -> StepResult:
        """Carry out one row."""
        over = self._arm.step(np.asarray(action["actions"]))
        return StepResult(obs=None, reward=float(over and self._arm.result().success), done=over, info={})

    def make_obs(self, raw_obs: Any, task: dict[str, Any]) -> dict[str, Any]:
        """Images, state and instruction now."""
        return {
            "images": self._arm.images(),
            "state": self._arm.state(),
            "task_description": self._plan.instruction,
        }

    def get_step_result(self, step_result: StepResult) -> dict[str, Any]:
        """Whether the episode succeeded, and what happened."""
        result = self._arm.result()
        return {"success": result.success, "ending": result.ending, "note": result.note}

    def get_metadata(self) -> dict[str, Any]:
        """The longest episode."""
        return {"max_steps": self._arm.most_steps, "suite": self._arm.suite.name}

    def get_action_spec(self) -> dict[str, DimSpec]:
        """The contract's columns."""
        return {"actions": RAW}

    def get_observation_spec(self) -> dict[str, DimSpec]:
        """The contract's cameras, its state, and the instruction."""
        cameras = dict.fromkeys(self._arm.contract.camera_names, IMAGE_RGB)
        return {**cameras, "state": RAW, "language": LANGUAGE}

    def cleanup(self) -> None:
        """Free the renderers."""
        self._arm.close()
