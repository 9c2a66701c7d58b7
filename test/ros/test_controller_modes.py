"""Modes, switches and human takeover of the controller node: its own process, simulated time."""

from __future__ import annotations

import numpy as np
import pytest
from bench import CONTRACT, HOME
from robots import contract_file
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.nodes.conversions import command_message

LIMITS = Limits.of(CONTRACT)
OUTPUTS = (CONTRACT.command.topic, CONTRACT.grippers[0].topic)
FIRST = np.eye(7)[0]


def ramp(speed: float, rows: int, start: np.ndarray = HOME) -> np.ndarray:
    return start + np.arange(rows)[:, None] * speed / CONTRACT.rate_hz * FIRST


def status(bench):
    return bench.newest("controller/status")


def smooth(bench) -> None:
    """No jump anywhere: between two ticks the velocity changes by no more than the acceleration allows."""
    velocity = bench.velocity_of_arm()
    steps = np.abs(np.diff(velocity, axis=0))
    assert (np.abs(velocity) <= LIMITS.velocity + 1e-3).all()
    assert (steps <= 1.02 * LIMITS.acceleration * 0.01 + 1e-4).all(), steps.max(axis=0)


def test_it_starts_disarmed_unless_told_otherwise(bench, graph):
    bench.start_controller(graph, armed=False)
    assert status(bench).state == "disarmed" and status(bench).mode == "drive"
    bench.send_chunk(ramp(0.5, 10))
    bench.run(0.5, "controller")
    assert not bench.received["trajectory"] and not bench.received[OUTPUTS[1]]
    assert bench.call(Trigger, "controller_node/arm", Trigger.Request()).success
    bench.send_chunk(ramp(0.5, 10))  # of the instruction that was given while it was disarmed
    bench.run(0.5, "controller")
    assert status(bench).state == "idle" and not bench.received["trajectory"]
    bench.send_chunk(ramp(0.5, 10), instruction_id=2)
    bench.run(0.5, "controller")
    assert status(bench).state == "running" and bench.received["trajectory"]


def test_dry_run_does_everything_but_command(bench, graph):
    runner = bench.start_controller(graph, mode="dry_run")
    bench.send_chunk(ramp(0.5, 20))
    bench.run(1.0, "controller")
    assert status(bench).state == "running" and status(bench).mode == "dry_run"
    command = bench.newest(CONTRACT.action.topic)
    assert command.position[0] > 0.3  # where the arm would be sent
    bench.run(2.0, "controller")
    assert status(bench).state == "holding" and "no action chunk" in status(bench).reason
    np.testing.assert_array_equal(bench.path[-1], HOME)
    for topic in OUTPUTS:
        assert bench.node.count_publishers(topic) == 0
    runner.check_alive()


def test_shadow_scores_the_policy_against_the_human(bench, graph):
    runner = bench.start_controller(graph, mode="shadow", armed=False)
    bench.watch(JointState, "controller_node/shadow_command")
    away = 0.1 * FIRST
    bench.send_chunk(np.tile(HOME + away, (20, 1)))
    human = np.append(HOME, 1.0)
    for _ in range(100):
        bench.teleop.publish(command_message(human, CONTRACT.action_names, bench.now))
        bench.run(0.01, "controller")
    told = status(bench)
    assert told.mode == "shadow" and told.control_source == "human" and told.state == "running"
    assert list(told.shadow_names) == list(CONTRACT.action_names)
    assert told.shadow_samples > 80
    assert told.shadow_max[0] == pytest.approx(0.1, abs=0.005)
    assert 0.08 < told.shadow_rms[0] < 0.105
    np.testing.assert_allclose(told.shadow_rms[1:], 0.0, atol=1e-9)
    assert bench.newest("controller_node/shadow_command").position[0] == pytest.approx(0.1, abs=0.005)
    assert list(bench.newest(CONTRACT.action.topic).position) == human.tolist()  # what is to be recorded
    for topic in OUTPUTS:
        assert bench.node.count_publishers(topic) == 0
    runner.check_alive()


def test_rows_pass_through_unspliced_for_simulators(bench, graph):
    bench.start_controller(graph, mode="row_pass_through")
    bench.watch(JointState, "controller_node/row")
    bench.run(0.1, "controller")
    rows = ramp(0.5, 6)
    bench.send_chunk(rows)
    bench.run(1.0, "controller")
    got = [list(message.position[:7]) for message in bench.received["controller_node/row"]]
    np.testing.assert_allclose(got, rows, atol=1e-12)
    assert bench.node.count_publishers(OUTPUTS[0]) == 0


def test_the_software_stop_topic_is_latched(bench, graph):
    bench.start_controller(graph)
    stop = bench.node.create_publisher(Bool, "controller_node/software_stop", 10)
    bench.send_chunk(ramp(0.8, 40))
    bench.run(1.0, "controller")
    assert bench.velocity_of_arm()[-1, 0] == pytest.approx(0.8, abs=0.02)
    assert bench.until(lambda: stop.get_subscription_count() > 0)
    stop.publish(Bool(data=True))
    answered = len(bench.path)
    while status(bench).state != "stopped" and len(bench.path) < answered + 100:
        bench.run(0.01, "controller")
    begun = len(bench.path)
    bench.run(0.5, "controller")
    still = next(i for i, v in enumerate(bench.velocity_of_arm()[begun:]) if not v.any())
    # 0.8 rad/s at 8 rad/s^2 takes 0.1 s, and the jerk limit and what was sent already a little more.
    assert still * 0.01 < 0.25
    smooth(bench)
    stop.publish(Bool(data=False))
    bench.send_chunk(ramp(0.5, 10, bench.path[-1]), instruction_id=2)
    bench.call(Trigger, "controller_node/arm", Trigger.Request())
    bench.run(0.3, "controller")
    assert status(bench).state == "stopped" and not bench.velocity_of_arm()[-10:].any()
    assert "idle" in bench.call(Trigger, "controller_node/reset", Trigger.Request()).message
    bench.send_chunk(ramp(0.5, 10, bench.path[-1]), instruction_id=3)
    bench.run(0.4, "controller")
    assert status(bench).state == "running"


def test_a_released_deadman_stops_the_arm(bench, graph, tmp_path):
    contract = contract_file(tmp_path, safety={"deadman_topic": "/deadman", "deadman_timeout_s": 0.3})
    bench.start_controller(graph, contract=contract)
    deadman = bench.node.create_publisher(Bool, "/deadman", 10)
    assert bench.until(lambda: deadman.get_subscription_count() > 0)

    def hold(seconds_: float, pressed: bool) -> None:
        for _ in range(round(seconds_ / 0.1)):
            deadman.publish(Bool(data=pressed))
            bench.run(0.1, "controller")

    bench.send_chunk(ramp(0.5, 10))
    bench.run(0.5, "controller")
    assert "deadman" in status(bench).reason
    np.testing.assert_array_equal(bench.path[-1], HOME)
    hold(0.3, True)
    bench.send_chunk(ramp(0.5, 40), instruction_id=2)
    hold(0.8, True)
    assert status(bench).state == "running" and bench.velocity_of_arm()[-1, 0] > 0.4
    hold(0.5, False)
    assert status(bench).state == "holding" and "deadman" in status(bench).reason
    assert not bench.velocity_of_arm()[-5:].any()
    hold(0.3, True)
    bench.send_chunk(ramp(0.5, 40, bench.path[-1]), instruction_id=3)
    hold(0.5, True)
    assert status(bench).state == "running"
    bench.run(1.0, "controller")  # silence counts as released, after the timeout
    assert status(bench).state == "holding" and not bench.velocity_of_arm()[-10:].any()
    smooth(bench)


def sources(bench) -> list[str]:
    """Control sources in order, without repetitions."""
    told = [message.control_source for message in bench.received["controller/status"]]
    return [source for i, source in enumerate(told) if i == 0 or source != told[i - 1]]


def test_a_human_takes_over_through_the_controller_and_gives_back(bench, graph):
    bench.start_controller(graph, status_every=1)
    bench.send_chunk(ramp(0.5, 60))
    bench.run(1.0, "controller")
    command = np.append(bench.path[-1] + 0.05 * FIRST, 1.0)
    for _ in range(100):  # the human turns back
        command[0] -= 0.003
        bench.teleop.publish(command_message(command, CONTRACT.action_names, bench.now))
        bench.run(0.01, "controller")
    assert status(bench).control_source == "human"
    assert bench.velocity_of_arm()[-1, 0] == pytest.approx(-0.3, abs=0.05)
    bench.run(0.6, "controller")  # and lets go
    bench.send_chunk(ramp(0.5, 30, bench.path[-1]))
    bench.run(1.0, "controller")
    assert status(bench).control_source == "policy" and bench.velocity_of_arm()[-1, 0] > 0.4
    assert [s for s in sources(bench) if s != "none"] == ["policy", "human", "policy"]
    smooth(bench)


def test_a_human_takes_over_directly_and_the_controller_yields(bench, graph, tmp_path):
    contract = contract_file(tmp_path, teleop={"route": "direct"})
    bench.start_controller(graph, contract=contract, status_every=1)
    bench.send_chunk(ramp(0.5, 60))
    bench.run(1.0, "controller")
    times = np.arange(1, 101) * 0.01
    share = times[:, None]
    way = 0.5 * share - 0.4 * share**2  # goes on at 0.5 rad/s and slows down to -0.3 rad/s
    path, speed = bench.path[-1] + way * FIRST, (0.5 - 0.8 * share) * FIRST
    # Announced at the tick before it drives, so that the controller falls silent first.
    for i in range(100):
        command = command_message(np.append(path[i], 1.0), CONTRACT.action_names, bench.now)
        bench.teleop.publish(command)
        if i == 1:
            bench.run(0.01, "controller")
            sent = len(bench.received["trajectory"])
            bench.drive(
                np.append(times, 1.2),
                bench.path[-1] + np.vstack([way, way[-1] - 0.03]) * FIRST,
                np.vstack([speed, 0 * FIRST]),
            )
        bench.run(0.01, "controller")
    assert status(bench).control_source == "human"
    assert len(bench.received["trajectory"]) == sent
    recorded = bench.newest(CONTRACT.action.topic)
    assert recorded.position[0] == pytest.approx(path[-1, 0], abs=0.02)
    bench.run(0.8, "controller")  # the human lets go; the arm has come to rest
    assert status(bench).control_source == "none" and len(bench.received["trajectory"]) == sent
    bench.send_chunk(ramp(0.5, 30, bench.path[-1]))
    bench.run(1.0, "controller")
    assert status(bench).control_source == "policy" and bench.velocity_of_arm()[-1, 0] > 0.4
    assert [s for s in sources(bench) if s != "none"] == ["policy", "human", "policy"]
    smooth(bench)
