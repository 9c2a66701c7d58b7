"""The delay of an arm: found in what encoders of all kinds would say, and turned into what to write."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vla_adapter_ros.commissioning.command_delay import (
    LARGEST_STEP,
    Step,
    choose_joint,
    estimate_delay,
    judge_delay,
    plan_step,
)
from vla_adapter_ros.commissioning.results import worst
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.schema import JointLimits
from vla_adapter_ros.dataset.quality.findings import Level
from vla_adapter_ros.errors import CommandError, ContractError

CONTRACT = read_contract("franka_sim")
STEP = Step(0.02, 0.4)
TIMES = 1.7e9 + np.arange(0.0, STEP.whole_s, 0.01)  # as late as today's dates
COMMANDS = 0.3 + STEP.at(TIMES - TIMES[0])
LIMITS = JointLimits(position=(-1.0, 1.0), velocity=1.0, acceleration=2.0)
FORWARD = dataclasses.replace(
    CONTRACT, command=dataclasses.replace(CONTRACT.command, type="forward_position")
)


def arm(delay: float, rate_hz: float, noise: float = 0.0, counts: float = 0.0, gain: float = 1.0, seed=0):
    """Times and positions of an arm that comes `delay` later, as an encoder tells them."""
    rng = np.random.default_rng(seed)
    times = np.arange(TIMES[0] + rng.uniform(0, 1 / rate_hz), TIMES[-1], 1 / rate_hz)
    positions = 0.3 + 0.005 + gain * (np.interp(times - delay, TIMES, COMMANDS) - 0.3)
    positions = positions + rng.normal(0, noise, len(times))
    return times, np.round(positions / counts) * counts if counts else positions


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2])
@pytest.mark.parametrize(
    ("rate_hz", "noise", "counts", "within"),
    [
        (500, 0.0, 0.0, 0.002),
        (125, 0.0002, 0.0, 0.004),
        (100, 0.0, 0.00153, 0.008),  # a servo of 4096 steps per turn
        (30, 0.0002, 0.0, 0.008),
        (30, 0.0, 0.00153, 0.02),
    ],
)
def test_a_delay_is_found_whatever_the_encoder(delay, rate_hz, noise, counts, within):
    found = [
        estimate_delay(TIMES, COMMANDS, *arm(delay, rate_hz, noise, counts, seed=seed)).delay_s
        for seed in range(5)
    ]
    assert np.median(found) == pytest.approx(delay, abs=within), found


def test_offset_and_gain_do_not_matter():
    found = estimate_delay(TIMES, COMMANDS, *arm(0.08, 125, gain=0.7))
    assert found.delay_s == pytest.approx(0.08, abs=0.002) and found.moved == pytest.approx(0.014, abs=0.001)


@pytest.mark.parametrize(
    ("times", "positions", "words"),
    [
        (TIMES[:4], COMMANDS[:4], r"4 positions and \d+ commands came: too few"),
        (TIMES, np.full(len(TIMES), 0.3), "told to move by 0.0199 rad and moved by 0.0000"),
        (TIMES, 0.3 + 0.01 * np.sin(40 * (TIMES - TIMES[0])), "not as it was told"),
        (*arm(0.9, 100), "Are the clocks"),
        (*arm(-0.4, 100), "Are the clocks"),
    ],
)
def test_an_arm_that_does_not_follow_is_named(times, positions, words):
    with pytest.raises(CommandError, match=words):
        estimate_delay(TIMES, COMMANDS, times, positions)


def test_a_step_goes_where_there_is_room_and_keeps_the_limits():
    assert plan_step(0.9, 0.02, LIMITS).size == -0.02 and plan_step(-0.9, 0.01, LIMITS).size == 0.01
    step = plan_step(0.0, LARGEST_STEP, JointLimits(position=(-1.0, 1.0), velocity=0.05, acceleration=0.1))
    path = step.at(np.arange(0, step.whole_s, 0.001))
    assert np.abs(np.diff(path)).max() / 0.001 <= 0.05 / 2 + 1e-6
    assert np.abs(np.diff(path, 2)).max() / 0.001**2 <= 0.1 / 2 + 1e-4
    assert path[0] == 0 and 0.98 * LARGEST_STEP < path[-1] <= LARGEST_STEP
    for size in (0.0, -0.01, 0.021, float("nan")):
        with pytest.raises(CommandError, match=r"at most 0.02 rad"):
            plan_step(0.0, size, LIMITS)
    with pytest.raises(CommandError, match="no room"):
        plan_step(0.0, 0.02, JointLimits(position=(-0.01, 0.01), velocity=1.0, acceleration=1.0))


def test_the_joint_is_the_last_that_turns_or_the_one_that_is_named():
    place = choose_joint(CONTRACT, "")
    assert CONTRACT.action.dimensions[place].name == CONTRACT.arm_joints[-1]
    assert choose_joint(CONTRACT, CONTRACT.arm_joints[2]) == CONTRACT.arm_places[2]
    so101 = read_contract("so101")
    assert (
        so101.action.dimensions[choose_joint(so101, "")].name == "wrist_roll"
    )  # its last joint is a gripper
    with pytest.raises(CommandError, match="--joint elbow: allowed is one of fr3_joint1"):
        choose_joint(CONTRACT, "elbow")
    with pytest.raises(ContractError, match="allowed for a measurement is joint_position"):
        choose_joint(read_contract("franka_sim_ee"), "")


@pytest.mark.parametrize(
    ("contract", "behind", "value", "level", "words"),
    [
        (CONTRACT, 0.0, 0.1, Level.PASS, "0.100 s after a command (0.095 to 0.105 in 5 steps)"),
        (CONTRACT, 0.05, 0.1, Level.PASS, "0.050 s after it was due; 0.1 is right"),
        (CONTRACT, 0.16, 0.25, Level.WARN, "Write command_delay_s: 0.25"),
        (CONTRACT, -0.1, 0.1, Level.FAIL, "clocks"),
        (CONTRACT, 0.9, 0.5, Level.WARN, "Write command_delay_s: 0.5"),
        (FORWARD, 0.08, 0.1, Level.PASS, "0.1 is right"),
        (FORWARD, 0.0, 0.02, Level.WARN, "Write command_delay_s: 0.02"),  # the lead is no use to it
        (FORWARD, 0.2, 0.21, Level.WARN, "Write command_delay_s: 0.21"),
    ],
)
def test_what_to_write_covers_messages_and_delay_and_stays_when_it_is_written(
    contract, behind, value, level, words
):
    delays = [0.1 + behind + offset for offset in (-0.005, 0.0, 0.0, 0.003, 0.005)]
    results, wanted = judge_delay(contract, delays, 100.0, 4)
    assert wanted == pytest.approx(value, abs=1e-9) and worst(results) is level
    assert any(words in result.line for result in results), results
    if level is not Level.FAIL:  # with the new lead the driver is as late as before
        command = dataclasses.replace(contract.command, command_delay_s=wanted)
        delays = [wanted + behind] * 5
        again, kept = judge_delay(dataclasses.replace(contract, command=command), delays, 100.0, 4)
        assert worst(again) is Level.PASS and kept == wanted


def test_delays_that_scatter_are_named():
    results, _ = judge_delay(CONTRACT, [0.1, 0.1, 0.18], 100.0, 4)
    assert [r.subject for r in results if r.level is Level.WARN] == ["spread"]
