"""Scenes, sentences and kinematics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.cube_colors import COLORS
from vla_adapter_ros.simulation.cube_instructions import INSTRUCTIONS, cube_instruction
from vla_adapter_ros.simulation.mjcf import build_model
from vla_adapter_ros.simulation.mujoco_kinematics import DOWN, Kinematics
from vla_adapter_ros.simulation.robot_models import FR3
from vla_adapter_ros.simulation.scene import sample_scene


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics(build_model())


def test_a_seed_gives_the_same_scene_and_others_differ() -> None:
    assert sample_scene(5) == sample_scene(5)
    scenes = [sample_scene(seed) for seed in range(20)]
    assert len({scene.joints for scene in scenes}) == 20
    assert len({scene.things[0].position for scene in scenes}) == 20
    assert len({frozenset(scene.names) for scene in scenes}) > 1


def test_objects_can_be_chosen() -> None:
    assert sample_scene(1, ("yellow", "red")).names == ("yellow", "red")
    assert len(sample_scene(1).things) == 3
    assert len(sample_scene(1, tuple(COLORS)).things) == len(COLORS)


@pytest.mark.parametrize(
    ("objects", "text"), [(("pink",), "pink"), (("red", "red"), "once"), (("red", "Red"), "Red")]
)
def test_wrong_objects_are_refused(objects: tuple[str, ...], text: str) -> None:
    with pytest.raises(SimulationError, match=text):
        sample_scene(0, objects)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(SimulationError, match="-1"):
        sample_scene(-1)


@given(seed=st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_cubes_lie_apart_and_the_hand_points_down(seed: int) -> None:
    scene = sample_scene(seed)
    centers = np.array([cube.position for cube in scene.things])
    for i in range(len(centers)):
        for j in range(i):
            assert np.linalg.norm(centers[i] - centers[j]) >= FR3.area.cube_distance - 1e-12
    position, rotation = Kinematics(build_model()).forward(np.array(scene.joints))
    assert np.allclose(rotation, DOWN, atol=1e-4)
    assert 0.18 <= position[2] <= 0.30 and 0.35 <= position[0] <= 0.55 and abs(position[1]) <= 0.15


def test_inverse_undoes_forward(kinematics: Kinematics) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        wanted = np.array([rng.uniform(0.33, 0.65), rng.uniform(-0.25, 0.25), rng.uniform(0.02, 0.32)])
        joints = kinematics.inverse(wanted)
        position, rotation = kinematics.forward(joints)
        assert np.allclose(position, wanted, atol=1e-5)
        assert np.allclose(rotation, DOWN, atol=1e-5)
        assert joints[2] == 0.0


def test_the_jacobian_is_the_derivative(kinematics: Kinematics) -> None:
    joints = np.array(FR3.arms[0].ready) + 0.1
    jacobian, step = kinematics.jacobian(joints), 1e-6
    for i in range(7):
        moved = joints.copy()
        moved[i] += step
        slope = (kinematics.forward(moved)[0] - kinematics.forward(joints)[0]) / step
        assert np.allclose(slope, jacobian[:3, i], atol=1e-5)


def test_out_of_reach_and_not_finite_are_refused(kinematics: Kinematics) -> None:
    with pytest.raises(SimulationError, match="cannot reach"):
        kinematics.inverse(np.array([1.5, 0.0, 0.3]))
    with pytest.raises(SimulationError, match="finite"):
        kinematics.inverse(np.array([np.nan, 0.0, 0.3]))


def test_sentences_name_their_color() -> None:
    texts = {cube_instruction(color, index) for color in COLORS for index in range(len(INSTRUCTIONS))}
    assert len(texts) == len(INSTRUCTIONS) * len(COLORS)
    for color in COLORS:
        others = set(COLORS) - {color}
        words = cube_instruction(color, 0).split()
        assert color in words and not others & set(words)


def test_unknown_sentences_are_refused() -> None:
    with pytest.raises(SimulationError, match="pink"):
        cube_instruction("pink")
    with pytest.raises(SimulationError, match="4"):
        cube_instruction("red", 4)
