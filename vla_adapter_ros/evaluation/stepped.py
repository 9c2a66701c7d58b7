"""The simulated arm one action row at a time, as harnesses of others drive an environment."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import ChunkError, CommandError
from vla_adapter_ros.evaluation.perturbed import put_up
from vla_adapter_ros.evaluation.policy_loop import (
    TICK_S,
    armed_core,
    chunk_of_rows,
    measured_joints,
    measured_state,
    see,
    send_motion,
)
from vla_adapter_ros.evaluation.suite import Plan, Result, result_of
from vla_adapter_ros.evaluation.suites import table_suite
from vla_adapter_ros.simulation.robot import SimulatedRobot


class SteppedArm:
    """Episodes of a suite, moved on by one row per step of 1 / `contract.rate_hz`.

    An absolute row is reached at the end of its step: one row later than in a chunk, whose row 0 is due at
    its image. The arm is moved by `MotionCore`, within the contract's limits. Starts without an episode.

    Args:
        contract: The robot's.
        suite: Name of the suite.
        renderer: raycast, egl, osmesa, or auto.

    Raises:
        ParameterError, SimulationError: no such suite, or no such robot.
    """

    def __init__(self, contract: Contract, suite: str = "pick", renderer: str = "raycast") -> None:
        self.contract = contract
        self.suite = table_suite(suite, contract)
        self.most_steps = round(self.suite.longest_s * contract.rate_hz)
        """Of an episode."""
        self.robot = SimulatedRobot(contract, renderer, table=self.suite.table)
        self._ticks = round(1.0 / contract.rate_hz / TICK_S)

    def begin(self, plan: Plan) -> None:
        """Put up a plan's scene."""
        put_up(self.robot, plan)
        self._core = armed_core(self.contract)
        self._plan, self._judge = plan, self.suite.judge(plan)
        self._before: np.ndarray | None = None
        self._begun, self._tick, self._refused = self.robot.time, 0, ""
        self.steps = 0
        """Rows since the episode began."""
        self.over = False
        """Whether the judge has seen enough, or a row was refused."""

    def images(self) -> dict[str, np.ndarray]:
        """What each camera sees now, uint8 (H, W, 3), by the contract's names and in its order."""
        return {name: self.robot.render(name) for name in self.contract.camera_names}

    def state(self) -> np.ndarray:
        """Proprioception now, float64 (S,), as the contract orders it."""
        return measured_state(self.contract, self.robot)

    def step(self, row: np.ndarray) -> bool:
        """Carry out one row.

        Args:
            row: Action (A,), columns and units of the contract.

        Returns:
            Whether the episode is over; time beyond `most_steps` is the harness's to judge.

        Raises:
            CommandError: it has another width, or holds a value that is not finite.
        """
        row = np.asarray(row, dtype=np.float64)
        width = len(self.contract.action_names)
        if row.shape != (width,) or not np.isfinite(row).all():
            raise CommandError(f"action of shape {row.shape}: allowed are {width} finite numbers")
        before = row if self._before is None else self._before
        self._before = row
        rows = np.array([row]) if self.contract.action.space.is_delta else np.array([before, row])
        joints, now = measured_joints(self.robot), self.robot.time
        for tick in range(self._ticks):
            self._core.measure(joints, now)
            if tick == 0:
                try:
                    self._core.accept_chunk(chunk_of_rows(self.contract, rows, now, self.steps), now)
                except ChunkError as error:
                    self._refused, self.over = str(error), True
                    break
            self._core.tick(now)
            send_motion(self._core, self.robot, now, self._tick)
            self.over = self._judge.look(see(self.robot, now - self._begun)) or self.over
            self.robot.advance(TICK_S)
            self._tick += 1
            joints, now = measured_joints(self.robot), self.robot.time
        self.steps += 1
        return self.over

    def result(self) -> Result:
        """How the episode stands, or ended."""
        return result_of(self._plan, self._judge, self._refused, self.robot.time - self._begun, self.steps)

    def close(self) -> None:
        """Free the renderers."""
        self.robot.close()
