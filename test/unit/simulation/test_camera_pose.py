"""The shipped poses of the simulated cameras: the tool is drawn where the simulator renders it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pinocchio", reason="pinocchio is not installed: pip install pin")

from vla_adapter_ros.console.curves import WantedRows
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.nodes.console_figure import FigureSource
from vla_adapter_ros.simulation.meshes import robot_description
from vla_adapter_ros.simulation.robot_models import robot_model
from vla_adapter_ros.simulation.scene import sample_scene
from vla_adapter_ros.simulation.world import World


# The URDF's tool of the SO-101 is 2 cm beside the point between its jaws that the simulator calls so.
@pytest.mark.parametrize(
    ("name", "pixels"), [("franka_sim", 1.5), ("franka_sim_ee", 1.5), ("fr3_sim", 1.5), ("so101_sim", 16.0)]
)
def test_the_tool_is_drawn_where_it_is_rendered(name, pixels):
    contract = read_contract(name)
    camera = contract.cameras["third_view"]
    model = robot_model(contract.arm_joints, contract.name)
    world = World({"third_view": camera.size}, "raycast", robot=model)
    source = FigureSource(contract)
    if source.awaited:
        source.take(robot_description(model.source))
    assert not source.problem
    for seed in range(3):
        scene = sample_scene(seed, robot=model)
        world.reset(scene)
        joints = [*scene.joints, scene.finger][
            : len(contract.arm_joints)
        ]  # one robot's gripper is in its arm
        measured = dict(zip(contract.arm_joints, joints, strict=True))
        figure = source._figure
        names = [contract.joint_in_messages(joint) for joint in contract.arm_joints]
        positions = dict(zip(names, joints, strict=True))
        (tool,) = figure.tool_path(names, np.array([joints]), positions)
        drawn = np.array(figure.in_image([tool], camera, positions)[0]) * camera.size
        rendered = pixel(world, model.arms[0].tool, camera.size)
        assert np.abs(drawn - rendered).max() < pixels, (seed, drawn, rendered)
        assert source.content(measured, None)["images"] == {
            "third_view": {"path": [], "aspect": camera.width / camera.height, "fit": ""}
        }


def test_a_chunk_is_drawn_into_the_image_of_the_camera_that_has_a_pose():
    contract = read_contract("franka_sim")
    source = FigureSource(contract)
    source.take(robot_description("fr3"))
    start = np.array([contract.home[joint] for joint in contract.arm_joints])
    rows = np.column_stack([start + np.arange(5)[:, None] * 0.05, np.ones(5)])
    content = source.content(
        dict(zip(contract.arm_joints, start, strict=True)), WantedRows(1, 0.0, 10.0, rows)
    )
    places = np.array(content["images"]["third_view"]["path"])
    assert places.shape == (5, 2) and list(content["images"]) == ["third_view"]
    assert ((places > 0) & (places < 1)).all() and len(np.unique(places, axis=0)) == 5


def pixel(world: World, site: str, size: tuple[int, int]) -> np.ndarray:
    """Where the simulator renders a site, from its own camera's place [px]."""
    index = world.model.camera("third_view").id
    frame = world.data.cam_xmat[index].reshape(3, 3)
    x, y, z = frame.T @ (world.data.site(site).xpos - world.data.cam_xpos[index])
    focal = size[1] / 2 / np.tan(np.radians(world.model.cam_fovy[index]) / 2)
    assert z < 0
    return np.array([size[0] / 2 + focal * x / -z, size[1] / 2 - focal * y / -z])
