"""The usual ways to execute chunks, in a closed loop with a policy that is late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.benchmarks.control_peers import Ensembling, Method, OnePoint, OpenLoop
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import Chunk
from vla_adapter_ros.control.gripper import GripperSwitch
from vla_adapter_ros.evaluation.latency import Latency
from vla_adapter_ros.evaluation.policy_loop import (
    TICK_S,
    Policy,
    Run,
    chunk_of_rows,
    measured_joints,
    measured_state,
)
from vla_adapter_ros.simulation.robot import SimulatedRobot

PEERS: dict[str, Callable[[Contract, SimulatedRobot], Method]] = {
    "newest_row": OnePoint,
    "stop_and_go": OpenLoop,
    "ensembling": Ensembling,
}


@dataclass(frozen=True)
class _Seen:
    """What the cameras and joints said in one frame."""

    stamp: float
    images: list[np.ndarray]
    state: np.ndarray


def run_peer(
    contract: Contract,
    robot: SimulatedRobot,
    policy: Policy,
    text: str,
    name: str,
    *,
    longest_s: float,
    latency: Latency,
) -> Run:
    """Let a policy follow one instruction, its chunks being executed by a usual method.

    Inference handles one frame at a time, always the newest. Grippers switch as in this package.

    Args:
        contract: The robot's; its driver takes joint trajectories.
        robot: Fresh from a reset.
        policy: Asked for chunks; it decides for the state that is measured.
        text: The instruction.
        name: Out of `PEERS`.
        longest_s: Give up after this time [s].
        latency: From an image to the arrival of its chunk.
    """
    method, ticks_per_frame = PEERS[name](contract, robot), round(1.0 / contract.rate_hz / TICK_S)
    switches = [GripperSwitch(gripper) for gripper in contract.grippers]
    begun, lifted, tick = robot.time, "", 0
    seen: _Seen | None = None
    busy: tuple[float, Chunk] | None = None  # when what is inferred now is done [s]
    stamps: list[float] = []
    rows: list[np.ndarray] = []
    path: list[list[float]] = []
    while robot.time - begun < longest_s and not lifted:
        now, joints = robot.time, measured_joints(robot)
        path.append([joints[joint] for joint in contract.arm_joints])
        if tick % ticks_per_frame == 0:
            images = [robot.render(camera) for camera in contract.camera_names]
            seen = _Seen(now, images, measured_state(contract, robot))
        if busy is not None and now > busy[0] - TICK_S / 2:
            method.deliver(busy[1], now)
            busy = None
        if busy is None and seen is not None and method.wants(seen.stamp):
            late_s = latency.of(len(stamps))
            stamps.append(seen.stamp - begun)
            rows.append(policy.predict(seen.images, text, seen.state))
            busy = now + late_s, chunk_of_rows(contract, rows[-1], seen.stamp, len(stamps))
            seen = None  # each frame once
        method.step(now)
        if method.row is not None:
            for number, (place, switch) in enumerate(zip(contract.gripper_places, switches, strict=True)):
                robot.accept_gripper(switch.position(float(method.row[place]), now), number)
        lifted = robot.lifted()
        robot.advance(TICK_S)
        tick += 1
    return Run(
        lifted, robot.time - begun, np.array(path[0]), np.array(stamps), np.array(rows), path=np.array(path)
    )
