"""Training samples from a recorded data set."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from training_samples import CLOSES, CONTRACT, LENGTH, TASKS, make_dataset

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model.normalization import normalize, unnormalize
from vla_adapter_ros.training.data.samples import (
    HARDLY_MOVES,
    ImageStore,
    compute_statistics,
    load_samples,
    training_start_pose,
)


def halve(images: np.ndarray) -> np.ndarray:
    return images[..., ::2, ::2, :]


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> DatasetReader:
    return DatasetReader(make_dataset(tmp_path_factory.mktemp("set") / "data", episodes=3))


@pytest.fixture(scope="module")
def samples(reader):
    return load_samples(reader, CONTRACT, halve, 56)


def test_rows_and_chunks(samples):
    assert samples.state.shape == (30, 11)
    assert samples.tasks == TASKS
    assert samples.task.tolist() == [0] * 10 + [1] * 10 + [0] * 10
    assert samples.usable.all()
    chunks = samples.chunks(np.array([0, 17, 29]), 8)
    assert chunks.shape == (3, 8, 8)
    np.testing.assert_array_equal(chunks[0], samples.action[0:8])
    np.testing.assert_array_equal(chunks[1, :3], samples.action[17:20])
    np.testing.assert_array_equal(chunks[1, 3:], np.repeat(samples.action[19:20], 5, axis=0))
    np.testing.assert_array_equal(chunks[2], np.repeat(samples.action[29:30], 8, axis=0))


def test_waypoint_is_the_row_in_which_the_gripper_closes(samples):
    wanted = [[start + CLOSES] * CLOSES + [-1] * (LENGTH - CLOSES) for start in (0, 10, 20)]
    assert samples.waypoint.tolist() == [row for rows in wanted for row in rows]


def test_images_are_the_same_from_memory_and_from_disk(reader, samples):
    rows = np.array([0, 5, 13, 29])
    from_disk = ImageStore(reader, CONTRACT.camera_names, halve, 56, limit=0)
    images = samples.images[rows]
    assert images.shape == (4, 2, 56, 56, 3)
    np.testing.assert_array_equal(from_disk[rows], images)
    np.testing.assert_array_equal(images[2, 1], halve(reader.decode("gripper", 1)[3]))


def test_start_pose_is_that_of_the_episodes_that_are_trained_on(samples):
    name = CONTRACT.state_names[0]
    pose = training_start_pose(samples, np.array([13, 14, 27]))  # of the second and third episode
    begin = samples.state[[10, 20], 0]
    assert tuple(pose) == CONTRACT.state_names
    assert (pose[name].min, pose[name].max) == (begin.min(), begin.max())
    assert pose[name].median == pytest.approx(begin.mean())


def test_statistics_are_exact(samples):
    statistics = compute_statistics("set", samples, CONTRACT)
    np.testing.assert_allclose(statistics.action.mean, samples.action.mean(axis=0))
    np.testing.assert_allclose(statistics.action.q01[:7], np.quantile(samples.action[:, :7], 0.01, axis=0))
    np.testing.assert_allclose(statistics.proprio.std, samples.state.std(axis=0))
    assert (statistics.action.q01[7], statistics.action.q99[7]) == (0.0, 1.0)
    assert (statistics.num_transitions, statistics.num_trajectories) == (30, 3)


def test_noise_of_a_value_that_hardly_moves_is_not_scaled_up(samples):
    still = samples.state.copy()
    still[:, 2] = 0.3 + 1e-9 * np.arange(len(still))
    still[:, 3] = np.where(np.arange(len(still)) == 0, 1.0, 0.3)  # moves, if only once
    still[:, 4] = 0.3
    field = compute_statistics("set", replace(samples, state=still), CONTRACT).proprio
    assert (field.q99 - field.q01)[[2, 4]] == pytest.approx([HARDLY_MOVES, 0.0], abs=1e-12)
    assert (field.min[3], field.max[3]) == (0.3, 1.0)
    for kind in ("q01_q99", "min_max", "mean_std"):
        assert np.abs(normalize(still, field, kind)[:, [2, 4]]).max() < 1e-3
    np.testing.assert_allclose(unnormalize(normalize(still, field, "q01_q99"), field, "q01_q99")[:, 2], 0.3)


def test_only_rows_with_a_human_in_control_are_learned_from(tmp_path):
    reader = DatasetReader(make_dataset(tmp_path, episodes=1, control_source=2))
    with pytest.raises(TrainingError, match="no row in which a human was in control"):
        load_samples(reader, CONTRACT, halve, 56)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate_hz": 20.0}, r"10.0 Hz, the contract says 20.0 Hz"),
        ({"cameras": {"top": CONTRACT.cameras["gripper"]}}, r"lacks the cameras \['top'\]"),
        ({"state": CONTRACT.state[:5]}, r"observation.state has shape \[11\], the contract 5 values"),
    ],
)
def test_a_contract_that_does_not_fit_is_refused(reader, change, message):
    with pytest.raises(TrainingError, match=message):
        load_samples(reader, replace(CONTRACT, **change), halve, 56)


def test_a_depth_camera_is_no_input(tmp_path):
    root = make_dataset(tmp_path, episodes=1)
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.images.gripper"]["info"]["is_depth_map"] = True
    (root / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(TrainingError, match=r"lacks the cameras \['gripper'\]; it has \['third_view'\]"):
        load_samples(DatasetReader(root), CONTRACT, halve, 56)


def test_an_empty_data_set_is_refused(tmp_path):
    make_dataset(tmp_path, episodes=1)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    (tmp_path / "meta/info.json").write_text(json.dumps({**info, "total_episodes": 0, "total_frames": 0}))
    with pytest.raises(TrainingError, match="is empty"):
        load_samples(DatasetReader(tmp_path), CONTRACT, halve, 56)
