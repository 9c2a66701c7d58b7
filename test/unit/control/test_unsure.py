"""An arm that had better stand still than go on unsure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.errors import ChunkError

PLAIN = read_contract("franka_sim")
ASKS = replace(PLAIN, safety=replace(PLAIN.safety, uncertainty_max=1.0))
HOME = np.array([PLAIN.home[joint] for joint in PLAIN.arm_joints])


def chunk(at: float, sequence: int, uncertainty: float, instruction: int = 1) -> Chunk:
    rows = HOME + np.arange(1, 11)[:, None] * 0.01
    rows, names = np.column_stack([rows, np.ones(10)]), PLAIN.action_names
    return Chunk(at, rows, names, PLAIN.rate_hz, "s", instruction, sequence, uncertainty=uncertainty)


def run(core: MotionCore, first: int, last: int) -> np.ndarray:
    path = []
    for tick in range(first, last):
        here = core.setpoint(tick * 0.01)
        path.append(HOME if here is None else here.position)
        core.measure(dict(zip(PLAIN.arm_joints, path[-1].tolist(), strict=True)), tick * 0.01)
        core.tick(tick * 0.01)
        if tick % 4 == 0:
            core.trajectory(tick * 0.01)
    return np.array(path)


@pytest.mark.parametrize(("contract", "stops"), [(PLAIN, False), (ASKS, True)])
def test_an_unsure_policy_brings_the_arm_to_rest_where_the_contract_asks_for_it(contract, stops):
    core = MotionCore(contract)
    run(core, 0, 5)
    core.accept_chunk(chunk(0.05, 1, 0.9), 0.05)
    moving = run(core, 5, 40)
    assert np.abs(moving[-1] - HOME).max() > 0.005
    unsure = chunk(0.4, 2, 1.4)
    if stops:
        with pytest.raises(ChunkError, match=r"the policy is unsure: 1.40, allowed is 1 \(safety"):
            core.accept_chunk(unsure, 0.4)
    else:
        core.accept_chunk(unsure, 0.4)
    rest = run(core, 40, 120)
    assert (np.ptp(rest[-20:], axis=0).max() < 1e-6) == stops
    assert (core.state == "running") == (not stops)
    if stops:
        assert core.ending.by == "silence" and "unsure" in core.ending.why
        core.accept_chunk(chunk(1.2, 3, 0.2, instruction=2), 1.2)  # another instruction
        assert core.state == "running"


def test_an_instruction_that_begins_unsure_is_refused():
    core = MotionCore(ASKS)
    run(core, 0, 5)
    with pytest.raises(ChunkError, match="unsure"):
        core.accept_chunk(chunk(0.05, 1, 1.4), 0.05)
    assert np.array_equal(run(core, 5, 60), np.tile(HOME, (55, 1)))
    assert core.ending.by == "refused" and "unsure" in core.ending.why
