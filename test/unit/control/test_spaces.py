"""Action spaces: what rows of each become, and that small motions add up to the path they came from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_math import compose, delta_between, inverse

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.contract.enums import Frame
from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.control.rotation import Pose, rotation_matrix, rotation_vector
from vla_adapter_ros.control.spaces import (
    absolute_chunk,
    moved,
    pose_columns,
    pose_of_columns,
    resting_row,
    target_poses,
)
from vla_adapter_ros.control.urdf import contract_kinematics, read_urdf
from vla_adapter_ros.errors import ChunkError, KinematicsError

JOINT = read_contract("franka_sim")
TOOL = read_contract("franka_sim_ee")
READY = np.array([0.0, -0.6, 0.0, -2.4, 0.0, 1.8, 0.785])
LOW, HIGH = np.array([limit.position for limit in TOOL.limits.values()]).T


@pytest.fixture(scope="module")
def franka():
    pytest.importorskip("pinocchio", reason="kinematics need pinocchio: pip install pin")
    return contract_kinematics(TOOL)


def with_action(contract: Contract, **changes) -> Contract:
    return dataclasses.replace(contract, action=dataclasses.replace(contract.action, **changes))


def scaled(contract: Contract, *scales: float) -> Contract:
    dimensions = (
        dataclasses.replace(d, scale=scale)
        for d, scale in zip(contract.action.dimensions, scales, strict=True)
    )
    return with_action(contract, dimensions=tuple(dimensions))


def chunk_of(contract: Contract, arm_rows: np.ndarray, gripper: np.ndarray | float = 1.0) -> Chunk:
    rows = np.column_stack([arm_rows, np.broadcast_to(gripper, len(arm_rows))])
    return Chunk(5.0, rows, contract.action_names, contract.rate_hz, "s", 2, 3, contract.action.space)


def smooth_path(seed: int, rows: int, size: float) -> np.ndarray:
    """A joint path (rows, 7) about READY, without haste."""
    rng = np.random.default_rng(seed)
    phase, t = rng.uniform(0, 2 * np.pi, 7), np.arange(rows)[:, None] / 10
    return READY + size * (np.sin(t + phase) - np.sin(phase)) * rng.uniform(0.2, 1.0, 7)


def test_absolute_joint_rows_stay_as_they_are():
    path = smooth_path(0, 8, 0.3)
    chunk = chunk_of(JOINT, path, np.arange(8.0))
    result = absolute_chunk(chunk, JOINT, READY, None)
    assert result == dataclasses.replace(chunk, rows=result.rows)
    np.testing.assert_array_equal(result.rows, chunk.rows)


def test_columns_are_found_by_name_and_scaled():
    contract = scaled(JOINT, 2.0, 1, 1, 1, 1, 1, 0.5, 3.0)
    chunk = chunk_of(contract, smooth_path(0, 4, 0.3), 0.7)
    order = [7, 3, 1, 0, 2, 6, 5, 4]
    mixed = dataclasses.replace(chunk, rows=chunk.rows[:, order], names=tuple(chunk.names[i] for i in order))
    result = absolute_chunk(mixed, contract, READY, None)
    assert result.names == (*JOINT.arm_joints, "gripper")
    # The gripper's values are compared with `open` and `closed` as they are: no scale.
    np.testing.assert_allclose(result.rows, chunk.rows * [2, 1, 1, 1, 1, 1, 0.5, 1])
    with pytest.raises(ChunkError, match="'gripper'"):
        short = dataclasses.replace(chunk, rows=chunk.rows[:, :7], names=chunk.names[:7])
        absolute_chunk(short, contract, READY, None)


@pytest.mark.parametrize("reference", ["measured", "commanded", "chunk_start"])
def test_joint_deltas_add_up_to_the_path_they_came_from(reference):
    contract = with_action(JOINT, space="joint_delta", delta_reference=reference)
    contract = scaled(contract, *[0.1] * 7, 1.0)
    path = smooth_path(1, 9, 0.4)
    deltas = path[1:] - path[0] if reference == "chunk_start" else np.diff(path, axis=0)
    chunk = chunk_of(contract, deltas / 0.1, np.arange(8.0))
    result = absolute_chunk(chunk, contract, path[0], None)
    # H rows are H ways, so H + 1 points; the first is where the arm was at the chunk's stamp.
    np.testing.assert_allclose(result.rows[:, :7], path, atol=1e-12)
    np.testing.assert_array_equal(result.rows[:, 7], [0, 1, 2, 3, 4, 5, 6, 7, 7])
    assert result.stamp == chunk.stamp and result.end == pytest.approx(chunk.end + 0.1)
    assert result.space == "joint_position" and result.sequence == 3


@pytest.mark.parametrize("contract", [JOINT, TOOL, with_action(JOINT, space="joint_delta")])
def test_no_rows_stay_no_rows(contract, franka):
    result = absolute_chunk(
        chunk_of(contract, np.zeros((0, len(contract.arm_columns)))), contract, READY, franka
    )
    assert result.rows.shape == (0, 8) and result.names == (*contract.arm_joints, "gripper")


def test_deltas_are_along_the_axes_of_their_frame():
    turned = Pose(np.array([1.0, 2.0, 3.0]), rotation_matrix(np.array([0.0, 0.0, np.pi / 2])))
    delta = np.array([0.1, 0.0, 0.0, 0.2, 0.0, 0.0])
    base, tool = moved(turned, delta, Frame.BASE), moved(turned, delta, Frame.TOOL)
    np.testing.assert_allclose(base.position, [1.1, 2.0, 3.0])
    np.testing.assert_allclose(tool.position, [1.0, 2.1, 3.0])
    # About the base's x axis, and about the tool's, which lies along the base's y.
    turns = [rotation_vector(after.rotation @ turned.rotation.T) for after in (base, tool)]
    np.testing.assert_allclose(turns, [[0.2, 0, 0], [0, 0.2, 0]], atol=1e-12)


vectors = st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3).map(np.array)
poses = st.builds(lambda p, r: Pose(p, rotation_matrix(r)), vectors, vectors)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(poses, poses, poses, st.sampled_from(list(Frame)))
def test_a_delta_leads_from_one_pose_to_the_other(a, b, base, frame):
    delta = delta_between(a, b, frame)
    reached = moved(a, delta, frame)
    np.testing.assert_allclose(reached.position, b.position, atol=1e-12)
    np.testing.assert_allclose(reached.rotation, b.rotation, atol=1e-9)
    # Tool deltas do not depend on where the base stands.
    elsewhere = delta_between(compose(base, a), compose(base, b), Frame.TOOL)
    np.testing.assert_allclose(elsewhere, delta_between(a, b, Frame.TOOL), atol=1e-7)
    back = compose(inverse(a), reached)
    np.testing.assert_allclose(
        pose_columns(pose_of_columns(pose_columns(back))), pose_columns(back), atol=1e-9
    )


@pytest.mark.parametrize("frame", list(Frame))
@pytest.mark.parametrize("reference", ["commanded", "chunk_start"])
@pytest.mark.parametrize("seed", range(3))
def test_tool_deltas_of_a_joint_path_lead_the_tool_along_it(franka, frame, reference, seed):
    scales = (0.05, 0.05, 0.05, 0.5, 0.5, 0.5, 1.0)
    contract = scaled(with_action(TOOL, frame=frame, delta_reference=reference), *scales)
    path = [franka.pose(joints) for joints in smooth_path(seed, 9, 0.3)]
    deltas = [
        delta_between(path[0] if reference == "chunk_start" else path[k], path[k + 1], frame)
        for k in range(8)
    ]
    start = smooth_path(seed, 9, 0.3)[0]
    chunk = chunk_of(contract, np.array(deltas) / scales[:6], np.arange(8.0))
    result = absolute_chunk(chunk, contract, start, franka)
    assert result.rows.shape == (9, 8)
    np.testing.assert_array_equal(result.rows[0, :7], start)
    np.testing.assert_array_equal(result.rows[:, 7], [0, 1, 2, 3, 4, 5, 6, 7, 7])
    for row, wanted in zip(result.rows, path, strict=True):
        here = franka.pose(row[:7])
        np.testing.assert_allclose(here.position, wanted.position, atol=1e-5)
        np.testing.assert_allclose(here.rotation, wanted.rotation, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_tool_poses_become_postures_that_have_them(franka, seed):
    contract = with_action(TOOL, space="ee_pose")
    path = smooth_path(seed, 8, 0.3)
    rows = np.array([pose_columns(franka.pose(joints)) for joints in path])
    result = absolute_chunk(chunk_of(contract, rows, np.arange(8.0)), contract, path[0], franka)
    assert result.rows.shape == (8, 8) and result.end == pytest.approx(5.7)
    np.testing.assert_array_equal(result.rows[:, 7], np.arange(8))
    for row, wanted in zip(result.rows, rows, strict=True):
        np.testing.assert_allclose(pose_columns(franka.pose(row[:7]))[:3], wanted[:3], atol=1e-5)
        np.testing.assert_allclose(franka.pose(row[:7]).rotation, pose_of_columns(wanted).rotation, atol=1e-5)


def test_the_first_pose_may_be_far_and_later_ones_no_farther_than_the_joints_can_go(franka):
    contract = with_action(TOOL, space="ee_pose")
    far = READY + np.array([1.2, 0.2, 0.1, 0.3, 0.0, 0.2, 0.3])
    rows = np.array([pose_columns(franka.pose(q)) for q in (far, far, READY, READY)])
    result = absolute_chunk(chunk_of(contract, rows), contract, READY, franka).rows[:, :7]
    np.testing.assert_allclose(pose_columns(franka.pose(result[0]))[:3], rows[0, :3], atol=1e-4)
    reach = np.array([limit.velocity for limit in contract.limits.values()]) / contract.rate_hz
    steps = np.abs(np.diff(result, axis=0))
    assert (steps <= reach + 1e-12).all() and (steps[1] > 0.99 * reach).any()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.05, 0.3]), st.sampled_from(list(Frame)))
def test_any_tool_motion_stays_within_joint_limits_without_a_jump(franka, seed, size, frame):
    contract = with_action(TOOL, frame=frame)
    rng = np.random.default_rng(seed)
    start = rng.uniform(LOW, HIGH)
    chunk = chunk_of(contract, rng.normal(0, size, (6, 6)))
    try:
        result = absolute_chunk(chunk, contract, start, franka).rows[:, :7]
    except ChunkError as error:
        assert "cannot reach" in str(error)
        return
    reach = np.array([limit.velocity for limit in contract.limits.values()]) / contract.rate_hz
    assert np.isfinite(result).all() and (result >= LOW).all() and (result <= HIGH).all()
    assert (np.abs(np.diff(result, axis=0)) <= reach + 1e-12).all()


def test_poses_far_out_of_reach_are_refused_and_near_ones_approached(franka):
    rows = np.zeros((8, 6))
    rows[:, 0] = 0.015
    near = np.array([0.0, 0.45, 0.0, -0.9, 0.0, 1.35, 0.785])  # almost stretched
    result = absolute_chunk(chunk_of(TOOL, rows), TOOL, near, franka).rows[:, :7]
    wanted = target_poses(rows, TOOL, franka.pose(near))
    misses = [
        np.linalg.norm(franka.pose(q).position - p.position) for q, p in zip(result, wanted, strict=True)
    ]
    assert misses[1] < 5e-4 and 0.005 < misses[-1] < 0.1
    with pytest.raises(ChunkError, match=r"row \d: the tool cannot reach .* allowed are 0.1 m"):
        absolute_chunk(chunk_of(TOOL, 2.5 * rows), TOOL, near, franka)


def test_resting_rows_leave_the_arm_where_it_is(franka):
    spaces = {
        "joint_position": scaled(JOINT, *[0.5] * 8),
        "joint_delta": with_action(JOINT, space="joint_delta"),
        "ee_delta": TOOL,
        "ee_pose": scaled(with_action(TOOL, space="ee_pose"), *[2.0] * 7),
    }
    for contract in spaces.values():
        row = resting_row(contract, READY, [0.25], franka)
        chunk = Chunk(0.0, row[None], contract.action_names, 10.0, space=contract.action.space)
        result = absolute_chunk(chunk, contract, READY, franka)
        np.testing.assert_allclose(result.rows[-1], [*READY, 0.25], atol=1e-5)


def test_tool_spaces_without_kinematics_say_what_is_missing():
    with pytest.raises(KinematicsError, match="ee_delta needs the arm's kinematics"):
        absolute_chunk(chunk_of(TOOL, np.zeros((2, 6))), TOOL, READY, None)
    with pytest.raises(KinematicsError, match="ee_pose"):
        resting_row(with_action(TOOL, space="ee_pose"), READY, [1.0], None)


def test_urdf_sources(tmp_path, franka, monkeypatch):
    text = read_urdf(TOOL.kinematics.urdf)
    (tmp_path / "arm.urdf").write_text(text, encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_urdf("~/arm.urdf") == read_urdf(str(tmp_path / "arm.urdf")) == text
    for source, words in {
        "arm.urdf": "absolute path",
        str(tmp_path / "none.urdf"): "cannot be read",
        "package:no_such_package/arm.urdf": "no Python package 'no_such_package'",
        "package:numpy/arm.urdf": "no file 'arm.urdf'",
        "package:numpy": "no file",
        "robot_description": "for the topic",
    }.items():
        with pytest.raises(KinematicsError, match=words):
            read_urdf(source)

    topic = dataclasses.replace(
        TOOL, kinematics=dataclasses.replace(TOOL.kinematics, urdf="robot_description")
    )
    without = dataclasses.replace(JOINT, kinematics=None)
    assert contract_kinematics(without) is None and contract_kinematics(topic) is None
    np.testing.assert_allclose(
        contract_kinematics(topic, text).pose(READY).position, franka.pose(READY).position
    )


def test_the_shipped_tool_contract_differs_from_the_joint_one_where_it_says():
    changed = {"name", "action", "kinematics", "workspace"}
    for entry in dataclasses.fields(Contract):
        same = getattr(JOINT, entry.name) == getattr(TOOL, entry.name)
        assert same or entry.name in changed, entry.name
