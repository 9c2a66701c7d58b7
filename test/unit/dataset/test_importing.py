"""Data sets by others: read under a contract's names, and made data sets of ours."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from foreign_samples import LENGTHS, MAPPING, irregular_times, make_foreign, make_ours
from recording_samples import CONTRACT

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.dataset.mapping import parse_mapping, read_mapping
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.drafting.draft import draft_contract
from vla_adapter_ros.dataset.tools.importing import import_lerobot
from vla_adapter_ros.errors import DatasetError, MappingError


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> DatasetReader:
    return make_ours(tmp_path_factory.mktemp("ours") / "set")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory, ours) -> Path:
    return make_foreign(tmp_path_factory.mktemp("foreign") / "set", ours)


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("images", ["video", "image"])
def test_a_v21_data_set_reads_like_ours(tmp_path, ours, images):
    dataset = open_dataset(make_foreign(tmp_path / "set", ours, images=images))
    assert (dataset.num_episodes, dataset.num_frames, dataset.fps) == (3, sum(LENGTHS), 10.0)
    assert dataset.cameras == ("front", "wrist") and dataset.tasks == ours.tasks and dataset.contract is None
    assert [dataset.task_of(n) for n in range(3)] == ["wave", "push", "wave"]
    rows = dataset.rows(1)
    assert rows["observation.state"].shape == (9, 10) and rows["observation.gripper"].shape == (9,)
    assert list(rows["next.note"]) == ["fine"] * 9
    np.testing.assert_array_equal(dataset.decode("front", 1), ours.decode("third_view", 1))
    np.testing.assert_array_equal(dataset.image("wrist", 2, 7), ours.image("gripper", 2, 7))
    assert dataset.stats["observation.state"]["count"] == [sum(LENGTHS)]


def test_episodes_without_files_are_left_out(tmp_path, ours):
    dataset = open_dataset(make_foreign(tmp_path / "set", ours, missing=1))
    assert (dataset.missing, [episode.number for episode in dataset.episodes]) == ((1,), [0, 2])
    rows = dataset.rows(1)
    assert rows["index"].tolist() == list(range(12, 27)) and set(rows["episode_index"]) == {1}
    np.testing.assert_array_equal(dataset.image("front", 1, 3), ours.image("third_view", 2, 3))


def test_a_mapping_shows_the_contracts_names_and_units(tmp_path, ours, foreign):
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(MAPPING))
    dataset = open_dataset(foreign, tmp_path / "mapping.yaml")
    assert dataset.cameras == CONTRACT.camera_names and dataset.contract == CONTRACT
    assert dataset.features["action"]["names"] == list(CONTRACT.action_names)
    for episode in range(3):
        rows, wanted = dataset.rows(episode), ours.rows(episode)
        np.testing.assert_allclose(rows["observation.state"], wanted["observation.state"], atol=2e-6)
        np.testing.assert_allclose(rows["action"], wanted["action"], atol=2e-6)
    np.testing.assert_array_equal(dataset.decode("third_view", 0), ours.decode("third_view", 0))
    np.testing.assert_array_equal(dataset.image("gripper", 0, 5), ours.image("gripper", 0, 5)[::-1, ::-1])
    np.testing.assert_allclose(dataset.stats["action"]["mean"], ours.stats["action"]["mean"], atol=1e-6)


def changed(*path: str, to) -> dict:
    """The mapping with one entry changed."""
    data = copy.deepcopy(MAPPING)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "mapping = []: allowed is a mapping"),
        (changed("schema", to=2), "mapping.schema = 2: allowed is 1"),
        (changed("states", to={}), "['states']: allowed is only these keys"),
        (
            changed("cameras", "gripper", to={"from": "wrist", "rotation": 45}),
            "rotation = 45: allowed is one of",
        ),
        (changed("action", "gripper", to={"from": "action[grip]", "open": 1}), "both open and closed"),
        (changed("action", "gripper", to="action[grip"), "COLUMN[NAME] or COLUMN[PLACE]"),
        (changed("action", "gripper", to={"from": "action[0]", "factor": 0}), "another number than 0"),
        (
            changed("state", "tool_x", to={"from": "action[0]", "unit": "inch"}),
            "unit = 'inch': allowed is one of",
        ),
        (changed("state", "tool_x", to={"from": "action[0]", "offset": "1"}), "a finite number"),
    ],
)
def test_a_bad_mapping_is_refused(data, message):
    with pytest.raises(MappingError) as caught:
        parse_mapping(data)
    assert message in str(caught.value)


def test_a_mapping_names_all_its_faults_at_once(tmp_path):
    (tmp_path / "mapping.yaml").write_text(
        "schema: 2\nresample: 1\ncameras: {front: {rotation: 45}, side: 3}\nstates: a\n"
        "action: {a: 'x[', b: {from: x, open: 1}, c: {from: x, factor: 0, unit: inch, gain: 2}}\n"
    )
    with pytest.raises(MappingError) as caught:
        read_mapping(tmp_path / "mapping.yaml")
    first, *lines = str(caught.value).splitlines()
    assert first == f"{tmp_path / 'mapping.yaml'}: {len(lines)} errors:"
    keys = [line.split(" = ")[0].strip().removeprefix("mapping") for line in lines]
    assert sorted(keys) == [
        "",  # states is no key
        ".action.a.from",
        ".action.c",  # nor is gain
        ".action.c.factor",
        ".action.c.unit",
        ".cameras.front",  # from is missing
        ".cameras.front.rotation",
        ".cameras.side",
        ".resample",
        ".schema",
    ]
    assert all(": allowed is " in line for line in lines)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            changed("cameras", "third_view", to="side"),
            "no camera 'side' for third_view: allowed are ['front', 'wrist']",
        ),
        (changed("cameras", "ceiling", to="front"), "['ceiling']: allowed are the contract's"),
        (changed("state", "tool_x", to="observation.state[qx]"), "no 'qx' in observation.state"),
        (changed("state", "tool_x", to="observation.state[10]"), "allowed is 0 to 9"),
        (changed("state", "tool_x", to="observation.state"), "has 10 values: say which"),
        (changed("state", "tool_x", to="observation.pose[0]"), "no column 'observation.pose'"),
        (
            changed("state", "tool_x", to={"from": "observation.state[0]", "unit": "deg"}),
            "the contract says m",
        ),
        (changed("state", "elbow", to="observation.state[0]"), "unknown are ['elbow']"),
        (changed("state", to="observation.state"), "has 10 values, the contract's observation.state 11"),
        (
            changed("action", "fr3_joint1", to={"from": "action[0]", "open": 0, "closed": 1}),
            "open and closed are allowed for the contract's gripper",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(foreign, data, message):
    with pytest.raises(MappingError) as caught:
        open_dataset(foreign, parse_mapping(data))
    assert message in str(caught.value)


def test_other_formats_are_refused(tmp_path, foreign):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text('{"codebase_version": "v1.6"}')
    with pytest.raises(DatasetError, match=r"format 'v1\.6': allowed are v3\.0"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="no such file"):
        open_dataset(tmp_path / "nothing")


def test_import_copies_videos_and_keeps_real_times(tmp_path, ours, foreign):
    before = everything(foreign)
    dataset = open_dataset(foreign, parse_mapping(MAPPING))
    report = import_lerobot(dataset, CONTRACT, tmp_path / "set", control_source=2)
    assert everything(foreign) == before
    assert [entry.index for entry in report.episodes] == [0, 1, 2]
    assert all("40 to 160 ms" in " ".join(entry.remarks) for entry in report.episodes)
    encoded = [r for r in report.episodes[0].remarks if "encoded again" in r]
    assert encoded == ["gripper encoded again: it is turned by 180 degrees"]
    made = DatasetReader(tmp_path / "set")
    assert made.contract == CONTRACT and made.num_frames == ours.num_frames
    for episode in range(3):
        rows = made.rows(episode)
        np.testing.assert_allclose(rows["action"], ours.rows(episode)["action"], atol=2e-6)
        np.testing.assert_allclose(rows["capture.stamp"], irregular_times(LENGTHS[episode]), atol=1e-6)
        assert set(rows["control_source"]) == {2}
        np.testing.assert_array_equal(made.decode("third_view", episode), ours.decode("third_view", episode))
        turned = ours.decode("gripper", episode)[:, ::-1, ::-1].astype(int)
        assert np.abs(made.decode("gripper", episode) - turned).mean() < 3
    with pytest.raises(DatasetError, match=r"has 3 episodes already: allowed is a new folder, or --append"):
        import_lerobot(dataset, CONTRACT, tmp_path / "set")
    assert DatasetReader(tmp_path / "set").num_episodes == 3
    again = import_lerobot(dataset, CONTRACT, tmp_path / "set", append=True)
    assert [entry.index for entry in again.episodes] == [3, 4, 5]
    with pytest.raises(DatasetError, match="lies in the original"):
        import_lerobot(dataset, CONTRACT, foreign / "new")


def test_a_damaged_episode_is_left_out_and_said(tmp_path, ours):
    root = make_foreign(tmp_path / "foreign", ours)
    video = root / "videos/chunk-000/observation.images.front/episode_000001.mp4"
    video.write_bytes(video.read_bytes()[:300])
    report = import_lerobot(open_dataset(root, parse_mapping(MAPPING)), CONTRACT, tmp_path / "set")
    assert [entry.index for entry in report.episodes] == [0, -1, 1]
    assert report.kept == 2 and "not" in report.episodes[1].remarks[0]
    assert DatasetReader(tmp_path / "set").num_frames == LENGTHS[0] + LENGTHS[2]
    assert not list((tmp_path / "set").rglob("*.tmp"))


def test_a_drafted_contract_opens_its_data_set(tmp_path, ours, foreign):
    draft = draft_contract(open_dataset(foreign), "drafted")
    assert "FILL_IN" in draft.contract and "are degrees" in draft.contract
    (tmp_path / "drafted.yaml").write_text(draft.contract)
    (tmp_path / "mapping.yaml").write_text(draft.mapping)
    contract = read_contract(tmp_path / "drafted.yaml")
    assert contract.camera_names == ("front", "wrist") and contract.action_names[-1] == "grip"
    assert contract.arm_joints == tuple(f"j{n}" for n in range(1, 8))
    state = np.concatenate([ours.rows(n)["observation.state"][:, :7] for n in range(3)])
    for joint, column in zip(contract.arm_joints, state.T, strict=True):
        low, high = contract.limits[joint].position
        assert low < column.min() and column.max() < high
    rows = open_dataset(foreign, tmp_path / "mapping.yaml").rows(0)
    assert rows["action"].shape == (12, 8)
    np.testing.assert_allclose(
        rows["observation.state"][:, :7], ours.rows(0)["observation.state"][:, :7], atol=1e-5
    )
    with pytest.raises(DatasetError, match="space 'pose': allowed is one of"):
        draft_contract(open_dataset(foreign), "drafted", "pose")


SHARED = Path(os.environ.get("VLA_ADAPTER_SHARED", Path(__file__).resolve().parents[4] / "shared"))
real = pytest.mark.skipif(
    not (SHARED / "data").is_dir(),
    reason="real recordings are not here: VLA_ADAPTER_SHARED names the folder that holds data/",
)


@real
def test_the_real_cr5_bag_becomes_a_data_set(tmp_path):
    pytest.importorskip("rosbags", reason="rosbags is not installed: pip install rosbags")
    from vla_adapter_ros.dataset.tools.importing import import_bag

    data = SHARED / "data"
    report = import_bag(data / "cr5_ep0_ros2", read_contract("cr5"), tmp_path / "set", instruction="put")
    (episode,) = report.episodes
    assert episode.frames == 197 and not episode.left_out and "9.55 Hz instead of 10" in episode.remarks[0]
    rows, wanted = DatasetReader(tmp_path / "set").rows(0), open_dataset(data / "cr5_lerobot_v21").rows(0)
    np.testing.assert_array_equal(rows["observation.state"], wanted["observation.state"])
    np.testing.assert_array_equal(rows["action"], wanted["action"])
    np.testing.assert_allclose(rows["capture.stamp"] - 1.76e9, wanted["timestamp"], atol=1e-6)


@real
def test_velocities_of_the_real_cr5_are_ways_over_the_period():
    """What the contract's scale says: recorded velocity times 0.1 s is the way to the next row."""
    dataset, contract = open_dataset(SHARED / "data/cr5_lerobot_v21"), read_contract("cr5")
    scale = contract.action.dimensions[0].scale
    for episode in dataset.episodes:
        rows = dataset.rows(episode.index)
        way = np.diff(rows["observation.state"][:, :4].astype(float), axis=0)
        said = rows["action"][:-1, :4] * scale
        assert 0.95 < (said * way).sum() / (said * said).sum() < 1.1
        assert np.corrcoef(said.ravel(), way.ravel())[0, 1] > 0.95


@real
def test_real_videos_of_several_episodes_per_file_are_copied(tmp_path):
    dataset = open_dataset(SHARED / "data/so101_lerobot_v30")
    (tmp_path / "so101.yaml").write_text(draft_contract(dataset, "so101").contract)
    contract = read_contract(tmp_path / "so101.yaml")
    mapped = open_dataset(dataset.root, contract=contract)
    from vla_adapter_ros.dataset.tools.importer import DatasetImporter

    with DatasetImporter(tmp_path / "set", contract, codec="av1") as importer:
        done = importer.import_episode(mapped, 4)
    assert done.encoded_again == {} and done.summary.frames == 90
    made = DatasetReader(tmp_path / "set")
    np.testing.assert_array_equal(made.image("wrist", 0, 57), dataset.image("wrist", 4, 57))
    assert made.features["observation.images.wrist"]["info"]["video.codec"] == "av1"
