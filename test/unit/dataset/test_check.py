"""Checking whole data sets: ours pass, faults in files, tables and episodes are found."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recording_samples import CONTRACT

from vla_adapter_ros.contract import write_contract
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.quality.settings import read_settings
from vla_adapter_ros.dataset.tools.info import describe_dataset, overview
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.observation.frame import Frame

SHARED = Path(os.environ.get("VLA_ADAPTER_SHARED", Path(__file__).resolve().parents[4] / "shared"))
needs_shared = pytest.mark.skipif(
    not (SHARED / "data").is_dir(),
    reason="real recordings are not here: VLA_ADAPTER_SHARED names the folder that holds data/",
)
DATA, GRIPPER = "data/chunk-000/file-001.parquet", "videos/observation.images.gripper/chunk-000/file-001.mp4"


def motion(n: int) -> Frame:
    """Frame n of two seconds in which all joints move, the gripper closes and a square travels."""
    middle = np.array([sum(CONTRACT.limits[j].position) / 2 for j in CONTRACT.arm_joints])
    arm = middle + 0.3 * np.sin(0.3 * n + 0.3)
    finger, command = (0.04, 1.0) if n < 10 else (0.0, 0.0)
    image = np.full((112, 112, 3), 100, dtype=np.uint8)
    image[40:70, 4 * n : 4 * n + 25] = (220, 60, 60)
    ages = {name: 0.01 for name in (*CONTRACT.cameras, *CONTRACT.topics, CONTRACT.action.topic)}
    state = np.array([*arm, finger, *(0.1 * arm[:3])])
    action = np.array([*(arm + 0.02), command])
    return Frame(20 + 0.1 * n, dict.fromkeys(CONTRACT.cameras, image), state, action, ages, 20 + 0.1 * n)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "set"
    with DatasetWriter(root, CONTRACT) as writer:
        for task in ("lift", "push"):
            writer.start_episode(task)
            for n in range(20):
                writer.add_frame(motion(n), 1)
            writer.save_episode()
    return root


@pytest.fixture
def copy(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "copy"))


def change_column(path: Path, name: str, values) -> None:
    table = pq.read_table(path)
    kind = table.schema.field(name).type
    column = pa.array(list(values), kind)
    pq.write_table(table.set_column(table.column_names.index(name), table.schema.field(name), column), path)


def level_of(root: Path, name: str, **options) -> str:
    report = check_dataset(root, **options)
    return {check.name: check.level for check in report.structure}[name]


def test_our_own_data_set_passes(sound):
    report = check_dataset(sound)
    assert report.level == "pass", report.lines
    skipped = {"action_delay", "failed_grasps", "durations", "swapped_cameras", "speeds", "joint_order"}
    for check in report.structure:  # those compare more episodes, longer ones, or other commands
        assert check.level == ("skip" if check.name in skipped else "pass"), check.line
    for episode in report.episodes:  # which images were refused is known while recording only
        assert {check.level for check in episode.findings if check.name != "refused_images"} == {"pass"}
        assert episode["refused_images"].level == "skip"
    found = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert [episode["level"] for episode in found["episodes"]] == ["pass", "pass"]
    assert len(found["episodes"][0]["checks"]) == len(report.lines) - len(report.structure)


def test_progress_is_told(sound):
    seen = []
    check_dataset(sound, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def cut(root: Path) -> None:
    path = root / GRIPPER
    path.write_bytes(path.read_bytes()[:300])


def longer_video(root: Path) -> None:
    with DatasetWriter(root.with_name("long"), CONTRACT) as writer:
        writer.start_episode("a")
        for n in range(22):
            writer.add_frame(motion(n), 1)
        writer.save_episode()
    shutil.copy(root.with_name("long") / GRIPPER.replace("001", "000"), root / GRIPPER)


def spoil_stats(value: float):
    def spoil(root: Path) -> None:
        stats = json.loads((root / "meta/stats.json").read_text())
        stats["action"]["max"][2] = value
        (root / "meta/stats.json").write_text(json.dumps(stats))

    return spoil


def larger_camera(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.images.gripper"]["shape"] = [120, 112, 3]
    (root / "meta/info.json").write_text(json.dumps(info))


def other_contract(root: Path) -> None:
    state = (replace(CONTRACT.state[0], name="renamed"), *CONTRACT.state[1:])
    write_contract(replace(CONTRACT, state=state), root / "meta/contract.yaml")


STRUCTURAL = {
    "cut video": ("decoding", cut),
    "cut video, counted": ("images", cut),
    "longer video": ("images", longer_video),
    "declared size": ("images", larger_camera),
    "gap in index": ("rows", lambda root: change_column(root / DATA, "index", range(21, 41))),
    "rows missing": ("rows", lambda root: pq.write_table(pq.read_table(root / DATA).slice(1), root / DATA)),
    "unknown task": ("tasks", lambda root: change_column(root / DATA, "task_index", [7] * 20)),
    "no stats": ("stats", lambda root: (root / "meta/stats.json").unlink()),
    "stats not finite": ("stats", spoil_stats(float("nan"))),
    "stats of other rows": ("stats", spoil_stats(3.0)),
    "other contract": ("contract", other_contract),
    "no info": ("format", lambda root: (root / "meta/info.json").unlink()),
}


@pytest.mark.parametrize("fault", STRUCTURAL)
def test_a_fault_in_the_files_fails(copy, fault):
    name, spoil = STRUCTURAL[fault]
    spoil(copy)
    assert level_of(copy, name) == "fail"
    assert check_dataset(copy).level == "fail"


def test_leftovers_and_times_off_the_grid_warn(copy):
    (copy / "data/chunk-000/file-002.parquet.tmp").touch()
    shutil.copy(copy / GRIPPER, (copy / GRIPPER).with_name("file-002.mp4"))
    change_column(copy / DATA, "timestamp", 0.11 * np.arange(20))
    levels = {check.name: check for check in check_dataset(copy).structure}
    assert levels["leftovers"].level == "warn"
    assert levels["leftovers"].value == 2
    assert levels["timestamps"].level == "warn"


def test_a_bad_episode_is_named_and_thresholds_count(copy):
    change_column(copy / DATA, "capture.stamp", 20 + np.arange(20) / 9.0)  # 9 Hz instead of 10
    report = check_dataset(copy)
    assert [episode["rate_error"].level for episode in report.episodes] == ["pass", "fail"]
    (line,) = [line for line in report.lines if "rate_error" in line]
    assert line.startswith("fail rate_error: 1 of 2 episodes (1), 1 of them fail; worst 1: 9.00 Hz")
    settings = read_settings({"rate_error": (0.2, 0.3)})
    assert check_dataset(copy, settings=settings).level == "pass"


def test_windows_of_long_episodes_are_looked_at_unless_all_is_asked_for(tmp_path):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        writer.start_episode("wave")
        for n in range(101):
            frame = motion(n % 20)
            writer.add_frame(replace(frame, stamp=20 + 0.1 * n), 1)
        writer.save_episode()
    for decode, images in ((False, 100), (True, 202)):
        report = check_dataset(tmp_path, decode=decode)
        assert report.episodes[0]["frozen_camera"].level == "pass"
        assert report.episodes[0]["black_camera"].level == "pass"
        (decoding,) = [check for check in report.structure if check.name == "decoding"]
        assert decoding.text.startswith(f"{images} images")
        assert ("of 101 images looked at" in report.episodes[0]["frozen_camera"].text) == (not decode)


def test_the_overview_says_what_is_there(sound):
    found = describe_dataset(sound)
    assert (found["episodes"], found["frames"], found["rate_hz"]) == (2, 40, 10.0)
    assert found["tasks"] == {"lift": 1, "push": 1}
    assert found["cameras"]["gripper"] == {"shape": [112, 112, 3], "codec": "h264"}
    assert found["control_sources"] == {"human": 40}
    assert found["contract"]["name"] == "franka_sim"
    text = "\n".join(overview(json.loads(json.dumps(found))))
    assert "fr3_finger_joint1" in text
    assert "'push': 1 episodes" in text


@needs_shared
def test_a_data_set_of_still_joints_is_flagged():
    report = check_dataset(SHARED / "data/so101_lerobot_v30")
    assert report.level == "fail"
    assert all(episode["constant_joints"].level == "fail" for episode in report.episodes)
    levels = {check.name: check.level for check in report.structure}
    assert levels["still_values"] == "fail"
    assert levels["contract"] == "skip"
    assert {levels[name] for name in ("format", "rows", "images", "decoding", "stats", "tasks")} == {"pass"}


@needs_shared
def test_a_real_arm_at_an_uneven_rate_is_flagged():
    report = check_dataset(SHARED / "data/cr5_lerobot_v21")
    levels = {check.name: check.level for check in report.structure}
    assert levels["timestamps"] == "warn"
    assert max(episode["rate_error"].value for episode in report.episodes) > 0.05
    assert all(episode["dropped_frames"].level in ("warn", "fail") for episode in report.episodes)
