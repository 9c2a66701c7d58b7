"""The scripted expert teleoperates the simulated arm through `MotionCore`: demonstrations without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_adapter_ros.contract import Contract, require_same
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.dataset.layout import stream_names
from vla_adapter_ros.evaluation.latency import Latency
from vla_adapter_ros.evaluation.perturbed import put_up
from vla_adapter_ros.evaluation.policy_loop import (
    TICK_S,
    measured_joints,
    measured_state,
    run_policy,
    see,
    send_motion,
)
from vla_adapter_ros.evaluation.suite import Ending, Judge, Plan
from vla_adapter_ros.evaluation.suites import table_suite
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.simulation.experts import make_expert
from vla_adapter_ros.simulation.robot import SimulatedRobot

MISHAPS = ((0.0, 0.0), (0.005, 0.4), (0.008, 0.4))
"""In turn: how far the tool is pushed [m], from where the arm recovers within its limits; and how often the
gripper shuts beside the object [1/s], as policies that did so once have to open and shut again."""
AFTER_DONE_S = 0.3
SHORTEST_LEAD_S, LONGEST_LEAD = 0.5, 1 / 3
"""Where a policy begins, the expert takes over after this time at the earliest, and after this share of the
suite's time at the latest."""
_COMMAND_EVERY = 2  # ticks between two commands of the expert
_STILL_RAD_S, _STILL_WITHIN_S = 0.02, 2.0


@dataclass(frozen=True)
class Demonstration:
    """What came of one try.

    Attributes:
        plan: What was asked for.
        done: Whether the expert did it.
        frames: What a recorder would have recorded of it, with the expert's commands as actions.
    """

    plan: Plan
    done: bool
    frames: tuple[Frame, ...]


class DemonstrationLoop:
    """What a process needs: robot, suite and, if one begins, policy.

    Args:
        contract: The simulated robot's.
        suite: Whose tasks are demonstrated.
        first: Seed of the scene of try 0.
        renderer: raycast, egl, osmesa, or auto.
        checkpoint: Policy that leads first in each try, so that the expert shows the way back from where it
            comes; None: the expert leads from the beginning.

    Raises:
        ParameterError: no such suite.
        ContractMismatch: the checkpoint was made for another robot.
        CheckpointError, SimulationError: the checkpoint or the simulator cannot be had.
    """

    def __init__(
        self,
        contract: Contract,
        suite: str,
        first: int,
        renderer: str = "raycast",
        checkpoint: Path | None = None,
    ) -> None:
        self._suite = table_suite(suite, contract)
        self._policy = (
            None if checkpoint is None else VlaAdapterPolicy.from_pretrained(checkpoint, device="cpu")
        )
        if self._policy is not None and self._policy.contract is not None:
            require_same(contract, self._policy.contract, f"checkpoint {checkpoint}")
        self._contract, self._first = contract, first
        self._ages = dict.fromkeys(stream_names(contract), 0.0)
        self._robot = SimulatedRobot(contract, renderer, table=self._suite.table)

    def close(self) -> None:
        """Let go of the robot."""
        self._robot.close()

    def run(self, number: int) -> list[Demonstration]:
        """The try of this number; none where a policy has done the task before the expert's turn."""
        plan = self._suite.demonstration(number, self._first + number)
        put_up(self._robot, plan)
        judge = self._suite.judge(plan)
        if self._policy is not None and not self._policy_leads(plan, judge):
            return []
        if self._policy is None:
            push_m, slips_per_s = MISHAPS[number % len(MISHAPS)]
            self._robot.set_disturbance(push_m, plan.scene, slips_per_s)
        frames = tuple(self._expert_leads(plan, judge))
        return [Demonstration(plan, judge.ending()[0] is Ending.SUCCESS, frames)]

    def _policy_leads(self, plan: Plan, judge: Judge) -> bool:
        """Let the policy drive for a random time; whether there is anything left to do.

        One that was trained with delays is late, by a random time that it was trained for.
        """
        rng = np.random.default_rng([plan.scene, 5])
        assert self._policy is not None
        most_s = self._policy.config.max_delay_rows / self._contract.rate_hz
        run = run_policy(
            self._contract,
            self._robot,
            self._policy,
            plan.instruction,
            longest_s=float(rng.uniform(SHORTEST_LEAD_S, LONGEST_LEAD * self._suite.longest_s)),
            latency=Latency(float(rng.uniform(0.0, most_s))),
            judge=judge,
        )
        until = self._robot.time + _STILL_WITHIN_S
        while self._robot.time < until and np.abs(self._robot.joint_velocities()).max() > _STILL_RAD_S:
            self._robot.advance(TICK_S)
        return not (run.refused or judge.look(see(self._robot, self._robot.time)))

    def _expert_leads(self, plan: Plan, judge: Judge) -> Iterator[Frame]:
        """Let the expert do what is asked for; the frames until it is done, or until its time is over."""
        robot, contract = self._robot, self._contract
        core, expert = MotionCore(contract, TICK_S), make_expert(robot, plan.target)
        ticks_per_frame = round(1.0 / contract.rate_hz / TICK_S)
        begun, over_at, tick = robot.time, np.inf, 0
        command = np.zeros(len(contract.action_names))
        while robot.time - begun < self._suite.longest_s and robot.time < over_at + AFTER_DONE_S:
            now = robot.time
            core.measure(measured_joints(robot), now)
            if tick % _COMMAND_EVERY == 0:
                command = expert.command(now)
                core.accept_teleop(command, now)
            if tick % ticks_per_frame == 0:
                images = {name: robot.render(name) for name in contract.camera_names}
                state = measured_state(contract, robot)
                yield Frame(now, images, state, command.copy(), self._ages, now)
            core.tick(now)
            send_motion(core, robot, now, tick)
            if over_at == np.inf and judge.look(see(robot, now)):
                over_at = now
            robot.advance(TICK_S)
            tick += 1
