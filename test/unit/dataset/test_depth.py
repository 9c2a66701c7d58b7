"""Depth: decoded in millimeters, recorded as LeRobot 0.6 stores it, and no input of a model."""

from __future__ import annotations

import dataclasses
import json
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from bag_samples import TYPES, header, make_samples, to_message, write_bag
from malformed_images import png_of
from recording_samples import CONTRACT, make_frame

from vla_adapter_ros.contract import parse_contract
from vla_adapter_ros.contract.camera import Camera
from vla_adapter_ros.contract.read import plain_contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.depth import DepthCoding, coding_of, is_depth
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.editing import merge, trim_idle
from vla_adapter_ros.dataset.tools.importing import import_bag, import_lerobot
from vla_adapter_ros.dataset.tools.repair import repair_dataset
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import ContractError, DatasetError, FrameError, ImageError
from vla_adapter_ros.observation.builder import ObservationBuilder
from vla_adapter_ros.observation.depth_images import decode_depth
from vla_adapter_ros.untrusted import read_json

WIDTH, HEIGHT = 64, 48
WITH_DEPTH = dataclasses.replace(CONTRACT, depth_cameras={"depth": Camera("/depth", WIDTH, HEIGHT)})
MM = np.random.default_rng(0).integers(10, 10_000, (HEIGHT, WIDTH)).astype(np.uint16)


def raw(values: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> SimpleNamespace:
    data = np.ascontiguousarray(values.astype(values.dtype.newbyteorder(">" if big else "<"))).view(np.uint8)
    data = np.hstack([data, np.full((len(data), padding), 99, np.uint8)])
    return SimpleNamespace(encoding=encoding, width=values.shape[1], height=len(values), step=data.shape[1],
                           is_bigendian=int(big), data=data.tobytes())  # fmt: skip


def png(values: np.ndarray, format: str, before: bytes = b"") -> SimpleNamespace:
    return SimpleNamespace(format=format, data=before + cv2.imencode(".png", values)[1].tobytes())


@pytest.mark.parametrize("padding", [0, 12])
@pytest.mark.parametrize("big", [False, True])
def test_raw_depth(padding: int, big: bool) -> None:
    np.testing.assert_array_equal(decode_depth(raw(MM, "16UC1", padding, big)), MM)
    meters = (MM / 1000).astype(np.float32)
    np.testing.assert_array_equal(decode_depth(raw(meters, "32FC1", padding, big)), MM)
    np.testing.assert_array_equal(decode_depth(raw(MM, "16UC1", padding, big), 90), np.rot90(MM))


def test_unknown_depth_is_0() -> None:
    odd = np.array([[np.nan, np.inf, -np.inf], [-1.0, 70.0, 0.0], [1e30, 0.0004, 65.535]], np.float32)
    np.testing.assert_array_equal(decode_depth(raw(odd, "32FC1")), [[0, 0, 0], [0, 0, 0], [0, 0, 65535]])


def test_compressed_depth() -> None:
    config = struct.pack("<iff", 0, 0.0, 0.0)
    for format, before in (("16UC1; compressedDepth", config), ("16UC1; compressedDepth png", config),
                           ("16UC1; png compressed ", b"")):  # fmt: skip
        np.testing.assert_array_equal(decode_depth(png(MM, format, before)), MM)
    # As compressed_depth_image_transport packs floats: quantization 100 m, at most 10 m.
    a = 100.0 * 101.0
    b = 1.0 - a / 10.0
    inverse = np.where(MM > 2000, a / (MM / 1000) + b, 0).astype(np.uint16)
    found = decode_depth(png(inverse, "32FC1; compressedDepth png", struct.pack("<iff", 0, a, b)))
    assert (found[inverse == 0] == 0).all()
    assert np.abs(found[inverse > 0].astype(float) - MM[inverse > 0]).max() < 15


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (raw(MM, "mono16"), "'mono16' is no depth: allowed are 16UC1"),
        (raw(MM, "rgb8"), "'rgb8' is no depth"),
        (raw(MM, "32FC1"), "allowed are step >= 256"),
        (raw(MM, "16UC1", big=True), None),
        (png(MM, "png"), "'png' is no depth that can be read: allowed are '16UC1; compressedDepth png'"),
        (png(MM, "mono16; png compressed "), "is no depth that can be read"),
        (png(MM, "16UC1; compressedDepth rvl", bytes(12)), "is no depth that can be read"),
        (png(MM, "32FC1; tiff compressed "), "is no depth that can be read"),
        (png((MM >> 8).astype(np.uint8), "16UC1; png compressed "), "PNG of 8 bits: allowed is a gray PNG"),
        (png(MM, "16UC1; compressedDepth png"), "no readable JPEG or PNG"),
        (SimpleNamespace(format="16UC1; compressedDepth png", data=bytes(3)), "no readable JPEG or PNG"),
    ],
)
def test_what_is_no_depth_is_refused(message: SimpleNamespace, words: str | None) -> None:
    if words is None:
        assert decode_depth(message, 0, (WIDTH, HEIGHT)).shape == (HEIGHT, WIDTH)
        return
    with pytest.raises(ImageError) as caught:
        decode_depth(message)
    assert words in str(caught.value)


def test_damaged_and_huge_depth() -> None:
    good = png(MM, "16UC1; png compressed ")
    middle = len(good.data) // 2
    bad = good.data[:middle] + bytes([good.data[middle] ^ 4]) + good.data[middle + 1 :]
    with pytest.raises(ImageError, match="is damaged"):
        decode_depth(SimpleNamespace(format=good.format, data=bad))
    gray = bytearray(png_of(30000, 30000))
    gray[24:26] = bytes((16, 0))
    huge = decode_depth(SimpleNamespace(format=good.format, data=bytes(gray)), 0, (WIDTH, HEIGHT))
    assert huge.shape == (30000, 30000)


def test_codes_are_those_of_lerobot() -> None:
    """Its formula, in floats, on every depth that it can hold; both round, so a last code may differ."""
    coding, depth = DepthCoding(), np.arange(65536)
    low, high = np.log(0.01 + 3.5), np.log(10 + 3.5)
    wanted = np.clip(np.rint((np.log(depth / 1000 + 3.5) - low) / (high - low) * 4095), 0, 4095)
    codes = coding.encode(depth.astype(np.uint16))
    assert np.abs(codes.astype(int) - wanted).max() <= 1 and (codes != wanted).mean() < 1e-3
    back = coding.decode(codes).astype(int)
    inside = (depth >= 10) & (depth <= 10_000)
    assert (np.abs(back - depth)[inside] <= 1 + (depth[inside] / 1000 + 3.5) * 0.17).all()  # half a step
    assert back[0] == 10 and back[-1] == 10_000
    linear = DepthCoding(0.0, 4.095, 0.0, False)
    np.testing.assert_array_equal(linear.decode(linear.encode(depth[:4096].astype(np.uint16))), depth[:4096])


def test_marks_of_depth() -> None:
    camera = {"dtype": "video", "shape": [48, 64, 3]}
    for mark in ({"info": {"is_depth_map": True}}, {"info": {"video.is_depth_map": True}},
                 {"video_info": {"video.is_depth_map": True}}):  # fmt: skip
        assert is_depth(camera | mark) and coding_of(camera | mark) is None  # in a form that nobody can read
    for mark in ({}, {"info": None}, {"info": {"is_depth_map": False, "video.is_depth_map": False}}):
        assert not is_depth(camera | mark)
    info = {"is_depth_map": True, "video.pix_fmt": "gray12le", "video.depth_max": 4.0}
    assert coding_of(camera | {"info": info}) == DepthCoding(depth_max=4.0)
    with pytest.raises(DatasetError, match="depth coding"):
        coding_of(camera | {"info": info | {"video.depth_max": 0.001}})


def test_the_contract() -> None:
    plain = plain_contract(WITH_DEPTH)
    assert parse_contract(plain) == WITH_DEPTH
    assert parse_contract({k: v for k, v in plain.items() if k != "depth_cameras"}) == CONTRACT
    assert parse_contract(plain_contract(CONTRACT)) == CONTRACT
    camera = plain["depth_cameras"]["depth"]
    for cameras, words in (({"gripper": camera}, "a name that no camera has"),
                           ({"depth": camera | {"encoding": "mono16"}}, "none: depth is what"),
                           ([], "a mapping")):  # fmt: skip
        with pytest.raises(ContractError, match=words):
            parse_contract(plain | {"depth_cameras": cameras})


def test_a_policy_does_not_wait_for_depth() -> None:
    assert "depth" in ObservationBuilder(WITH_DEPTH, with_action=True).streams
    policy = ObservationBuilder(WITH_DEPTH, with_action=False)
    assert "depth" not in policy.streams
    with pytest.raises(FrameError, match="allowed are"):
        policy.add_image("depth", 1.0, 1.0, MM)


def frame_with_depth(n: int, seed: int = 0):
    frame = make_frame(n, seed)
    depth = np.roll(MM, n, axis=1)
    return dataclasses.replace(frame, images=frame.images | {"depth": depth}), depth


def record(writer: DatasetWriter, count: int, seed: int = 0) -> list[np.ndarray]:
    writer.start_episode("wave")
    seen = []
    for n in range(count):
        frame, depth = frame_with_depth(n, seed)
        writer.add_frame(frame, 1)
        seen.append(DepthCoding().decode(DepthCoding().encode(depth)))
    writer.save_episode()
    return seen


@pytest.fixture
def recorded(tmp_path):
    """A data set of two episodes, recorded in two goes, and what its depth camera saw."""
    seen = []
    for seed in range(2):
        with DatasetWriter(tmp_path / "set", WITH_DEPTH) as writer:
            seen.append(record(writer, 7 + seed, seed))
    return tmp_path / "set", seen


def test_depth_comes_back_as_it_was_coded(recorded) -> None:
    root, seen = recorded
    reader = DatasetReader(root)
    assert reader.depth_cameras == ("depth",) and "depth" not in reader.cameras
    for episode, wanted in enumerate(seen):
        np.testing.assert_array_equal(reader.decode("depth", episode), wanted)
        np.testing.assert_array_equal(reader.image("depth", episode, 5), wanted[5])
    feature = reader.features[layout.image_key("depth")]
    assert feature["shape"] == [HEIGHT, WIDTH, 1] and feature["info"]["depth_unit"] == "mm"
    stats = reader.stats[layout.image_key("depth")]
    values = np.concatenate(seen).astype(float)
    assert np.shape(stats["mean"]) == (1, 1, 1)
    assert np.ravel(stats["mean"])[0] == pytest.approx(values.mean(), rel=0.01)
    assert np.ravel(stats["max"])[0] == values.max() and np.ravel(stats["q50"])[0] > 1000
    assert not [
        c.line for c in check_dataset(root).structure if c.level == "fail" and c.name != "gripper"
    ]  # values are random


def test_a_frame_without_depth_is_not_recorded(tmp_path) -> None:
    with DatasetWriter(tmp_path / "set", WITH_DEPTH) as writer:
        writer.start_episode("wave")
        with pytest.raises(FrameError, match="camera depth"):
            writer.add_frame(make_frame(0), 1)


def test_a_crash_that_left_the_histograms_behind_is_made_good(recorded) -> None:
    root, _ = recorded
    before = read_json(root / layout.HISTOGRAMS)
    (root / layout.HISTOGRAMS).unlink()
    with DatasetWriter(root, WITH_DEPTH) as writer:
        record(writer, 5)
        writer.undo_episode()
    after = read_json(root / layout.HISTOGRAMS)
    assert after["histograms"]["depth"] == before["histograms"]["depth"]


def test_depth_is_merged_trimmed_and_repaired(recorded, tmp_path) -> None:
    root, seen = recorded
    merge([DatasetReader(root), DatasetReader(root)], tmp_path / "merged")
    np.testing.assert_array_equal(DatasetReader(tmp_path / "merged").decode("depth", 3), seen[1])
    trim_idle(DatasetReader(root), tmp_path / "trimmed")
    np.testing.assert_array_equal(DatasetReader(tmp_path / "trimmed").decode("depth", 0), seen[0])
    (root / "meta/info.json").unlink()
    repair_dataset(root, tmp_path / "repaired")
    repaired = DatasetReader(tmp_path / "repaired")
    np.testing.assert_array_equal(repaired.decode("depth", 1), seen[1])
    assert np.shape(repaired.stats[layout.image_key("depth")]["mean"]) == (1, 1, 1)


def test_depth_by_others_is_no_colour_camera(recorded, tmp_path) -> None:
    root, _ = recorded
    info = read_json(root / layout.INFO)
    notes = info["features"][layout.image_key("gripper")]["info"]
    notes["is_depth_map"] = True  # a depth camera in a form that is not ours
    (root / layout.INFO).write_text(json.dumps(info))
    (root / layout.CONTRACT).unlink()
    assert DatasetReader(root).cameras == ("third_view",)
    with pytest.raises(DatasetError, match=r"lacks the cameras \['gripper'\]"):
        import_lerobot(DatasetReader(root), CONTRACT, tmp_path / "ours")
    with pytest.raises(DatasetError, match="allowed are"):
        DatasetReader(root).images("gripper", 0)


def test_others_depth_is_imported_for_a_contract_that_names_it(recorded, tmp_path) -> None:
    root, seen = recorded
    (root / layout.CONTRACT).unlink()
    import_lerobot(open_dataset(root, contract=WITH_DEPTH), WITH_DEPTH, tmp_path / "ours")
    np.testing.assert_array_equal(DatasetReader(tmp_path / "ours").decode("depth", 1), seen[1])
    import_lerobot(open_dataset(root, contract=CONTRACT), CONTRACT, tmp_path / "colors")
    assert DatasetReader(tmp_path / "colors").depth_cameras == ()


def test_a_bag_with_depth(tmp_path) -> None:
    samples = make_samples(CONTRACT, 1.5, 0, longest_delay_s=0.01)
    messages = [(topic, s.received, m) for s in samples for topic, m in [to_message(CONTRACT, s)]]
    kind = TYPES.types["sensor_msgs/msg/Image"]
    meters = (MM / 1000).astype(np.float32)
    for s in samples:
        if s.stream == "third_view":
            image = kind(header(s.stamp), HEIGHT, WIDTH, "32FC1", 0, 4 * WIDTH, meters.view(np.uint8).ravel())
            messages.append(("/depth", s.received, image))
    bag = write_bag(tmp_path / "bag", sorted(messages, key=lambda entry: entry[1]))
    report = import_bag(bag, WITH_DEPTH, tmp_path / "set", instruction="wave")
    assert report.kept == 1
    decoded = DatasetReader(tmp_path / "set").decode("depth", 0)
    assert len(decoded) >= 8
    np.testing.assert_array_equal(decoded[0], DepthCoding().decode(DepthCoding().encode(MM)))
