"""Images of odd sizes are cropped or padded as the contract says, and rows are shown at a slower rate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bag_samples import START_NS, image_message
from recording_samples import CONTRACT
from stranger_sets import make_set, motion

from vla_adapter_ros.contract import parse_contract
from vla_adapter_ros.contract.read import plain_contract
from vla_adapter_ros.dataset.mapping import DatasetMapping
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.resampling import merged_actions, picked_rows
from vla_adapter_ros.dataset.tools.drafting.draft import draft_contract
from vla_adapter_ros.dataset.tools.importing import import_lerobot
from vla_adapter_ros.errors import MappingError
from vla_adapter_ros.observation.fitting import can_fit, fit_image
from vla_adapter_ros.observation.images import decode_image
from vla_adapter_ros.training.data.image_store import VideoFrames


def numbered(width: int, height: int) -> np.ndarray:
    """An image whose levels say column and line."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    return image


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_live_images_are_cropped_and_padded_around_the_middle(transport):
    message = image_message(START_NS, numbered(21, 15), transport)
    image = decode_image(message, 0, (16, 12), fit="crop")
    np.testing.assert_array_equal(image, numbered(21, 15)[1:13, 2:18])
    padded = decode_image(message, 0, (24, 16), fit="pad")
    np.testing.assert_array_equal(padded[0:15, 1:22], numbered(21, 15))
    assert padded.shape == (16, 24, 3) and not padded[15].any() and not padded[:, 22:].any()
    for size, fit in (((16, 12), ""), ((16, 12), "pad"), ((24, 16), "crop"), ((16, 16), "crop")):
        refused = decode_image(message, 0, size, fit=fit)
        assert refused.shape == (15, 21, 3) and not refused.any(), "of another size, for a frame to say so"


def test_depth_keeps_its_values():
    depth = np.arange(35, dtype=np.uint16).reshape(5, 7)
    np.testing.assert_array_equal(fit_image(depth, (6, 4), "crop"), depth[:4, :6])
    assert can_fit((5, 7), (7, 5), "") and not can_fit((5, 7), (8, 4), "pad")


def odd_set(root, fps=30.0, size=(17, 13)):
    parts = [motion(3, seed, 40) for seed in range(2)]
    columns = {"observation.state": (parts, ["a", "b", "c"]), "action": (parts, ["a", "b", "c"])}
    return make_set(root, columns, cameras={"observation.images.front": size}, fps=fps), parts


def drafted(root):
    import yaml

    return parse_contract(
        yaml.safe_load(draft_contract(open_dataset(root), "drafted", grippers=["none"]).contract)
    )


def test_odd_images_of_a_data_set_fit_everywhere(tmp_path):
    root, _ = odd_set(tmp_path / "set")
    its = drafted(root)
    data = open_dataset(root, contract=its)
    wanted = numbered(17, 13)[:12, :16, :2]
    for image in (
        data.image("front", 1, 5),
        next(data.images("front", 0)),
        VideoFrames().image(data, "front", 0, 0),
    ):
        assert image.shape == (12, 16, 3)
        np.testing.assert_array_equal(image[..., 1:], np.stack([wanted[..., 0], wanted[..., 1]], axis=-1))
    report = import_lerobot(data, its, tmp_path / "ours")
    assert report.kept == 2 and any("cropped from 17x13" in r for r in report.episodes[0].remarks)
    strict = dataclasses.replace(its, cameras={"front": dataclasses.replace(its.cameras["front"], fit="")})
    with pytest.raises(MappingError, match="a larger one with fit: crop"):
        open_dataset(root, contract=parse_contract(plain_contract(strict)))


def test_rates_within_one_percent_keep_all_rows(tmp_path):
    root, parts = odd_set(tmp_path / "set", fps=29.97, size=(16, 12))
    its = drafted(root)
    assert its.rate_hz == 30
    data = open_dataset(root, DatasetMapping(resample=True), its)
    assert data.fps == 30 and data.num_frames == 80
    rows = data.rows(1)
    np.testing.assert_array_equal(rows["action"], parts[1].astype(np.float32))
    np.testing.assert_allclose(rows["timestamp"], np.arange(40) / 30, atol=1e-4)
    import_lerobot(data, its, tmp_path / "ours")
    assert DatasetReader(tmp_path / "ours").info["fps"] == 30


def test_the_newest_row_at_each_time_of_a_slower_rate():
    assert picked_rows(10, 2.7, 2.0).tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert picked_rows(10, 30.0, 10.0).tolist() == [0, 3, 6, 9]
    assert picked_rows(1, 30.0, 10.0).tolist() == [0]
    rng = np.random.default_rng(0)
    for _ in range(50):
        length, fps = int(rng.integers(1, 90)), float(rng.uniform(1, 60))
        rate = float(rng.uniform(0.2, 0.98)) * fps
        picks = picked_rows(length, fps, rate)
        times, grid = np.arange(length) / fps, np.arange(len(picks)) / rate
        assert (times[picks] <= grid + 1e-4).all() and (grid < times[picks] + 1 / fps).all()


def test_displacements_add_up_and_speeds_are_averaged():
    data = plain_contract(CONTRACT)
    data["action"] |= {"space": "joint_delta"}
    actions = np.arange(80.0).reshape(10, 8)
    picks = np.array([0, 3, 6, 9])
    ways = merged_actions(actions, picks, parse_contract(data))
    np.testing.assert_allclose(ways[:, 0], [0 + 8 + 16, 24 + 32 + 40, 48 + 56 + 64, 72])
    np.testing.assert_array_equal(ways[:, 7], actions[picks, 7])  # the gripper's command is no way
    for dimension in data["action"]["dimensions"][:7]:
        dimension["scale"] = 0.1
    speeds = merged_actions(actions, picks, parse_contract(data))
    np.testing.assert_allclose(speeds[:, 0], [8, 32, 56, 72])
    np.testing.assert_array_equal(merged_actions(actions, picks, CONTRACT), actions[picks])


def test_a_higher_rate_is_refused(tmp_path):
    root, _ = odd_set(tmp_path / "set", fps=12.5, size=(16, 12))
    its = dataclasses.replace(drafted(root), rate_hz=30.0)
    with pytest.raises(MappingError, match=r"allowed is a rate_hz up to 12\.5"):
        open_dataset(root, DatasetMapping(resample=True), its)
    with pytest.raises(MappingError, match="needs a contract"):
        open_dataset(root, DatasetMapping(resample=True))
