"""The arm's controller, shared with MoveIt: handed over, used by somebody else, and taken back.

The bench's arm carries out trajectories as ros2_control's trajectory controller does. MoveIt reaches that by
its action, which no topic shows, so that here, too, the arm is moved past all topics.
"""

from __future__ import annotations

import numpy as np
from bench import CONTRACT, HOME, PERIOD_S
from lifecycle import Lifecycle

FIRST = np.eye(7)[0]


def ramp(start: np.ndarray, rows: int = 30) -> np.ndarray:
    """Rows (H, 7): the first joint at 0.2 rad/s."""
    return start + np.arange(rows)[:, None] * 0.02 * FIRST


def test_the_arm_is_handed_over_and_taken_back(bench, graph):
    bench.start_controller(graph)
    life = Lifecycle(bench, "controller_node")
    bench.send_chunk(ramp(HOME))
    bench.run(1.0, "controller")
    assert bench.newest("controller/status").state == "running"
    life.go("deactivate")
    bench.run(1.0)
    assert np.ptp(np.array(bench.path[-20:]), axis=0).max() < 1e-9, "it came to rest before it let go"

    sent = len(bench.received["trajectory"])
    way = np.array([[0.0], [0.15], [0.3]]) * FIRST
    bench.drive(np.array([0.0, 1.0, 2.0]), bench.path[-1] + way, np.array([[0.0], [0.2], [0.0]]) * FIRST)
    bench.send_chunk(ramp(bench.path[-1]))  # a policy that goes on meanwhile
    bench.run(2.5)
    assert len(bench.received["trajectory"]) == sent, "who is not active commands nothing"
    moved = bench.path[-1]
    assert abs(moved[0] - HOME[0] - 0.3) < 0.25 and np.abs(bench.velocity_of_arm()[-1]).max() < 1e-6

    life.go("activate")
    bench.run(1.0, "controller")
    np.testing.assert_allclose(bench.path[-1], moved, atol=1e-6, err_msg="taken back, nothing moves")
    assert bench.newest("controller/status").state == "idle"
    bench.send_chunk(ramp(moved))
    bench.run(0.3, "controller")
    assert bench.newest("controller/status").state == "idle", "the instruction from before has ended"
    begun = len(bench.path)
    bench.send_chunk(ramp(moved), instruction_id=2)
    bench.run(1.0, "controller")
    assert bench.newest("controller/status").state == "running"
    steps = np.diff(np.array(bench.path[begun - 1 :]), axis=0) / PERIOD_S
    speed = CONTRACT.limits["fr3_joint1"].velocity
    assert 0.1 < steps[-1][0] < 0.3 and np.abs(steps).max() < speed, "it goes on from where the arm is"
