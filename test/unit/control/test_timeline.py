"""The reference of chunks: continuous, spliced as asked, gripper never mixed."""

from __future__ import annotations

import numpy as np
import pytest
from receiver import HOME, LIMITS, make_chunk, ramp

from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.control.timeline import ChunkTimeline, SmoothRows

REST = np.stack([HOME, np.zeros(7), np.zeros(7)])


def joint_chunk(stamp: float, rows: np.ndarray, **changes) -> Chunk:
    return make_chunk(stamp, rows, **changes)


def smooth(chunk: Chunk) -> SmoothRows:
    return SmoothRows(chunk, len(HOME))


def path(timeline: ChunkTimeline, begin: float, end: float, step: float = 1e-3) -> np.ndarray:
    return np.array([timeline.at(t) for t in np.arange(begin, end, step)])


@pytest.mark.parametrize("splice", ["replace", "ensemble", "crossfade"])
def test_hand_over_is_continuous_up_to_acceleration(splice):
    rng = np.random.default_rng(1)
    timeline = ChunkTimeline(LIMITS, splice)
    timeline.take_over(smooth(joint_chunk(0.0, ramp())), 0.05, REST)
    before = [path(timeline, 0.05, 0.45)]
    for k in range(1, 5):
        now = 0.05 + 0.4 * k
        rows = ramp(0.5, start=HOME + 0.2 * k * np.eye(7)[0]) + rng.normal(0, 0.01, 7)
        timeline.take_over(smooth(joint_chunk(now - 0.05, rows, sequence=k)), now, timeline.at(now))
        before.append(path(timeline, now, now + 0.4))
    whole = np.concatenate(before)
    for order, bound in ((0, LIMITS.velocity), (1, LIMITS.acceleration), (2, 2 * LIMITS.jerk)):
        assert (np.abs(np.diff(whole[:, order], axis=0)) <= bound * 1e-3).all()


def test_rows_are_met_and_before_and_after_them_nothing_is_invented():
    timeline = ChunkTimeline(LIMITS, handover_s=0.01)
    rows = ramp() + np.random.default_rng(0).normal(0, 0.002, (8, 7))
    first = joint_chunk(0.0, rows)
    timeline.take_over(smooth(first), -5.0, REST)
    for k in range(8):
        np.testing.assert_allclose(timeline.at(k / 10)[0], rows[k], atol=1e-9)
    end = timeline.at(0.9)
    np.testing.assert_array_equal(end[0], rows[-1])
    assert not end[1:].any()
    assert timeline.starved(0.71) and not timeline.starved(0.7)


def test_ensemble_averages_what_is_said_for_the_same_time():
    timeline = ChunkTimeline(LIMITS, "ensemble", handover_s=0.01, decay=0.5)
    low, high = ramp(0.0), ramp(0.0, start=HOME + 0.1)
    timeline.take_over(smooth(joint_chunk(0.0, low)), 0.0, REST)
    timeline.take_over(smooth(joint_chunk(0.2, high, sequence=1)), 0.2, timeline.at(0.2))
    weights = np.exp([0.0, -0.5])
    expected = HOME + 0.1 * weights[1] / weights.sum()  # the older chunk weighs more
    np.testing.assert_allclose(timeline.at(0.6)[0], expected, atol=5e-3)
    np.testing.assert_allclose(timeline.at(0.9)[0], HOME + 0.1, atol=1e-6)  # the older one ended at 0.7


def test_crossfade_goes_from_one_to_the_other():
    timeline = ChunkTimeline(LIMITS, "crossfade", crossfade_s=0.4)
    timeline.take_over(smooth(joint_chunk(-0.3, ramp(0.0, rows=12))), 0.0, REST)
    rows = ramp(0.0, rows=10, start=HOME + 0.1)
    timeline.take_over(smooth(joint_chunk(-0.2, rows, sequence=1)), 0.0, timeline.at(0.0))
    shares = (np.array([timeline.at(t)[0][0] for t in (0.0, 0.2, 0.4, 0.6)]) - HOME[0]) / 0.1
    np.testing.assert_allclose(shares, [0.0, 0.5, 1.0, 1.0], atol=0.05)


@pytest.mark.parametrize("splice", ["ensemble", "crossfade"])
def test_another_instruction_is_never_mixed_in(splice):
    timeline = ChunkTimeline(LIMITS, splice, handover_s=0.05)
    timeline.take_over(smooth(joint_chunk(0.0, ramp(0.0))), 0.0, REST)
    rows = ramp(0.0, start=HOME + 0.01)
    timeline.take_over(smooth(joint_chunk(0.1, rows, instruction_id=2)), 0.1, timeline.at(0.1))
    np.testing.assert_allclose(timeline.at(0.5)[0], HOME + 0.01, atol=1e-9)


def test_gripper_comes_from_the_newest_row_that_is_due():
    timeline = ChunkTimeline(LIMITS, "ensemble")
    rows = np.column_stack([ramp(), [1, 1, 1, 0, 0, 0, 0, 0]])
    timeline.take_over(smooth(make_chunk(0.0, ramp(), rows=rows)), 0.0, REST)
    assert [timeline.grippers(t).tolist() for t in (0.0, 0.29, 0.3, 0.65, 2.0)] == [[1], [1], [0], [0], [0]]
    timeline.take_over(smooth(make_chunk(0.3, ramp(), sequence=1)), 0.35, timeline.at(0.35))
    assert timeline.grippers(0.35).tolist() == [1.0]
