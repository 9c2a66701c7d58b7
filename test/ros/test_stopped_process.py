"""A controller process that gets no processor (SIGSTOP) in motion: no set-point jumps at the driver."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
from bench import CONTRACT, HOME, PERIOD_S
from robots import contract_file
from std_msgs.msg import Float64MultiArray

from vla_adapter_ros.control.limits import Limits

LIMITS = Limits.of(CONTRACT)
SPEED = 0.8
QUICK = (0.1, 0.4, 1.0)
STEPS = (0.05, 0.15, 0.2, 0.25, 0.3, 0.45, 0.5, 0.75, 2.0, 3.0)


def ramp(rows: int = 14) -> np.ndarray:
    return HOME + np.arange(rows)[:, None] * SPEED / CONTRACT.rate_hz * np.eye(7)[0]


def stop_in_motion(bench, runner, seconds: float, told=()) -> int:
    """A chunk moves the arm; after 0.6 s the process is stopped for `seconds`, then all goes on.

    Returns:
        How much had been `told` when the process was stopped.
    """
    bench.send_chunk(ramp())
    bench.run(0.6, "controller")
    process = runner.processes["controller_node"]
    bench.stop_process(process)
    before = len(told)
    try:
        bench.run(seconds)
        time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGCONT)
    bench.run(2.0, "controller")
    runner.check_alive()
    return before


def judge(path: np.ndarray) -> None:
    """Set-points (N, 7), one per tick, keep velocity and acceleration."""
    velocity = np.diff(path, axis=0) / PERIOD_S
    assert (np.abs(velocity) <= LIMITS.velocity * 1.001).all()
    assert (np.abs(np.diff(velocity, axis=0)) / PERIOD_S <= LIMITS.acceleration * 1.01).all()
    assert not velocity[-20:].any()


def follows_trajectories(bench, graph, seconds):
    runner = bench.start_controller(graph)
    stop_in_motion(bench, runner, seconds)
    path = np.array(bench.path)
    assert np.abs(np.diff(path[:, 0])).max() > 0.5 * SPEED * PERIOD_S
    judge(path)


def follows_positions(bench, graph, tmp_path, seconds):
    bench.watch(Float64MultiArray, "/position_controller/commands")
    contract = contract_file(
        tmp_path, command={"type": "forward_position", "topic": "/position_controller/commands"}
    )
    runner = bench.start_controller(graph, contract=contract)
    assert bench.until(lambda: bench.node.count_publishers("/position_controller/commands"))
    bench.joint_override = {}
    told = bench.received["/position_controller/commands"]

    # The arm is where it was told to be: the bench reports the newest set-point as measured.
    run = bench.run

    def following(seconds_, *awaited):
        for _ in range(round(seconds_ / PERIOD_S)):
            if told:
                bench.joint_override = dict(zip(CONTRACT.arm_joints, told[-1].data, strict=True))
            run(PERIOD_S, *awaited)

    bench.run = following
    before = stop_in_motion(bench, runner, seconds, told)
    path = np.array([list(message.data) for message in told])
    velocity = np.diff(path, axis=0) / PERIOD_S
    assert np.abs(velocity[: before - 1, 0]).max() > 0.5 * SPEED
    assert (np.abs(velocity) <= LIMITS.velocity * 1.001).all()
    assert len(velocity) > before + 100 and not np.round(velocity[-20:], 9).any()
    # While the process was stopped the driver stood: the motion begins anew from rest.
    velocity[before - 2] = 0.0
    pushes = np.diff(velocity[before - 2 :], axis=0) / PERIOD_S
    assert (np.abs(pushes) <= LIMITS.acceleration * 1.01).all()


@pytest.mark.parametrize("seconds", QUICK)
def test_trajectories_go_on_from_what_was_sent(bench, graph, seconds):
    follows_trajectories(bench, graph, seconds)


@pytest.mark.parametrize("seconds", QUICK[1:])
def test_positions_go_on_from_what_was_told(bench, graph, tmp_path, seconds):
    follows_positions(bench, graph, tmp_path, seconds)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", STEPS)
def test_trajectories_go_on_from_what_was_sent_in_more_steps(bench, graph, seconds):
    follows_trajectories(bench, graph, seconds)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", STEPS)
def test_positions_go_on_from_what_was_told_in_more_steps(bench, graph, tmp_path, seconds):
    follows_positions(bench, graph, tmp_path, seconds)
