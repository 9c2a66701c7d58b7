"""URDFs: order of the joints, limits, mimics, what is between two links, and what is no URDF."""

from __future__ import annotations

import math

import pytest

from vla_adapter_ros.commissioning.urdf import parse_urdf
from vla_adapter_ros.errors import KinematicsError

ARM = """
<robot name="arm">
  <link name="base"/><link name="upper"/><link name="lower"/><link name="rail"/><link name="finger"/>
  <link name="other_finger"/><link name="tcp"/>
  <joint name="slide" type="prismatic"><parent link="lower"/><child link="finger"/>
    <limit lower="0" upper="0.04" velocity="0.2" effort="1"/></joint>
  <joint name="mirror" type="prismatic"><parent link="lower"/><child link="other_finger"/>
    <mimic joint="slide"/><limit lower="0" upper="0.04" velocity="0.2" effort="1"/></joint>
  <joint name="elbow" type="continuous"><parent link="upper"/><child link="lower"/>
    <limit effort="9" velocity="1.5"/></joint>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/>
    <limit lower="-1" upper="2" velocity="0" effort="1"/></joint>
  <joint name="fixed_tcp" type="fixed"><parent link="lower"/><child link="tcp"/></joint>
  <joint name="rail_joint" type="prismatic"><parent link="base"/><child link="rail"/></joint>
</robot>
"""


def test_joints_are_in_the_order_of_the_tree_with_their_limits():
    urdf = parse_urdf(ARM)
    assert urdf.name == "arm" and urdf.root == "base"
    assert list(urdf.moving) == ["shoulder", "elbow", "slide", "rail_joint"]
    shoulder, elbow, rail = (urdf.joints[name] for name in ("shoulder", "elbow", "rail_joint"))
    assert (shoulder.low, shoulder.high, shoulder.velocity) == (-1.0, 2.0, math.inf)
    assert (elbow.low, elbow.high, elbow.velocity) == (-math.inf, math.inf, 1.5)
    assert math.isinf(rail.high) and rail.unit == "m" and elbow.unit == "rad"
    assert urdf.joints["mirror"].mimics == "slide"


def test_what_moves_one_link_against_another():
    urdf = parse_urdf(ARM)
    assert urdf.between("base", "tcp") == ["shoulder", "elbow", "fixed_tcp"]
    assert urdf.between("upper", "tcp") == ["elbow", "fixed_tcp"]
    assert urdf.between("rail", "upper") == ["rail_joint", "shoulder"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no xml", "no readable URDF"),
        ("<mujoco/>", "it begins with <mujoco>"),
        ('<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:macro name="x"/></robot>', "xacro"),
        ('<robot><joint name="a"><parent link="b"/></joint></robot>', "joint 'a'"),
        (ARM.replace('upper="2"', 'upper="${high}"'), "upper = '${high}', allowed is a number"),
    ],
)
def test_what_is_no_urdf_is_refused_in_a_sentence(text, words):
    with pytest.raises(KinematicsError) as error:
        parse_urdf(text)
    assert words in str(error.value)


def test_a_tree_that_is_a_circle_ends():
    text = ARM.replace(
        '<parent link="base"/><child link="upper"/>', '<parent link="lower"/><child link="upper"/>'
    )
    urdf = parse_urdf(text)
    assert len(urdf.path("tcp")) <= len(urdf.joints) + 1 and "shoulder" in urdf.moving
