"""How far two chunks differ where both speak."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control.disagreement import disagreement, full_speed_rows

RATE = 10.0


def chunk(start, rows):
    rows = np.asarray(rows, float)
    return start + np.arange(len(rows)) / RATE, rows


def apart(before, after, scale):
    return disagreement(*before, *after, scale)


def test_chunks_that_continue_each_other_agree():
    step = np.array([0.1, -0.2])
    line = np.arange(10)[:, None] * step
    later = chunk(0.45, line + 4.5 * step)
    assert apart(chunk(0.0, line), later, [1, 1]) == pytest.approx(0.0, abs=1e-12)


def test_a_difference_counts_in_rows_at_full_speed():
    before, after = chunk(0.0, np.zeros((10, 2))), chunk(0.3, np.full((10, 2), 0.4))
    assert apart(before, after, [0.2, 0.2]) == pytest.approx(2.0)
    assert apart(before, after, [0.2, math.inf]) == pytest.approx(2.0), "a gripper does not count"


def test_chunks_without_a_common_time_cannot_be_compared():
    assert math.isnan(apart(chunk(0.0, np.zeros((5, 1))), chunk(9.0, np.zeros((5, 1))), [1.0]))
    assert math.isnan(apart(chunk(0.0, np.zeros((5, 1))), chunk(0.0, np.zeros((5, 1))), [math.inf]))
    assert math.isnan(apart(chunk(0.0, np.zeros((5, 1))), chunk(0.0, np.zeros((5, 2))), [1.0, 1.0]))


def test_the_scale_is_a_row_at_full_speed_and_grippers_do_not_count():
    contract = read_contract("franka_sim")
    scale = full_speed_rows(contract)
    assert scale[-1] == math.inf
    assert scale[0] == pytest.approx(contract.limits["fr3_joint1"].velocity / contract.rate_hz)
