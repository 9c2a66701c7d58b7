"""The controller's services home and set_speed, by its real node; in simulated time."""

from __future__ import annotations

import numpy as np
from bench import CONTRACT, HOME
from std_srvs.srv import Trigger

from vla_adapter_ros.srv import Home, SetSpeed

POSE = np.array(list(CONTRACT.home.values()))


def status(bench):
    return bench.newest("controller/status")


def go_home(bench, **pose):
    return bench.call(Home, "controller_node/home", Home.Request(**pose))


def hold(bench) -> None:
    assert bench.call(Trigger, "controller_node/hold", Trigger.Request()).success


def set_speed(bench, speed: float):
    return bench.call(SetSpeed, "controller_node/set_speed", SetSpeed.Request(speed=speed))


def ramp(speed: float = 0.5, rows: int = 30) -> np.ndarray:
    return HOME + np.arange(rows)[:, None] * speed / CONTRACT.rate_hz * np.eye(7)[0]


def way(bench, seconds: float) -> float:
    before = bench.path[-1][0]
    bench.run(seconds, "controller")
    return bench.path[-1][0] - before


def test_home_and_speed(bench, graph):
    runner = bench.start_controller(graph, speed=0.5)
    assert status(bench).speed == 0.5
    answer = set_speed(bench, 0.05)
    assert not answer.success and answer.message == "speed = 0.05: allowed is 0.1 to 1"

    bench.send_chunk(ramp())
    bench.run(0.5, "controller")
    slow = way(bench, 0.5)
    assert 0.4 * 0.25 < slow < 0.6 * 0.25  # 0.5 rad/s at half the speed
    assert set_speed(bench, 1.0).success
    bench.run(1.0, "controller")
    assert 0.9 * 0.15 < way(bench, 0.3) < 1.1 * 0.15 and status(bench).speed == 1.0

    answer = go_home(bench)
    assert not answer.success and answer.message == "a human or the policy leads: call ~/hold first"
    hold(bench)
    bench.run(0.1, "controller")
    answer = go_home(bench, joint_names=["elbow"], positions=[0.0])
    assert not answer.success and "home: joints ['elbow']" in answer.message
    answer = go_home(bench)
    assert answer.success and "goes home" in answer.message
    bench.run(0.6, "controller")
    assert (status(bench).state, status(bench).control_source) == ("homing", "home")
    assert "wait until it is there" in status(bench).blocked_by
    hold(bench)
    bench.run(0.6, "controller")
    assert status(bench).state == "holding" and not bench.velocity_of_arm()[-10:].any()
    assert np.abs(bench.path[-1] - POSE).max() > 0.05

    assert go_home(bench).success
    bench.run(4.0, "controller")
    assert (status(bench).state, status(bench).reason) == ("idle", "home is reached")
    np.testing.assert_allclose(bench.path[-1], POSE, atol=1e-6)
    runner.check_alive()
