"""Grounding pre-training: labels, a short run, and what the shipped backbone knows."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from vla_adapter_ros.choices import Table
from vla_adapter_ros.contract import checkpoints_folder, read_contract
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.simulation.cube_instructions import INSTRUCTIONS, cube_instruction
from vla_adapter_ros.simulation.mjcf import build_model
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics
from vla_adapter_ros.simulation.tabletop_tasks import SENTENCES, is_held_out
from vla_adapter_ros.simulation.things import Shape
from vla_adapter_ros.training.grounding import GroundingSettings, ground, new_backbone
from vla_adapter_ros.training.grounding_data import GroundingScenes, patch_labels, render_scenes
from vla_adapter_ros.training.grounding_topics import TOPICS, CubeTopic, TabletopTopic

CUBES, TABLETOP = CubeTopic(), TabletopTopic()
CONTRACT = read_contract("franka_sim")
SHIPPED = checkpoints_folder() / "grounded_tiny"


def scenes(count: int, first_seed: int) -> GroundingScenes:
    backbone = new_backbone(CONTRACT)
    return render_scenes(CUBES, CONTRACT, backbone.resize_images, 7, count, first_seed=first_seed)


def test_patch_labels_name_the_cube_and_point_to_its_middle() -> None:
    mask = np.zeros((28, 28), bool)
    mask[8:14, 10:16] = True  # middle at (13, 11) pixels: patches of 4, so 3.25 right, 2.75 down
    colors, offsets = patch_labels({"blue": mask, "red": np.zeros((28, 28), bool)}, CUBES.kinds, 7)
    colors, offsets = colors.reshape(7, 7), offsets.reshape(7, 7, 2)
    assert np.argwhere(colors > 0).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    assert colors[2, 3] == 1 + CUBES.kinds.index("blue")
    assert offsets[2, 3] == pytest.approx([-0.25, 0.25])
    assert offsets[3, 2] == pytest.approx([0.75, -0.75])
    assert not offsets[colors == 0].any()


def test_the_cube_that_fills_more_of_a_patch_wins() -> None:
    left, right = np.zeros((7, 14), bool), np.zeros((7, 14), bool)
    left[:, 0], right[:, 1] = True, True
    right[0, 1] = False
    colors, _ = patch_labels({"red": np.tile(left, (2, 1)), "green": np.tile(right, (2, 1))}, CUBES.kinds, 7)
    assert colors.reshape(7, 7)[3, 0] == 1 + CUBES.kinds.index("red")


def test_scenes_repeat_and_hold_what_occurs_in_the_task() -> None:
    kinematics = Kinematics(build_model())
    drawn = [CUBES.scene(seed, kinematics) for seed in range(150)]
    assert drawn[7] == CUBES.scene(7, kinematics)
    heights = [max(cube.position[2] for cube in scene.things) for scene in drawn]
    assert 0.1 < np.mean(np.array(heights) > 0.03) < 0.4  # some cubes are held up
    tools = np.array([kinematics.forward(np.array(scene.joints))[0] for scene in drawn])
    assert tools[:, 2].min() < 0.04 and tools[:, 2].max() > 0.25
    assert len({scene.finger for scene in drawn}) > 10


def test_labels_agree_with_the_images() -> None:
    data = scenes(12, first_seed=5)
    assert data.images.shape == (12, 2, 56, 56, 3) and data.images.dtype == np.uint8
    shown = data.patch_kinds > 0
    for view in range(2):
        for k in range(len(CUBES.kinds)):
            named = (data.patch_kinds[:, view] == k + 1).any(1)
            assert not (named & ~data.present[:, k]).any()
            assert not (data.seen[:, view, k] & ~data.present[:, k]).any()
    assert shown.any(axis=(1, 2)).all()
    assert (np.abs(data.positions[data.present][:, 0] - 0.5) < 0.25).all()


def test_labels_are_the_same_whatever_draws_the_images() -> None:
    backbone = new_backbone(CONTRACT)
    cast = render_scenes(CUBES, CONTRACT, backbone.resize_images, 7, 3)
    drawn = render_scenes(CUBES, CONTRACT, backbone.resize_images, 7, 3, backend="auto")
    assert np.array_equal(cast.patch_kinds, drawn.patch_kinds)
    assert np.abs(cast.images.astype(int) - drawn.images).mean() < 1.0


def test_a_short_run_writes_a_backbone_that_loads(tmp_path) -> None:
    settings = GroundingSettings(
        scenes=12, vision_steps=3, sentence_steps=3, batch_size=4, validation_scenes=4
    )
    lines: list[str] = []
    figures = ground(tmp_path / "backbone", CONTRACT, settings, report=lines.append)
    assert figures.scenes == 4 and 0.0 <= figures.nearest_right <= 1.0
    assert any("stage G" in line for line in lines)
    policy = VlaAdapterPolicy.from_pretrained(tmp_path / "backbone")
    assert policy.statistics is None
    told = json.loads((tmp_path / "backbone" / "grounding.json").read_text())
    assert told["settings"]["scenes"] == 12 and "simulator labels" in told["labels"]


def test_a_sentence_is_about_what_is_there_and_nothing_held_out() -> None:
    rng = np.random.default_rng(0)
    for seed in range(30):
        scene = TABLETOP.scene(seed, Kinematics(build_model()))
        present = np.array([kind in scene.names for kind in TABLETOP.kinds])
        for _ in range(5):
            asked = TABLETOP.ask(rng, present)
            assert asked is not None and present[asked.target]
            assert TABLETOP.kinds[asked.target] in asked.text
            color, shape = TABLETOP.kinds[asked.target].split()
            verbs = [v for v, sentences in SENTENCES.items() if _said(asked.text, sentences)]
            assert any(not is_held_out(verb, color, Shape(shape)) for verb in verbs), asked
            assert asked.place < 0 or (present[asked.place] and TABLETOP.kinds[asked.place] in asked.text)
    for topic in TOPICS.values():
        assert topic.ask(rng, np.zeros(len(topic.kinds), bool)) is None


def _said(text: str, sentences: tuple[str, ...]) -> bool:
    patterns = [re.escape(sentence) for sentence in sentences]
    return any(re.fullmatch(re.sub(r"\\{\w+\\}", r"[a-z ]+", p), text) for p in patterns)


def test_scenes_of_the_tabletop_have_things_in_the_hand_and_where_tasks_bring_them() -> None:
    kinematics = Kinematics(build_model())
    drawn = [TABLETOP.scene(seed, kinematics) for seed in range(80)]
    assert drawn[3] == TABLETOP.scene(3, kinematics)
    high = [max(t.position[2] - t.form.half[2] for t in scene.things if t.form.movable) for scene in drawn]
    assert 0.2 < np.mean(np.array(high) > 0.01) < 0.6
    assert {kind for scene in drawn for kind in scene.names} <= set(TABLETOP.kinds)


def test_a_short_run_on_the_tabletop_writes_a_backbone_that_loads(tmp_path) -> None:
    settings = GroundingSettings(
        scenes=8, vision_steps=2, sentence_steps=3, batch_size=4, validation_scenes=3
    )
    figures = ground(tmp_path / "backbone", CONTRACT, settings, table=Table.TABLETOP)
    assert figures.scenes == 3
    policy = VlaAdapterPolicy.from_pretrained(tmp_path / "backbone")
    assert policy.config.preprocessing.size == 112
    assert not policy.tokenizer.unknown_words("shove the red bar over to the green zone")


@pytest.mark.slow
def test_a_run_repeats_exactly(tmp_path) -> None:
    settings = GroundingSettings(
        scenes=6, vision_steps=2, sentence_steps=2, batch_size=4, validation_scenes=2
    )
    for name in ("a", "b"):
        ground(tmp_path / name, CONTRACT, settings)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("settings", [GroundingSettings(scenes=0), GroundingSettings(batch_size=0)])
def test_settings_that_cannot_work_are_refused(tmp_path, settings: GroundingSettings) -> None:
    with pytest.raises(TrainingError):
        ground(tmp_path, CONTRACT, settings)


@torch.inference_mode()
def query_states(policy: VlaAdapterPolicy, data: GroundingScenes) -> tuple[np.ndarray, np.ndarray, list]:
    """Last query's state and named position, for every cube seen from the third view."""
    states, positions, index = [], [], []
    for i in range(len(data)):
        for k in np.flatnonzero(data.present[i] & data.seen[i, 0]):
            ids, mask = policy.tokenize([cube_instruction(CUBES.kinds[k], (i + k) % len(INSTRUCTIONS))])
            pixels = policy.pixel_values(data.images[i]).unsqueeze(0)
            states.append(policy.network.conditions(ids, mask, pixels).action[0, -1, -1].numpy())
            positions.append(data.positions[i, k])
            index.append((i, k))
    return np.array(states), np.array(positions), index


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no grounded_tiny checkpoint in this tree")
@pytest.mark.slow
def test_the_shipped_backbone_knows_what_a_sentence_names() -> None:
    """A linear probe on the query states finds the named cube; swapping the sentence moves it."""
    torch.set_num_threads(1)
    policy = VlaAdapterPolicy.from_pretrained(SHIPPED)
    fit, unseen = scenes(150, 20_000_000), scenes(40, 30_000_000)
    states, positions, _ = query_states(policy, fit)
    states = np.hstack([states, np.ones((len(states), 1))])
    weights = np.linalg.solve(states.T @ states + 1e-2 * np.eye(states.shape[1]), states.T @ positions)
    states, _, index = query_states(policy, unseen)
    predicted = np.hstack([states, np.ones((len(states), 1))]) @ weights
    right = 0
    for (i, k), place in zip(index, predicted, strict=True):
        there = np.flatnonzero(unseen.present[i])
        right += there[np.linalg.norm(unseen.positions[i, there] - place, axis=1).argmin()] == k
    assert right / len(index) > 0.93
