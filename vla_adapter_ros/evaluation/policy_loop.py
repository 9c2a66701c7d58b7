"""A policy drives the simulated arm through `MotionCore`: the closed loop without ROS.

Time stands still while the policy thinks, or a latency that is asked for passes. What is measured here is the
policy, not the computer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vla_adapter_ros.choices import EXECUTION_HORIZON, FULL_PACE_ROWS
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import CommandType
from vla_adapter_ros.contract.schema import CommandGroup
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.control.committed_rows import committed_rows, resting_rows
from vla_adapter_ros.control.core_state import freeze
from vla_adapter_ros.control.lateness import AT_ONCE, Lateness, lateness
from vla_adapter_ros.control.look_ahead import LookAhead
from vla_adapter_ros.control.pacing import ChunkPacer
from vla_adapter_ros.control.rotation import quaternion
from vla_adapter_ros.control.urdf import contract_kinematics
from vla_adapter_ros.errors import ChunkError
from vla_adapter_ros.evaluation.latency import Latency
from vla_adapter_ros.evaluation.suite import Judge, Sight
from vla_adapter_ros.simulation.robot import SimulatedRobot

TICK_S = 0.01
PUBLISH_EVERY = 4  # ticks between two trajectories
NO_LATENCY = Latency()


class Policy(Protocol):
    """What the loop needs of a policy; `VlaAdapterPolicy` has it."""

    config: Any
    """Has `chunk`: rows H of a chunk, and `max_delay_rows`."""

    def predict(
        self,
        images: list[np.ndarray],
        instruction: str,
        proprio: np.ndarray,
        committed: np.ndarray | None = None,
    ) -> np.ndarray:
        """Images, instruction, state (S,) and rows (D, A) before the chunk to rows (H, A)."""


@dataclass(frozen=True)
class Run:
    """What came of one instruction.

    Attributes:
        lifted: Cube that was lifted first; empty if none was.
        duration_s: Time until the judge said that it is over, or until the end [s].
        start: The arm before the first chunk, float64 (J,) [rad], order of the contract's arm joints.
        stamps: Times of the frames that the policy saw, since the first, float64 (N,) [s].
        rows: Their chunks, float64 (N, H, A), columns as in the contract's action.
        refused: Why the controller refused the last of them, which ended the run; empty if it did not.
        path: Measured positions of the arm every TICK_S, float64 (T, J) [rad], as `start`.
        starved_s: How long no row was due while the instruction was followed [s].
        late: How much later than its frame each chunk begins, and its pace.
    """

    lifted: str
    duration_s: float
    start: np.ndarray
    stamps: np.ndarray
    rows: np.ndarray
    refused: str = ""
    path: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    starved_s: float = 0.0
    late: Lateness = AT_ONCE


def run_policy(
    contract: Contract,
    robot: SimulatedRobot,
    policy: Policy,
    text: str,
    *,
    longest_s: float,
    speed: float = 1.0,
    latency: Latency = NO_LATENCY,
    decides_ahead: bool = True,
    full_pace_rows: float = FULL_PACE_ROWS,
    after_lift_s: float = 0.0,
    every_frame: bool = False,
    judge: Judge | None = None,
    on_frame: Callable[[float], None] = lambda time: None,
) -> Run:
    """Let a policy follow one instruction, from the robot's present scene on.

    The arm follows every fourth frame's chunk, as the nodes do by default. A chunk that the controller
    refuses, as its values are not finite or far off, ends the run.

    Args:
        contract: The robot's.
        robot: Fresh from a reset.
        policy: Asked for chunks.
        text: The instruction.
        longest_s: Give up after this time [s].
        speed: Fraction of the policy's own speed at which the arm follows, 0.1 to 1.
        latency: From an image to the arrival of its chunk.
        decides_ahead: A policy that was trained with delays decides for the state at which its chunk arrives.
        full_pace_rows: So many rows may pass within a latency before its rows are carried out slower.
        after_lift_s: Go on for so long after a cube is lifted [s].
        every_frame: Ask for a chunk at every frame, also where the arm does not follow it.
        judge: Says when the episode is over; None: as soon as a cube is lifted.
        on_frame: Called with the time since the beginning [s] whenever cameras see.

    Raises:
        SimulationError: the contract's driver takes neither trajectories nor positions.
    """
    core = armed_core(contract, speed)
    pacer = ChunkPacer(contract.rate_hz, policy.config.chunk, EXECUTION_HORIZON)
    pacer.note_latency(latency.p99)
    ticks_per_frame = round(1.0 / contract.rate_hz / TICK_S)
    most_rows = policy.config.max_delay_rows if decides_ahead else 0
    late = lateness(latency.p99, contract.rate_hz, most_rows, speed, full_pace_rows)
    pacer.delay_s, pacer.pace = late.delay_s, late.pace
    look_ahead = LookAhead(contract, TICK_S, PUBLISH_EVERY) if late.delay_s else None
    if look_ahead is not None and (own := contract_kinematics(contract)) is not None:
        look_ahead.set_kinematics(own)
    awaited: deque[tuple[float, Chunk]] = deque()  # when each arrives [s]
    begun, lifted, over_at, refused = robot.time, "", np.inf, ""
    start = _arm(contract, robot)
    stamps, rows, path = [], [], []
    tick = 0
    while robot.time - begun < longest_s and robot.time < over_at + after_lift_s:
        now, joints = robot.time, measured_joints(robot)
        core.measure(joints, now)
        path.append([joints[name] for name in contract.arm_joints])
        if tick % ticks_per_frame == 0:
            on_frame(now - begun)
            followed = pacer.take(now, speed)
            if followed or every_frame:
                images = [robot.render(name) for name in contract.camera_names]
                stamps.append(now - begun)
                state, committed = measured_state(contract, robot), None
                if look_ahead is not None:
                    state, committed = _look_ahead(look_ahead, core, robot, now, late)
                rows.append(policy.predict(images, text, state, committed))
            if followed:
                chunk = chunk_of_rows(contract, rows[-1], now, tick, late)
                latency_s = latency.of(len(stamps) - 1)
                awaited.append((now + latency_s + (TICK_S if latency_s else 0.0), chunk))
        try:
            while awaited and awaited[0][0] <= now + TICK_S / 2:
                core.accept_chunk(awaited.popleft()[1], now)
        except ChunkError as error:
            refused = str(error)
            break
        core.tick(now)
        send_motion(core, robot, now, tick)
        sight = see(robot, now - begun)
        lifted = lifted or sight.lifted
        if over_at == np.inf and (judge.look(sight) if judge is not None else bool(lifted)):
            over_at = now
        robot.advance(TICK_S)
        tick += 1
    duration = min(over_at, robot.time) - begun
    starved_s = core.counters.starved_ticks * TICK_S
    return Run(
        lifted,
        duration,
        start,
        np.array(stamps),
        np.array(rows),
        refused,
        np.array(path),
        starved_s,
        late,
    )


def armed_core(contract: Contract, speed: float = 1.0) -> MotionCore:
    """A core that may move, with the arm's kinematics where they are known.

    Args:
        contract: The robot's.
        speed: Fraction of the policy's own speed at which the arm follows, 0.1 to 1.
    """
    core = MotionCore(contract, TICK_S, armed=True, speed=speed)
    if (kinematics := contract_kinematics(contract)) is not None:
        core.set_kinematics(kinematics)
    return core


def measured_joints(robot: SimulatedRobot) -> dict[str, float]:
    """Measured joint positions by name [rad or m]."""
    return dict(zip(robot.joint_names, robot.joint_positions().tolist(), strict=True))


def see(robot: SimulatedRobot, time: float) -> Sight:
    """What a judge sees of the scene now.

    Args:
        robot: As it stands.
        time: Since the episode began [s].
    """
    grippers = zip(robot.model.grippers, robot.world.gripper_positions(), strict=True)
    opening = min(gripper.opening(float(position)) for gripper, position in grippers)
    return Sight(time, robot.lifted(), robot.object_positions(), opening)


def send_motion(core: MotionCore, robot: SimulatedRobot, now: float, tick: int) -> None:
    """Hand the robot's drivers what the core wants sent in a tick, and the grippers theirs.

    Args:
        core: Has ticked.
        robot: Its drivers take trajectories or positions.
        now: Time of the tick [s].
        tick: Its number; trajectories are sent in every fourth.

    Raises:
        SimulationError: the drivers take something else.
    """
    if core.contract.command.type is CommandType.JOINT_TRAJECTORY:
        if tick % PUBLISH_EVERY == 0:
            send_trajectory(core, robot, now)
    elif (setpoint := core.setpoint(now)) is not None:
        for number, group in enumerate(core.contract.command_groups):
            robot.accept_forward(setpoint.position[_places(core.contract, group)], group=number)
    for number, position in enumerate(core.gripper_positions or ()):
        robot.accept_gripper(position, number)


def send_trajectory(core: MotionCore, robot: SimulatedRobot, now: float) -> None:
    """Hand what the core wants sent at `now` to the robot's trajectory controllers."""
    trajectory = core.trajectory(now)
    if trajectory is None:
        return
    for number, group in enumerate(core.contract.command_groups):
        places, accelerations = _places(core.contract, group), trajectory.accelerations
        robot.accept_trajectory(
            core.contract.names_in_commands(group),
            now,
            trajectory.times - now,
            trajectory.positions[:, places],
            trajectory.velocities[:, places],
            None if accelerations is None else accelerations[:, places],
            group=number,
        )


def _places(contract: Contract, group: CommandGroup) -> list[int]:
    return [contract.arm_joints.index(joint) for joint in group.joints]


def chunk_of_rows(
    contract: Contract, rows: np.ndarray, seen_at: float, sequence: int, late: Lateness = AT_ONCE
) -> Chunk:
    """Rows (H, A) of a policy as a chunk, from an image of `seen_at` [s]."""
    return Chunk(
        seen_at + late.delay_s,
        rows,
        contract.action_names,
        contract.rate_hz * late.pace,
        sequence=sequence,
        space=contract.action.space,
        input_stamp=seen_at,
        most_delay_s=late.delay_s,
    )


def _arm(contract: Contract, robot: SimulatedRobot) -> np.ndarray:
    joints = measured_joints(robot)
    return np.array([joints[name] for name in contract.arm_joints])


def measured_state(contract: Contract, robot: SimulatedRobot) -> np.ndarray:
    """Proprioception as the contract orders it, from the joints and the tool pose."""
    return _state(contract, measured_joints(robot), robot.tool_pose())


def _look_ahead(
    look_ahead: LookAhead, core: MotionCore, robot: SimulatedRobot, now: float, late: Lateness
) -> tuple[np.ndarray, np.ndarray]:
    """The state (S,) that the robot will have when a chunk begins, and the rows (D, A) before that.

    In the state, grippers stay as they are measured.
    """
    contract, joints, here = core.contract, measured_joints(robot), _arm(core.contract, robot)
    until_s = late.delay_s + contract.command.command_delay_s
    ahead = look_ahead.motion(freeze(core), here, now, math.ceil(until_s / TICK_S - 1e-6))
    grippers = [joints[gripper.joint] for gripper in contract.grippers]
    if ahead is None:
        return measured_state(contract, robot), resting_rows(contract, here, grippers, late.rows)
    begins = now + late.delay_s
    later = ahead.at(begins)
    assert later is not None, "it was looked that far ahead"
    joints |= dict(zip(contract.arm_joints, later[0].tolist(), strict=True))
    row_s = 1.0 / (contract.rate_hz * late.pace * core.speed)
    return state_of(contract, robot, joints), committed_rows(
        contract, ahead, grippers, begins, late.rows, row_s
    )


def state_of(contract: Contract, robot: SimulatedRobot, joints: dict[str, float]) -> np.ndarray:
    """The same for joints that are not those of now; the tool is that of the first arm."""
    arm = np.array([joints[name] for name in robot.model.arms[0].joints])
    position, rotation = robot.arm_kinematics[0].forward(arm)
    return _state(contract, joints, np.concatenate([position, quaternion(rotation)]))


def _state(contract: Contract, joints: dict[str, float], tool: np.ndarray) -> np.ndarray:
    names = (*(f"position.{axis}" for axis in "xyz"), *(f"orientation.{axis}" for axis in "xyzw"))
    pose = dict(zip(names, tool.tolist(), strict=True))
    return np.array([joints[d.joint] if d.joint else pose[d.field] for d in contract.state])
