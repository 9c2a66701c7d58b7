"""The page of a contract, and the picture of its robot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from surveys import CONTRACT as WITH_URDF

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.commissioning.contract_checks import check_contract
from vla_adapter_ros.commissioning.description import find_description
from vla_adapter_ros.commissioning.page import write_contract_page
from vla_adapter_ros.commissioning.picture import HEIGHT, WIDTH, draw_urdf
from vla_adapter_ros.errors import KinematicsError, SimulationError

CONTRACT = replace(WITH_URDF, kinematics=None)
LINKS = """
<link name="base"><collision><geometry><box size="0.2 0.2 0.2"/></geometry></collision></link>
<link name="arm"><collision><origin xyz="0 0 0.3"/><geometry>{shape}</geometry></collision></link>
<joint name="turn" type="revolute"><parent link="base"/><child link="arm"/><origin xyz="0 0 0.1"/>
<axis xyz="0 1 0"/><limit lower="-0.5" upper="0.5" velocity="1" effort="1"/></joint>"""
ARM = f"<robot name='<b>'>{LINKS}</robot>".replace("'<b>'", "'one_joint'")


def arm(shape: str) -> str:
    return ARM.format(shape=shape)


def drawn(image: np.ndarray) -> np.ndarray:
    """Rows in which the robot is seen."""
    return np.flatnonzero((image != image[0, 0]).any(axis=(1, 2)))


def test_a_robot_is_seen_whole_with_and_without_its_meshes(tmp_path):
    pytest.importorskip("mujoco", reason="mujoco is not installed")
    image, remark = draw_urdf(arm('<cylinder radius="0.05" length="0.6"/>'), tmp_path)
    assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8 and remark == ""
    rows = drawn(image)
    assert HEIGHT / 3 < len(rows) < HEIGHT and rows[0] > 0 and rows[-1] < HEIGHT - 1
    image, remark = draw_urdf(arm('<mesh filename="package://no_such/meshes/arm.dae"/>'), None)
    assert "without 1 meshes" in remark and "arm.dae" in remark and len(drawn(image)) > HEIGHT / 5
    with pytest.raises(SimulationError, match="cannot be drawn"):
        draw_urdf("<robot name='nothing'><link name='a'/><joint/></robot>")


def test_a_page_says_what_the_contract_and_its_check_say(tmp_path):
    robot = find_description(None, CONTRACT, "<robot name='x'><link name='a'/></robot>", listened=True)
    results = check_contract(CONTRACT, robot.urdf)
    page = tmp_path / "out" / "page.html"
    write_contract_page(page, CONTRACT, robot.urdf, results, None, "No picture: <none>")
    text = page.read_text()
    for words in ("third_view/image_raw", "fr3_joint7", "-2.7 to 2.7", "No picture: &lt;none&gt;",
                  "the URDF has no such joint", "arm_controller/joint_trajectory"):  # fmt: skip
        assert words in text, words
    assert "<none>" not in text and "<img" not in text


def test_the_description_comes_from_where_it_is(tmp_path):
    file = tmp_path / "arm.urdf"
    file.write_text(arm("<sphere radius='1'/>"))
    found = find_description(file, CONTRACT, "", listened=False)
    assert found.urdf is not None and found.folder == tmp_path and list(found.urdf.moving) == ["turn"]
    assert find_description(None, CONTRACT, "", listened=False).why == "none at hand"
    assert "nobody publishes robot_description" in find_description(None, CONTRACT, "", listened=True).why
    assert "no readable URDF" in find_description(None, CONTRACT, "no xml", listened=True).why
    with pytest.raises(KinematicsError, match="cannot be read"):
        find_description(tmp_path / "missing.urdf", CONTRACT, "", listened=False)


def test_the_commands_end_with_one_sentence_and_a_status(tmp_path, capsys):
    bad = tmp_path / "bad.yaml"
    bad.write_text("schema: 2\nname: 3\nrate_hz: 0\n")
    assert main(["contract", "check", str(bad)]) == 1
    said = capsys.readouterr().err
    assert "errors:" in said and "contract.rate_hz = 0" in said and "contract.name = 3" in said
    assert main(["contract", "check", "so101_sim"]) == 0
    assert "warn  URDF: none at hand" in capsys.readouterr().out
    assert main(["contract", "check", "franka_sim", "--urdf", str(tmp_path / "no.urdf")]) == 1
    assert "cannot be read" in capsys.readouterr().err
    bad.with_suffix(".txt").touch()
    assert main(["contract", "new", str(tmp_path / "arm.txt")]) == 1
    assert "allowed is a file that ends with .yaml" in capsys.readouterr().err
    assert main(["contract", "new", str(bad), "--yes"]) == 2
    assert "is there already" in capsys.readouterr().err and bad.read_text().startswith("schema")
