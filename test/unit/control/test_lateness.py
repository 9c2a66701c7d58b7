"""What a late policy decides, and how slowly its rows are carried out."""

from __future__ import annotations

import math

import pytest

from vla_adapter_ros.control.lateness import AT_ONCE, LONGEST_DELAY_S, SLOWEST_PACE, lateness, longest_delay

LATENCIES_S = [0.0, 0.004, 0.05, 0.1, 0.13, 0.2, 0.21, 0.3, 0.4, 0.55, 0.8, 1.3, 1.6, 3.0]
SPEEDS = [0.1, 0.37, 0.5, 1.0]


@pytest.mark.parametrize(
    ("latency_s", "expected"),
    [
        (0.05, (1.0, 0.1, 1)),
        (0.2, (1.0, 0.2, 2)),
        (0.3, (0.8, 0.3, 2)),
        (0.4, (0.6, 0.4, 2)),
        (0.8, (0.3, 0.8, 2)),
        (1.6, (0.25, 1.6, 4)),
        (2.5, (0.25, 1.6, 4)),  # later than it was trained for
    ],
)
def test_few_rows_pass_within_a_latency_or_the_rows_are_carried_out_slower(latency_s, expected):
    late = lateness(latency_s, 10.0, most_rows=4)
    assert (late.pace, pytest.approx(late.delay_s), late.rows) == expected


def test_a_policy_without_delays_decides_for_its_image_at_full_pace():
    assert lateness(0.8, 10.0, most_rows=0) == AT_ONCE == lateness(0.0, 10.0, most_rows=4)


@pytest.mark.parametrize("latency_s", LATENCIES_S)
def test_without_a_limit_the_pace_is_full(latency_s):
    late = lateness(latency_s, 10.0, most_rows=4, full_pace_rows=math.inf)
    assert late.pace == 1.0 and late.rows == min(math.ceil(10 * latency_s - 1e-6), 4)


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("latency_s", LATENCIES_S)
@pytest.mark.parametrize("most_rows", [1, 2, 4, 7])
def test_no_more_rows_pass_than_the_policy_was_trained_for(latency_s, speed, most_rows):
    late = lateness(latency_s, 10.0, most_rows, speed)
    passing = late.delay_s * 10.0 * late.pace * speed
    assert SLOWEST_PACE <= late.pace <= 1.0
    assert passing <= most_rows + 1e-6 and abs(late.rows - passing) <= 0.5
    assert late.delay_s * 10.0 == pytest.approx(round(late.delay_s * 10.0))
    assert late.delay_s <= longest_delay(10.0, most_rows, late.pace * speed) + 1e-9 <= LONGEST_DELAY_S + 1e-8


def test_an_operator_who_is_slower_already_is_not_slowed_down_again():
    assert lateness(0.4, 10.0, 4, speed=0.5).pace == 1.0
    assert lateness(0.8, 10.0, 4, speed=0.5).pace == 0.6
