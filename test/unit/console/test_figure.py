"""The figure stands where the joints are, and the tool's path ends where the tool is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pinocchio", reason="pinocchio is not installed: pip install pin")

from vla_adapter_ros.console.figure import RobotFigure
from vla_adapter_ros.errors import KinematicsError

URDF = """<robot name="two"><link name="base"/><link name="upper"/><link name="tool"/>
<joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/><origin xyz="0 0 0.5"/>
<axis xyz="0 1 0"/><limit lower="-3" upper="3" velocity="1" effort="1"/></joint>
<joint name="end" type="fixed"><parent link="upper"/><child link="tool"/><origin xyz="0 0 1.0"/></joint>
</robot>"""


def test_bones_follow_the_joints():
    figure = RobotFigure(URDF, "tool")
    assert figure.bones({}) == [[0, 0, 0, 0, 0, 0.5], [0, 0, 0.5, 0, 0, 1.5]]
    bent = figure.bones({"shoulder": np.pi / 2, "stranger": 1.0})
    assert bent[1] == pytest.approx([0, 0, 0.5, 1.0, 0, 0.5])


def test_the_path_of_the_tool():
    path = RobotFigure(URDF, "tool").tool_path(["shoulder"], np.array([[0.0], [np.pi / 2]]), {})
    assert np.allclose(path, [[0, 0, 1.5], [1.0, 0, 0.5]], atol=1e-3)


@pytest.mark.parametrize(("urdf", "tool"), [("<robot", "tool"), ("", "tool"), (URDF, "nowhere")])
def test_what_cannot_be_drawn_is_said(urdf, tool):
    with pytest.raises(KinematicsError):
        RobotFigure(urdf, tool)
