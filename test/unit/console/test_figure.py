"""The figure stands where the joints are, and the tool's path ends where the tool is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pinocchio", reason="pinocchio is not installed: pip install pin")

from vla_adapter_ros.console.figure import RobotFigure
from vla_adapter_ros.contract.camera import Camera, CameraPose
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


def camera(**pose) -> Camera:
    """100 x 80 px; looks along the base's x axis from 2 m behind it."""
    forward = (0.5, -0.5, 0.5, -0.5)  # optical z along x, optical x along -y
    values = {"position": (-2.0, 0.0, 0.5), "orientation": forward, "focal_length": (100.0, 50.0)}
    return Camera("image", 100, 80, pose=CameraPose(**values | pose))


def test_points_are_projected_into_the_image():
    figure = RobotFigure(URDF, "tool")
    points = [[0.0, 0.0, 0.5], [0.0, 0.4, 0.5], [0.0, 0.0, 0.9], [2.0, -1.0, 0.5]]
    assert figure.in_image(points, camera(), {}) == [[0.5, 0.5], [0.3, 0.5], [0.5, 0.375], [0.75, 0.5]]
    shifted = figure.in_image(points[:1], camera(principal_point=(60.0, 20.0)), {})
    assert shifted == [[0.6, 0.25]]


def test_a_path_ends_in_the_image_where_it_passes_the_camera():
    points = [[0.0, 0.0, 0.5], [-1.99, 0.0, 0.5], [0.0, 0.0, 0.5]]
    assert RobotFigure(URDF, "tool").in_image(points, camera(), {}) == [[0.5, 0.5]]


def test_a_camera_on_the_arm_sees_from_where_the_arm_is():
    """On the upper link, which lies along x once the shoulder is bent: it looks along that link."""
    figure = RobotFigure(URDF, "tool")
    along = camera(link="upper", position=(0.0, 0.0, 0.0), orientation=(0.0, 0.0, 0.0, 1.0))
    bent = {"shoulder": np.pi / 2}
    assert figure.in_image([[1.0, 0.0, 0.5]], along, bent) == [[0.5, 0.5]]
    assert figure.in_image([[1.0, 0.0, 0.5]], along, {}) == [], "beside it, not ahead"


def test_a_camera_on_a_link_that_is_not_there_is_named():
    with pytest.raises(KinematicsError, match="hand"):
        RobotFigure(URDF, "tool").in_image([[1.0, 0.0, 0.5]], camera(link="hand"), {})


def test_everything_is_given_in_the_frame_of_the_base():
    figure = RobotFigure(URDF, "tool", "upper")
    assert figure.tool_path(["shoulder"], np.array([[0.0]]), {}) == [[0.0, 0.0, 1.0]]
