"""The controller node as its own process: chunks, limits, starvation, faults; in simulated time."""

from __future__ import annotations

import numpy as np
from bench import CONTRACT, HOME
from std_srvs.srv import Trigger

from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.nodes.conversions import command_message, seconds

LIMITS = Limits.of(CONTRACT)


def ramp(speed: float, rows: int = 8) -> np.ndarray:
    return HOME + np.arange(rows)[:, None] * speed / CONTRACT.rate_hz * np.eye(7)[0]


def status(bench):
    return bench.newest("controller/status")


def test_chunk_is_followed_within_limits_and_starves_softly(bench, graph):
    runner = bench.start_controller(graph)
    sent = bench.now
    bench.send_chunk(ramp(4.0))  # far faster, and farther, than the arm may move
    bench.run(0.5, "controller")
    assert status(bench).state == "running" and status(bench).control_source == "policy"
    bench.run(1.5, "controller")
    assert status(bench).state == "holding" and "no action chunk" in status(bench).reason
    assert status(bench).starved_ticks > 0 and status(bench).velocity_limited > 0
    velocity = bench.velocity_of_arm()
    assert np.abs(velocity[:, 0]).max() > 1.5
    assert (np.abs(velocity) <= LIMITS.velocity + 1e-3).all()
    path = np.array(bench.path)
    assert (path >= LIMITS.low - 1e-6).all() and (path <= LIMITS.high + 1e-6).all()
    assert not velocity[-20:].any()
    for message in bench.received["trajectory"]:
        assert message.points
        assert not any(message.points[-1].velocities) and not any(message.points[-1].accelerations)
        assert len(message.points[0].accelerations) == 7
        assert seconds(message.points[0].time_from_start) > 0
        assert seconds(message.header.stamp) >= sent
    runner.check_alive()


def test_bad_input_is_refused_and_the_node_lives(bench, graph):
    runner = bench.start_controller(graph)
    rejected = status(bench).rejected_chunks
    good = ramp(0.5)
    bad = good.copy()
    bad[3, 2] = np.nan
    bench.send_chunk(bad)
    bench.send_chunk(good, names=["a"] * 8)
    bench.send_chunk(good, data=[0.0] * 5)
    bench.send_chunk(good, rate_hz=0.0)
    bench.send_chunk(good + 1.0)  # the first target is too far away
    bench.teleop.publish(command_message(np.full(8, np.nan), CONTRACT.action_names, bench.now))
    bench.joint_override = {"fr3_joint3": float("nan")}
    bench.run(0.1, "controller")
    bench.joint_override = {}
    bench.run(0.3, "controller")
    assert status(bench).rejected_chunks == rejected + 5
    np.testing.assert_array_equal(bench.path[-1], HOME)
    runner.check_alive()
    bench.send_chunk(good)
    bench.run(0.5, "controller")
    assert np.abs(bench.path[-1] - HOME).max() > 0.05


def test_nan_joint_states_in_motion_hold(bench, graph):
    runner = bench.start_controller(graph)
    bench.send_chunk(ramp(0.5, rows=40))
    bench.run(0.4, "controller")
    bench.joint_override = {"fr3_joint1": float("nan")}
    bench.run(1.0, "controller")
    assert status(bench).state == "holding" and "joint states" in status(bench).reason
    assert not bench.velocity_of_arm()[-20:].any()
    runner.check_alive()


def test_services_arm_hold_stop_reset(bench, graph):
    bench.start_controller(graph, armed=False)
    bench.send_chunk(ramp(0.5))
    bench.run(0.3, "controller")
    assert status(bench).state == "disarmed"
    for name, state in (("arm", "idle"), ("stop", "stopped"), ("arm", "stopped"), ("reset", "idle")):
        answer = bench.call(Trigger, f"controller_node/{name}", Trigger.Request())
        assert state in answer.message
        assert answer.success == ((name, state) != ("arm", "stopped"))  # success means that it happened
    bench.send_chunk(ramp(0.5, rows=30))  # of the instruction that was refused while disarmed
    bench.run(0.3, "controller")
    assert status(bench).state == "idle" and not bench.velocity_of_arm().any()
    bench.send_chunk(ramp(0.5, rows=30), instruction_id=2)
    bench.run(0.3, "controller")
    assert status(bench).state == "running"
    bench.call(Trigger, "controller_node/hold", Trigger.Request())
    bench.run(0.6, "controller")
    assert status(bench).state == "holding"
    assert not bench.velocity_of_arm()[-10:].any()


def test_teleoperation_is_published_before_limiting(bench, graph):
    bench.start_controller(graph)
    target = np.append(HOME + 0.4, 0.0)
    for _ in range(60):
        bench.teleop.publish(command_message(target, CONTRACT.action_names, bench.now))
        bench.run(0.01, "controller")
    command = bench.newest(CONTRACT.action.topic)
    assert dict(zip(command.name, command.position, strict=True)) == dict(
        zip(CONTRACT.action_names, target, strict=True)
    )
    assert status(bench).control_source == "human"
    assert bench.newest(CONTRACT.grippers[0].topic).data[0] == CONTRACT.grippers[0].closed_position
    assert (np.abs(bench.velocity_of_arm()) <= LIMITS.velocity + 1e-3).all()
