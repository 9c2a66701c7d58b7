"""Tool motions through inverse kinematics on the simulated arm: a straight line, and where the arm ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from reference_math import delta_between

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.control.rotation import Pose, quaternion_vector, rotation_matrix, rotation_vector
from vla_adapter_ros.control.urdf import contract_kinematics

pytest.importorskip("pinocchio", reason="kinematics need pinocchio: pip install pin")
pytest.importorskip("mujoco", reason="the simulated arm needs mujoco: pip install mujoco")

from vla_adapter_ros.evaluation.policy_loop import PUBLISH_EVERY, measured_joints, send_trajectory
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.scene import Scene

TOOL = dataclasses.replace(read_contract("franka_sim_ee"), cameras={})
DT = 0.01
LATENCY_S = 0.09  # of a chunk, from its stamp to its arrival
ROWS, HORIZON = 8, 4

Path = Callable[[float], Pose]


@dataclasses.dataclass
class Motion:
    """What the arm did: times (N,), N tool poses, joints (N, 7), and what its driver aimed at (N, 7)."""

    times: np.ndarray
    poses: list[Pose]
    joints: np.ndarray
    desired: np.ndarray
    core: MotionCore


def chunk_along(path: Path, start: float, stamp: float, contract: Contract, sequence: int) -> Chunk:
    """What a policy that knows the path sends: the ways between its points from `stamp` on."""
    points = [path(stamp - start + k / contract.rate_hz) for k in range(ROWS + 1)]
    before = points[:1] * ROWS if contract.action.delta_reference == "chunk_start" else points
    rows = np.array(
        [np.append(delta_between(before[k], points[k + 1], contract.action.frame), 1.0) for k in range(ROWS)]
    )
    return Chunk(stamp, rows, contract.action_names, contract.rate_hz, "s", 1, sequence, "ee_delta")


def drive(path: Path, seconds: float, joints: np.ndarray, contract: Contract = TOOL) -> Motion:
    """Let the arm follow chunks along `path`, which starts where the arm stands, then come to rest."""
    robot = SimulatedRobot(contract, backend="raycast")
    robot.reset_scene(Scene(0, (), tuple(joints)))
    core = MotionCore(contract, DT)
    core.set_kinematics(contract_kinematics(contract))
    start, sequence, waiting = None, 0, []
    motion = Motion(np.zeros(0), [], np.zeros((0, 7)), np.zeros((0, 7)), core)
    times, measured, desired = [], [], []
    for n in range(1, round((seconds + 2.0) / DT)):
        robot.advance(DT)
        now = robot.time
        core.measure(measured_joints(robot), now)
        if n == 5:
            start = now
        if start is not None and (n - 5) % round(HORIZON / contract.rate_hz / DT) == 0:
            if now < start + seconds:
                waiting.append(chunk_along(path, start, now, contract, sequence))
                sequence += 1
        if waiting and now >= waiting[0].stamp + LATENCY_S - 1e-9:
            core.accept_chunk(waiting.pop(0), now)
        core.tick(now)
        if n % PUBLISH_EVERY == 0:
            send_trajectory(core, robot, now)
        tool = robot.tool_pose()
        times.append(now - start if start is not None else 0.0)
        motion.poses.append(Pose(tool[:3], rotation_matrix(quaternion_vector(tool[3:]))))
        measured.append(robot.joint_positions()[:7])
        desired.append(robot.desired()[0])
    robot.close()
    return dataclasses.replace(
        motion, times=np.array(times), joints=np.array(measured), desired=np.array(desired)
    )


def eased(t: float, seconds: float) -> float:
    """Share of a way after `t`: starts and ends at rest, without a step in acceleration."""
    s = min(max(t / seconds, 0.0), 1.0)
    return s**3 * (10 - 15 * s + 6 * s**2)


READY = np.array([0.0, -0.3, 0.0, -2.3, 0.0, 2.0, 0.785])
ARM = contract_kinematics(TOOL)
LOW, HIGH = np.array([limit.position for limit in TOOL.limits.values()]).T
SPEED = np.array([limit.velocity for limit in TOOL.limits.values()])
LEAD_S = TOOL.command.command_delay_s
BOXLESS = dataclasses.replace(TOOL, workspace=None)


def errors(motion: Motion, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Distance [m] and angle [rad] (N,) each between the measured tool and where it was to be then."""
    wanted = [path(t - LEAD_S) for t in motion.times]
    pairs = list(zip(motion.poses, wanted, strict=True))
    angles = [np.linalg.norm(rotation_vector(a.rotation @ b.rotation.T)) for a, b in pairs]
    return np.array([np.linalg.norm(a.position - b.position) for a, b in pairs]), np.array(angles)


def assert_limits_hold(motion: Motion) -> None:
    """What the driver aims at stays within limits, and the arm itself as well as its servos follow."""
    assert (motion.desired >= LOW - 1e-9).all() and (motion.desired <= HIGH + 1e-9).all()
    assert (motion.joints >= LOW - 0.01).all() and (motion.joints <= HIGH + 0.01).all()
    assert (np.abs(np.diff(motion.desired, axis=0)) <= SPEED * DT * 1.001).all()
    assert np.abs(np.diff(motion.joints, axis=0)).max() <= 1.2 * SPEED.max() * DT


@pytest.mark.parametrize(
    ("direction", "frame"),
    [((1, 0, 0), "base"), ((0, 1, 0), "tool"), ((0, 0, 1), "base"), ((0.6, 0.5, -0.6), "tool")],
)
def test_a_straight_line_of_20_cm_is_held_within_2_mm_and_1_degree(direction, frame):
    along = np.array(direction) / np.linalg.norm(direction)
    middle = ARM.pose(READY)
    joints = ARM.solve_ik(Pose(middle.position - 0.1 * along, middle.rotation), READY, LOW, HIGH).joints
    first = ARM.pose(joints)

    def path(t: float) -> Pose:
        return Pose(first.position + 0.2 * eased(t, 2.0) * along, first.rotation)

    contract = dataclasses.replace(TOOL, action=dataclasses.replace(TOOL.action, frame=frame))
    motion = drive(path, 2.0, joints, contract)
    way = np.array([pose.position for pose in motion.poses]) - first.position
    beside = np.linalg.norm(way - np.outer(way @ along, along), axis=1)
    distance, angle = errors(motion, path)
    assert motion.core.counters.rejected_chunks == 0
    assert beside.max() < 0.002 and np.degrees(angle.max()) < 1.0
    assert way[-1] @ along == pytest.approx(0.2, abs=0.002)
    assert distance.max() < 0.002  # in time as well, at up to 0.19 m/s
    assert_limits_hold(motion)


@pytest.mark.parametrize("reference", ["measured", "chunk_start"])
def test_ways_from_where_the_arm_is_lead_to_the_end_as_well(reference):
    """The arm lags behind its command by `command_delay_s`; no chunk may lose that much of the way."""
    middle = ARM.pose(READY)
    joints = ARM.solve_ik(
        Pose(middle.position - np.array([0, 0.1, 0]), middle.rotation), READY, LOW, HIGH
    ).joints
    first = ARM.pose(joints)

    def path(t: float) -> Pose:
        return Pose(first.position + np.array([0.0, 0.2 * eased(t, 2.0), 0.0]), first.rotation)

    action = dataclasses.replace(TOOL.action, delta_reference=reference)
    motion = drive(path, 2.0, joints, dataclasses.replace(TOOL, action=action))
    way = np.array([pose.position for pose in motion.poses]) - first.position
    assert np.linalg.norm(way[:, [0, 2]], axis=1).max() < 0.002
    assert way[-1, 1] == pytest.approx(0.2, abs=0.003)


def test_at_a_joint_limit_the_other_joints_lead_the_tool_on():
    """Around the base until joint 1 is at its limit: seven joints hold six coordinates without it."""
    joints = np.array([2.6, -0.3, 0.0, -2.3, 0.0, 2.0, 0.785])
    first = ARM.pose(joints)
    along = np.array([-np.sin(2.6), np.cos(2.6), 0.0])

    def path(t: float) -> Pose:
        return Pose(first.position + 0.2 * eased(t, 2.5) * along, first.rotation)

    motion = drive(path, 2.5, joints, BOXLESS)
    distance, angle = errors(motion, path)
    assert motion.desired[:, 0].max() == pytest.approx(HIGH[0], abs=1e-3)
    assert distance.max() < 0.004 and np.degrees(angle.max()) < 1.0
    assert_limits_hold(motion)


def test_at_a_limit_that_nothing_makes_up_for_the_tool_stays_near_and_nothing_jumps():
    """The hand tilts beyond what joint 6 allows."""
    joints = np.array([0.0, -0.6, 0.0, -2.4, 0.0, 0.9, 0.785])
    first = ARM.pose(joints)

    def path(t: float) -> Pose:
        tilt = rotation_matrix(np.array([0.0, 0.8 * eased(t, 2.5), 0.0]))
        return Pose(first.position, tilt @ first.rotation)

    motion = drive(path, 2.5, joints, BOXLESS)
    distance, angle = errors(motion, path)
    assert motion.desired[:, 5].min() == pytest.approx(LOW[5], abs=0.01)
    assert 0.005 < distance.max() < 0.06 and np.degrees(angle.max()) < 20.0
    assert_limits_hold(motion)


def test_a_nearly_stretched_arm_goes_to_its_end_and_comes_back_without_a_jump():
    """7 cm outwards, of which about 5 can be had, and 7 cm back: the way that was lost is not made up for."""
    joints = np.array([0.0, 0.45, 0.0, -0.9, 0.0, 1.35, 0.785])
    first = ARM.pose(joints)

    def path(t: float) -> Pose:
        out = 0.07 * (eased(t, 2.0) - eased(t - 2.0, 2.0))
        return Pose(first.position + np.array([out, 0.0, 0.0]), first.rotation)

    motion = drive(path, 4.0, joints, BOXLESS)
    smallest = min(np.linalg.svd(ARM.jacobian(q), compute_uv=False)[-1] for q in motion.joints)
    distance, angle = errors(motion, path)
    assert smallest < 0.01  # it has been at the singular posture
    reached = max(pose.position[0] for pose in motion.poses) - first.position[0]
    assert 0.03 < reached < 0.07
    assert distance.max() < 0.05 and np.degrees(angle.max()) < 15.0
    # Sideways nothing happens, and the way back is as long as the way there.
    assert max(abs(pose.position[1]) for pose in motion.poses) < 0.002
    assert motion.poses[-1].position[0] < first.position[0] - 0.01
    assert_limits_hold(motion)
