"""Reference views come back from a checkpoint as they were; what is damaged is told."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scene_pictures import SIZE, room, seen

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.enums import SceneCheck
from vla_adapter_ros.contract.safety import SceneLimits
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.scene_check.reference import make_reference
from vla_adapter_ros.scene_check.scene import SceneMemory
from vla_adapter_ros.scene_check.store import read_references, write_references
from vla_adapter_ros.scene_check.views import Verdict

CONTRACT = read_contract("franka_sim")
REFERENCE = make_reference([seen(room(), np.random.default_rng(i)) for i in range(5)])


@pytest.fixture
def checkpoint(tmp_path):
    write_references(tmp_path, {"third_view": REFERENCE})
    return tmp_path


def test_what_is_written_is_read_again(checkpoint):
    (found,) = read_references(checkpoint).values()
    np.testing.assert_array_equal(found.image, REFERENCE.image)
    np.testing.assert_allclose(found.share, REFERENCE.share, atol=1 / 255)
    assert found.size == SIZE and found.light.darkest == REFERENCE.light.darkest
    np.testing.assert_array_equal(found.light.high, REFERENCE.light.high)


def test_a_checkpoint_of_links_is_read(checkpoint, tmp_path):
    linked = tmp_path / "installed" / "scene"
    linked.mkdir(parents=True)
    for file in (checkpoint / "scene").iterdir():
        (linked / file.name).symlink_to(file)
    assert set(read_references(linked.parent)) == {"third_view"}


def test_older_references_go(checkpoint):
    write_references(checkpoint, {"gripper": REFERENCE})
    assert set(read_references(checkpoint)) == {"gripper"}
    assert sorted(path.name for path in (checkpoint / "scene").iterdir()) == ["gripper.png", "scene.json"]


def test_checkpoints_of_earlier_versions_know_nothing_and_say_nothing(tmp_path):
    memory = SceneMemory.from_checkpoint(tmp_path, CONTRACT)
    assert memory.is_empty and memory.changes({"third_view": seen(room())}, np.zeros(11)) == ""
    compared = memory.compare({"third_view": seen(room())}, None)
    assert compared.verdict is Verdict.UNKNOWN and compared.problem == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", [160]),
        ("size", [0, 120]),
        ("size", "large"),
        ("brightness", [0.1, -0.1]),
        ("brightness", [0.0, float("inf")]),
        ("color", [[0, 0], [1, 1]]),
        ("color", [[0, 0, 0.5], [1, 1, 0.2]]),
    ],
)
def test_a_damaged_index_is_told(checkpoint, key, value):
    index = checkpoint / "scene" / "scene.json"
    facts = json.loads(index.read_text())
    facts["third_view"][key] = value
    index.write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=r"scene\.json: third_view = .*: needed is a size of 2 whole"):
        read_references(checkpoint)


def test_a_camera_that_would_leave_the_folder_is_refused(checkpoint):
    index = checkpoint / "scene" / "scene.json"
    facts = json.loads(index.read_text())
    index.write_text(json.dumps({"../third_view": facts["third_view"]}))
    with pytest.raises(CheckpointError, match="a mapping is needed, by camera"):
        read_references(checkpoint)


def test_a_damaged_or_missing_picture_is_told(checkpoint):
    path = checkpoint / "scene" / "third_view.png"
    cv2.imwrite(str(path), np.zeros((120, 160, 3), np.uint8))
    with pytest.raises(CheckpointError, match=r"third_view\.png is damaged: needed is a PNG file of 160x120"):
        read_references(checkpoint)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"third_view\.png is not there"):
        read_references(checkpoint)


def test_what_has_changed_is_one_sentence_and_the_contract_may_turn_it_off(checkpoint):
    memory = SceneMemory.from_checkpoint(checkpoint, CONTRACT)
    moved = {"third_view": seen(room(), shift=(6, 0))}
    assert memory.compare(moved, None).verdict is Verdict.CHANGED
    said = memory.changes(moved, None)
    assert "scene of the demonstrations: camera third_view has moved: its image lies 5.9 px right" in said
    assert said.endswith("`vla-adapter scene` shows what has changed and by how much")
    assert not memory.refuses
    off = replace(CONTRACT, safety=replace(CONTRACT.safety, scene=SceneLimits(check=SceneCheck.OFF)))
    assert SceneMemory.from_checkpoint(checkpoint, off).changes(moved, None) == ""
