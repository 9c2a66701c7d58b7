"""`vla-adapter scene` on image files and data sets: lines, picture, exit status, and what it refuses."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from scene_pictures import room, seen

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import checkpoints_folder, read_contract
from vla_adapter_ros.dataset.start_pose import read_start_pose
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.scene_check.store import read_references

CONTRACT = read_contract("franka_sim")
ROOM = room(4, (112, 112))
STATE = np.array([0.0, -0.2, 0.0, -2.0, 0.0, 1.8, 0.8, 0.04, 0.5, 0.0, 0.2])


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Three episodes in a room; in the last one the arm starts a little farther."""
    root = tmp_path_factory.mktemp("data") / "demos"
    with DatasetWriter(root, CONTRACT) as writer:
        for number in range(3):
            writer.start_episode("pick up the red cube")
            for n in range(3):
                images = {name: seen(ROOM, np.random.default_rng(number)) for name in CONTRACT.camera_names}
                state, stamp = STATE + 0.05 * number, 100.0 * number + 0.1 * n
                writer.add_frame(Frame(stamp, images, state, state[:8], {}, stamp), 1)
            writer.save_episode()
    return root


@pytest.fixture(scope="module")
def checkpoint(demos, tmp_path_factory):
    """The small files of a checkpoint, which has learned the scene from its data set."""
    folder = tmp_path_factory.mktemp("checkpoint") / "old"
    folder.mkdir()
    shutil.copy(checkpoints_folder() / "franka_sim_tiny" / "contract.yaml", folder)
    assert main(["scene", "--checkpoint", str(folder), "--learn", str(demos)]) == 0
    return folder


def photo(path, **options):
    cv2.imwrite(str(path), seen(ROOM, np.random.default_rng(20), **options)[..., ::-1])
    return path


def test_an_older_checkpoint_learns_how_its_demonstrations_began(checkpoint):
    assert tuple(read_references(checkpoint)) == CONTRACT.camera_names
    limits = read_start_pose(checkpoint)["fr3_joint2"]
    assert (limits.min, limits.max) == (pytest.approx(-0.2), pytest.approx(-0.1))


def test_image_files_are_compared_and_drawn(checkpoint, tmp_path, capsys):
    words = ["scene", "--checkpoint", str(checkpoint), "--output", str(tmp_path / "out" / "scene.png")]
    same = f"gripper={photo(tmp_path / 'same.png')}"
    assert main([*words, "--image", same]) == 0
    assert capsys.readouterr().out.startswith("same     camera gripper sees the same scene")
    moved = f"third_view={photo(tmp_path / 'moved.png', shift=(6, 0))}"
    assert main([*words, "--image", same, "--image", moved, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == found["cameras"]["third_view"]["verdict"] == "changed"
    assert found["cameras"]["third_view"]["shift_px"] == pytest.approx([6, 0], abs=1)
    assert found["start_pose"] is None
    picture = cv2.imread(str(tmp_path / "out" / "scene.png"))
    assert picture.shape[1] > 3 * 300

    # Where nothing has moved, both pictures at once are gray; where something has, they are colored.
    def colored(part):
        return float((np.ptp(part.astype(int), axis=2) > 60).mean())

    half, third = picture.shape[0] // 2, 2 * picture.shape[1] // 3
    assert colored(picture[:half, third:]) > 1.4 * colored(picture[half:, third:])


def test_the_beginning_of_an_episode_is_compared(checkpoint, demos, tmp_path, capsys):
    words = ["scene", "--checkpoint", str(checkpoint), "--output", str(tmp_path / "scene.png")]
    assert main([*words, "--dataset", str(demos), "--episode", "2"]) == 0
    assert "the arm stands where demonstrations began" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--image", "wrist=a.png"), 2, "with a camera of the contract: third_view, gripper"),
        (("--image", "gripper"), 2, "--image gripper: allowed is CAMERA=FILE"),
        (("--image", "gripper=nothing.png"), 1, "nothing.png: No such file or directory"),
        (("--episode", "3"), 2, "--episode 3: allowed is only with --dataset"),
        (("--learn", "nowhere"), 1, "nowhere"),
        (("--checkpoint", "grounded_tiny"), 2, "has no contract.yaml: name the robot's contract"),
        (("--checkpoint", "grounded_tiny", "--contract", "franka_sim"), 1, "--learn DATASET` lets it learn"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told(checkpoint, tmp_path, monkeypatch, capsys, words, status, said):
    monkeypatch.chdir(tmp_path)
    assert main(["scene", "--checkpoint", str(checkpoint), *words]) == status
    assert said in capsys.readouterr().err


def test_a_file_that_is_no_picture_is_named(checkpoint, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    pair = f"gripper={tmp_path / 'text.png'}"
    assert main(["scene", "--checkpoint", str(checkpoint), "--image", pair]) == 1
    assert f"--image {pair}: compressed image" in capsys.readouterr().err
