"""A chunk that was decided for a later time than its image waits for that time."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.capsule.values import from_plain, to_plain
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.enums import ActionSpace
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.control.chunk import check_chunk
from vla_adapter_ros.control.core_state import freeze, restore
from vla_adapter_ros.errors import ChunkError

CONTRACT = read_contract("franka_sim")
HOME = np.array([CONTRACT.home[joint] for joint in CONTRACT.arm_joints])
PERIOD_S = 0.01


def chunk(begins: float, image: float | None, joint: int = 1, sequence: int = 1) -> Chunk:
    """Ten rows that move one joint by 0.02 rad each."""
    rows = HOME + np.arange(10)[:, None] * 0.02 * np.eye(7)[joint]
    rows = np.column_stack([rows, np.ones(10)])
    return Chunk(begins, rows, CONTRACT.action_names, CONTRACT.rate_hz, "s", 1, sequence, input_stamp=image)


def run(core: MotionCore, first: int, last: int, arrivals: dict[int, Chunk]) -> np.ndarray:
    """Tick an arm that follows exactly; returns where it was (last - first, J)."""
    path = []
    for tick in range(first, last):
        now = tick * PERIOD_S
        here = core.setpoint(now)
        path.append(HOME if here is None else here.position)
        core.measure(dict(zip(CONTRACT.arm_joints, path[-1].tolist(), strict=True)), now)
        if tick in arrivals:
            core.accept_chunk(arrivals[tick], now)
        core.tick(now)
        if tick % 4 == 0:
            core.trajectory(now)
    return np.array(path)


def test_it_begins_when_its_time_has_come():
    early = run(MotionCore(CONTRACT), 0, 120, {5: chunk(0.3, 0.02)})
    in_time = run(MotionCore(CONTRACT), 0, 120, {30: chunk(0.3, 0.02)})
    assert np.array_equal(early[:30], np.tile(HOME, (30, 1)))
    np.testing.assert_allclose(early, in_time, atol=1e-9)
    assert early[-1][1] - HOME[1] > 0.1


@pytest.mark.parametrize(
    "end",
    [
        MotionCore.hold,
        MotionCore.stop,
        lambda core: core.end_instruction("the policy is gone"),
        lambda core: core.accept_chunk(replace(chunk(0.1, 0.1, sequence=2), rows=np.zeros((0, 8))), 0.1),
        lambda core: core.activate(0.1),
        lambda core: core.foreign("another node drives the arm"),
    ],
)
def test_what_ends_the_instruction_ends_what_waits(end):
    core = MotionCore(CONTRACT)
    run(core, 0, 10, {5: chunk(0.3, 0.02)})
    end(core)
    assert np.array_equal(run(core, 10, 80, {}), np.tile(HOME, (70, 1)))


def test_the_newest_counts():
    path = run(MotionCore(CONTRACT), 0, 100, {5: chunk(0.3, 0.02), 8: chunk(0.3, 0.06, joint=2, sequence=2)})
    moved = np.abs(path[-1] - HOME)
    assert moved[2] > 0.1 and moved[1] == 0.0


@pytest.mark.parametrize("waits", [10, 13, 25])
def test_a_chunk_for_every_frame_moves_the_arm_although_each_begins_later(waits):
    """The next chunk comes before the one before it has begun, or in the same tick."""
    core = MotionCore(CONTRACT)
    each = range(5, 105, 10)
    chunks = {
        tick: chunk((tick + waits) * PERIOD_S, tick * PERIOD_S, sequence=number)
        for number, tick in enumerate(each, 1)
    }
    path = run(core, 0, 160, chunks)
    assert np.array_equal(path[: 5 + waits], np.tile(HOME, (5 + waits, 1)))
    assert path[5 + waits + 40, 1] - HOME[1] > 0.01


def test_rows_of_the_chunk_before_go_on_until_then():
    core = MotionCore(CONTRACT)
    later = {5: chunk(0.05, 0.05), 27: chunk(0.5, 0.15, sequence=2)}
    path = run(core, 0, 60, later)
    assert np.all(np.diff(path[26:50, 1]) > 0.0)


def test_a_core_with_a_chunk_that_waits_can_be_copied():
    core = MotionCore(CONTRACT)
    run(core, 0, 10, {5: chunk(0.3, 0.02)})
    copy = MotionCore(CONTRACT)
    restore(copy, from_plain(json.loads(json.dumps(to_plain(freeze(core))))))
    assert np.array_equal(run(copy, 10, 100, {}), run(core, 10, 100, {}))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (chunk(2.5, 0.0), "begins 2.500 s after its image: allowed are at most 2 s"),
        (chunk(0.9, 0.7), "stamped 0.900 s in the future"),
        (replace(chunk(0.3, 0.0), space=ActionSpace.JOINT_DELTA), "stamped 0.300 s in the future"),
    ],
)
def test_what_lies_too_far_ahead_is_refused(wrong: Chunk, said: str):
    contract = replace(CONTRACT, action=replace(CONTRACT.action, space=wrong.space))
    with pytest.raises(ChunkError, match=said):
        check_chunk(wrong, contract, 0.0, 0.0)


def test_a_late_policy_may_have_its_rows_carried_out_slower():
    usual = replace(chunk(0.3, 0.02), most_delay_s=0.4)
    slower = replace(usual, rate_hz=CONTRACT.rate_hz / 2)
    fast, slow = (run(MotionCore(CONTRACT), 0, 250, {5: sent}) for sent in (usual, slower))
    np.testing.assert_allclose(fast[-1], slow[-1], atol=0.01)
    speeds = [np.diff(path[80:110, 1]).mean() / PERIOD_S for path in (fast, slow)]
    assert speeds == pytest.approx([0.2, 0.1], rel=0.05)


@pytest.mark.parametrize(
    ("share", "most_delay_s"), [(0.5, 0.0), (0.2, 0.4), (2.0, 0.4), (0.0, 0.4), (np.nan, 0.4)]
)
def test_any_other_rate_is_refused(share, most_delay_s):
    sent = replace(chunk(0.1, 0.1), rate_hz=share * CONTRACT.rate_hz, most_delay_s=most_delay_s)
    with pytest.raises(ChunkError, match=r"rate .* Hz, the robot's is 10.0 Hz"):
        check_chunk(sent, CONTRACT, 0.1, 0.0)


def test_displacements_last_as_long_as_the_robot_says():
    contract = replace(CONTRACT, action=replace(CONTRACT.action, space=ActionSpace.JOINT_DELTA))
    sent = replace(chunk(0.1, 0.1), space=ActionSpace.JOINT_DELTA, rate_hz=5.0, most_delay_s=0.4)
    with pytest.raises(ChunkError, match="rate 5"):
        check_chunk(sent, contract, 0.1, 0.0)
