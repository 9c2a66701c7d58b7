"""The state of a later time, against what a robot measures there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.enums import Unit
from vla_adapter_ros.contract.schema import StateDimension
from vla_adapter_ros.control.rotation import quaternion, rotation_matrix
from vla_adapter_ros.control.state_ahead import StateAhead
from vla_adapter_ros.control.urdf import contract_kinematics

CONTRACT = read_contract("franka_sim_ee")
OFF = np.array([0.01, -0.02, 0.05])  # a tool point elsewhere on the hand than the contract's
TURN = rotation_matrix(np.array([0.3, -0.2, 0.9]))
HERE = np.array([0.1, -0.3, 0.2, -2.0, 0.1, 1.8, 0.8])
THERE = HERE + np.array([0.2, 0.1, -0.1, 0.15, -0.2, 0.1, 0.3])


def with_orientation():
    """The shipped contract with the whole pose of the tool, and a joint's velocity, in its state."""
    pose = [d for d in CONTRACT.state if d.field.startswith("position.")]
    turned = [
        replace(pose[0], name=f"q{axis}", field=f"orientation.{axis}", unit=Unit.ONE) for axis in "xyzw"
    ]
    first = next(d for d in CONTRACT.state if d.joint == CONTRACT.arm_joints[0])
    speed = StateDimension("speed", first.topic, "velocity", Unit.RAD_PER_S, first.joint)
    return replace(CONTRACT, state=(*CONTRACT.state, *turned, speed))


def measured(contract, kinematics, joints: np.ndarray, speed: float) -> np.ndarray:
    """What a robot in a pose measures (S,), its tool point being off the contract's."""
    pose = kinematics.pose(joints)
    values = dict(zip(contract.arm_joints, joints, strict=True)) | {"fr3_finger_joint1": 0.03}
    fields = dict(zip("xyz", pose.position + pose.rotation @ OFF, strict=True))
    turned = dict(zip("xyzw", quaternion(pose.rotation @ TURN), strict=True))
    state = []
    for d in contract.state:
        if d.joint:
            state.append(speed if d.field == "velocity" else values[d.joint])
        else:
            kind, axis = d.field.split(".")
            state.append((fields if kind == "position" else turned)[axis])
    return np.array(state)


@pytest.mark.parametrize("make", [lambda: CONTRACT, with_orientation])
def test_it_is_what_would_be_measured_there(make):
    contract = make()
    kinematics = contract_kinematics(contract)
    ahead = StateAhead(contract)
    assert ahead.problem(kinematics) == ""
    state = measured(contract, kinematics, HERE, 0.1)
    before = state.copy()
    seen = ahead.move(state, THERE, np.full(7, 0.4), kinematics)
    assert tuple(seen != before) == contract.foreseen_state  # as a training takes from the later row
    expected = measured(contract, kinematics, THERE, 0.4)
    turned = [n for n, d in enumerate(contract.state) if d.field.startswith("orientation.")]
    if turned and seen[turned] @ expected[turned] < 0:
        expected[turned] *= -1  # the same rotation
    np.testing.assert_allclose(seen, expected, atol=1e-9)
    assert np.array_equal(state, before)


def test_it_says_what_it_lacks():
    assert "kinematics are not known" in StateAhead(CONTRACT).problem(None)
    without = replace(CONTRACT, state=tuple(d for d in CONTRACT.state if d.joint != "fr3_joint3"))
    assert StateAhead(without).problem(None) == "the state has no position of fr3_joint3"
    joints = replace(CONTRACT, state=tuple(d for d in CONTRACT.state if d.joint))
    assert StateAhead(joints).problem(None) == ""
    part = replace(CONTRACT, state=tuple(d for d in CONTRACT.state if d.field != "position.z"))
    assert "a part of the tool's pose" in StateAhead(part).problem(contract_kinematics(CONTRACT))
