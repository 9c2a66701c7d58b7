"""Bags by others: commands of several types, messages without names, no commands at all; drafts from bags."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install rosbags")

from bag_samples import START_NS, TYPES, header, image_message, joint_state, pose_message, write_bag

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import Contract, parse_contract, read_contract
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.importing import import_bag
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.observation.bag import Bag
from vla_adapter_ros.observation.bag_frames import BagNotes, bag_frames
from vla_adapter_ros.untrusted import read_json

ARM, COUNT = ("j1", "j2"), 40
TEXT = """
schema: 2
name: two_joints
robot_type: stranger
rate_hz: 10
reference_camera: front
cameras: {front: {topic: /front/image_raw, width: 16, height: 12}}
topics:
  /joint_states: {type: joint_state}
  /gripper/commands: {type: float64_array}
state:
  - {name: j1, topic: /joint_states, field: position, joint: j1, unit: rad}
  - {name: j2, topic: /joint_states, field: position, joint: j2, unit: rad}
  - {name: finger, topic: /joint_states, field: position, joint: finger, unit: m}
action:
  space: joint_position
  type: joint_trajectory
  topic: /arm/joint_trajectory
  dimensions:
    - {name: j1, unit: rad}
    - {name: j2, unit: rad}
    - {name: grip, unit: "1", topic: /gripper/commands}
grippers: [{dimension: grip, joint: finger, open_position: 0.04, closed_position: 0.0, topic: /gripper/told}]
teleop: {topic: /teleop}
command: {type: joint_trajectory, topic: /arm/told, command_delay_s: 0.1}
limits:
  j1: {position: [-3, 3], velocity: 20, acceleration: 90}
  j2: {position: [-3, 3], velocity: 20, acceleration: 90}
"""


def contract(**action) -> Contract:
    data = yaml.safe_load(TEXT)
    data["action"] |= action
    return parse_contract(data)


def at(n: float, ms: float = 0.0) -> int:
    """Time of row n [ns]."""
    return START_NS + round(n * 100_000_000 + ms * 1e6)


def value(n: int, joint: int) -> float:
    return float(np.sin(0.3 * n + joint) + 0.1 * joint)


def duration(seconds: float) -> object:
    whole = int(seconds)
    return TYPES.types["builtin_interfaces/msg/Duration"](whole, round((seconds - whole) * 1e9))


def trajectory(stamp: int, names: list[str], points: list[tuple[float, list[float]]]) -> object:
    point, nothing = TYPES.types["trajectory_msgs/msg/JointTrajectoryPoint"], np.empty(0)
    made = [point(np.array(p, float), nothing, nothing, nothing, duration(t)) for t, p in points]
    return TYPES.types["trajectory_msgs/msg/JointTrajectory"](header(stamp), names, made)


def array(values: list[float]) -> object:
    layout = TYPES.types["std_msgs/msg/MultiArrayLayout"]([], 0)
    return TYPES.types["std_msgs/msg/Float64MultiArray"](layout, np.array(values, float))


def twist(stamp: int, values: list[float]) -> object:
    vector = TYPES.types["geometry_msgs/msg/Vector3"]
    both = TYPES.types["geometry_msgs/msg/Twist"](vector(*values[:3]), vector(*values[3:]))
    return TYPES.types["geometry_msgs/msg/TwistStamped"](header(stamp), both)


def streams(first: int = 0, *, names: bool = True, size: tuple[int, int] = (16, 12)) -> list[tuple]:
    """Images from row 0 on, joint states from row `first` on."""
    messages = []
    for n in range(COUNT):
        image = np.full((size[1], size[0], 3), 3 * n, np.uint8)
        messages.append(("/front/image_raw", at(n), image_message(at(n), image, "raw")))
        if n >= first:
            joints = [value(n - 1, 0), value(n - 1, 1), 0.04 * (n // 8 % 2)]
            said = joint_state(at(n, -5), [*ARM, "finger"] if names else [], position=joints)
            messages.append(("/joint_states", at(n, -5), said))
    return messages


def commands() -> list[tuple]:
    """A trajectory of one point and a gripper's command for each row; names in an order of their own."""
    said = [
        ("/arm/joint_trajectory", at(n, -3), trajectory(0, ["j2", "j1"], [(0.1, [value(n, 1), value(n, 0)])]))
        for n in range(COUNT)
    ]
    return said + [("/gripper/commands", at(n, -2), array([n // 8 % 2])) for n in range(COUNT)]


def bag(path: Path, messages: list[tuple], storage: str = "mcap") -> Path:
    return write_bag(path, sorted(messages, key=lambda entry: entry[1]), storage)


def good_actions(path: Path, its: Contract) -> np.ndarray:
    with Bag(path) as opened:
        frames = list(bag_frames(opened, its))
    return np.array([frame.action for frame in frames if not frame.problem])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_trajectories_and_arrays_on_two_topics_are_one_action(tmp_path, storage):
    path = bag(tmp_path / "bag", streams() + commands(), storage)
    found = good_actions(path, contract())
    wanted = [[value(n, 0), value(n, 1), n // 8 % 2] for n in range(COUNT)]
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    report = import_bag(path, contract(), tmp_path / "set", instruction="stack")
    assert report.kept == 1 and report.episodes[0].frames == COUNT and not report.episodes[0].left_out
    names = DatasetReader(tmp_path / "set").features["capture.age"]["names"]
    assert names == ["front", "/joint_states", "/arm/joint_trajectory", "/gripper/commands"]


def test_the_points_of_a_trajectory_come_at_their_times_until_another_takes_its_place(tmp_path):
    plan = [(0.5 + 0.1 * k, [float(k), -float(k)]) for k in range(20)]
    other = [(0.0, [100.0, 100.0]), (1.0, [200.0, 100.0])]
    said = [
        ("/arm/joint_trajectory", at(0, -3), trajectory(at(0, -3), list(ARM), plan)),
        ("/arm/joint_trajectory", at(10, -3), trajectory(at(10, -3), list(ARM), other)),
    ]
    grip = [entry for entry in commands() if entry[0] == "/gripper/commands"]
    found = good_actions(bag(tmp_path / "bag", streams() + said + grip), contract(max_age_s=60.0))
    assert found[:, 0].tolist() == [*range(10), *[100.0] * 10, *[200.0] * 20]
    assert found[:10, 1].tolist() == [-float(k) for k in range(10)]


def test_arrays_poses_and_twists(tmp_path):
    said = [("/arm/array", at(n, -3), array([value(n, 0), value(n, 1)])) for n in range(COUNT)]
    grip = [entry for entry in commands() if entry[0] == "/gripper/commands"]
    its = contract(type="float64_array", topic="/arm/array")
    np.testing.assert_allclose(
        good_actions(bag(tmp_path / "array", streams() + said + grip), its)[:, 1],
        [value(n, 1) for n in range(COUNT)],
    )
    data = yaml.safe_load(TEXT)
    axes = ("x", "y", "z", "rx", "ry", "rz")
    data["action"] |= {"dimensions": [
        *({"name": n, "unit": "m" if len(n) == 1 else "rad"} for n in axes), data["action"]["dimensions"][-1],
    ]}  # fmt: skip
    data["kinematics"] = {"urdf": "robot_description", "base_link": "base", "tool_link": "tool"}
    half = np.sin(np.pi / 8)
    pose = np.array([0.1, 0.2, 0.3, 0, 0, -half, -np.cos(np.pi / 8)])  # 45 degrees about z; w below 0
    for kind, space, message, wanted in (
        ("pose", "ee_pose", lambda t: pose_message(t, pose), [0.1, 0.2, 0.3, 0, 0, np.pi / 4]),
        ("twist", "ee_delta", lambda t: twist(t, [1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]),
    ):
        data["action"] |= {"type": kind, "space": space, "topic": "/arm/tool"}
        said = [("/arm/tool", at(n, -3), message(at(n, -3))) for n in range(COUNT)]
        found = good_actions(bag(tmp_path / kind, streams() + said + grip), parse_contract(data))
        np.testing.assert_allclose(found[5, :6], wanted, atol=1e-9)
    data["action"] |= {
        "type": "twist",
        "space": "joint_position",
        "dimensions": [{"name": "j1", "unit": "rad"}],
    }
    data["grippers"] = []
    with pytest.raises(ContractError, match="allowed is twist messages for"):
        parse_contract(data)


def test_joint_states_without_names(tmp_path):
    path = bag(tmp_path / "bag", streams(names=False) + commands())
    with Bag(path) as opened:
        notes = BagNotes()
        assert all(frame.problem for frame in bag_frames(opened, contract(), notes=notes))
    first, _ = notes.unusable["/joint_states"]
    assert "3 values without names" in first and "topics./joint_states.joints" in first
    data = yaml.safe_load(TEXT)
    data["topics"]["/joint_states"]["joints"] = [*ARM, "finger"]
    assert len(good_actions(path, parse_contract(data))) == COUNT


def test_two_publishers_of_two_types_on_one_topic(tmp_path):
    path = tmp_path / "bag"
    messages = sorted(streams() + commands(), key=lambda entry: entry[1])
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        open_ = {}
        for topic, time, message in messages:
            for its in (message, array([1.0])) if topic == "/arm/joint_trajectory" else (message,):
                key = (topic, its.__msgtype__)
                if key not in open_:
                    open_[key] = writer.add_connection(*key, typestore=TYPES)
                writer.write(open_[key], time, TYPES.serialize_cdr(its, its.__msgtype__))
    report = import_bag(path, contract(), tmp_path / "set", instruction="stack")
    assert report.episodes[0].frames == COUNT
    assert any("40 messages of type std_msgs/msg/Float64MultiArray are left out" in r for r in report.remarks)


def test_two_publishers_that_contradict_each_other_are_named(tmp_path):
    other = [
        ("/arm/joint_trajectory", at(n, 40), trajectory(0, list(ARM), [(0.1, [2.0, -2.0])]))
        for n in range(COUNT)
    ]
    path = bag(tmp_path / "bag", streams() + commands() + other)
    report = import_bag(path, contract(), tmp_path / "set", instruction="stack")
    (remark,) = [r for r in report.remarks if "two publishers share a topic" in r]
    assert remark.startswith("/arm/joint_trajectory: j2, j1 jump")
    quiet = import_bag(
        bag(tmp_path / "one", streams() + commands()), contract(), tmp_path / "b", instruction="stack"
    )
    assert not any("publishers" in remark for remark in quiet.remarks)


def test_rows_before_all_streams_have_begun_are_no_losses(tmp_path):
    report = import_bag(
        bag(tmp_path / "bag", streams(12) + commands()), contract(), tmp_path / "set", instruction="a"
    )
    (episode,) = report.episodes
    assert episode.frames == COUNT - 12 and episode.left_out == {}
    assert not any("dropped" in remark for remark in episode.remarks)
    assert any(remark.startswith("12 frames before all streams had begun") for remark in report.remarks)
    lost = [entry for entry in streams(12) + commands() if not at(20, -50) < entry[1] < at(23, -50)]
    lost += [
        entry
        for entry in streams()
        if entry[0] == "/front/image_raw" and at(20, -50) < entry[1] < at(23, -50)
    ]
    (episode,) = import_bag(
        bag(tmp_path / "lost", lost), contract(), tmp_path / "b", instruction="a"
    ).episodes
    assert sum(episode.left_out.values()) > 0


def test_a_bag_without_commands_gets_next_states_if_asked_for(tmp_path, capsys):
    path = bag(tmp_path / "bag", streams())
    (tmp_path / "robot.yaml").write_text(TEXT)
    words = [
        "dataset",
        "import-bag",
        str(path),
        "--contract",
        str(tmp_path / "robot.yaml"),
        "--instruction",
        "stack",
    ]
    words += ["--output", str(tmp_path / "set")]
    assert main(words) == 1
    assert "--next-state-as-action" in capsys.readouterr().err
    assert main([*words, "--next-state-as-action"]) == 0
    assert "the action is the state of the next row" in capsys.readouterr().out
    rows = DatasetReader(tmp_path / "set").rows(0)
    assert len(rows["action"]) == COUNT - 1
    np.testing.assert_array_equal(rows["action"][:-1, :2], rows["observation.state"][1:, :2])
    np.testing.assert_array_equal(
        rows["action"][:-1, 2], (rows["observation.state"][1:, 2] > 0.02).astype(float)
    )
    features = DatasetReader(tmp_path / "set").features
    assert features["capture.age"]["names"] == ["front", "/joint_states"]  # nobody sent a command
    assert np.isfinite(rows["capture.age"]).all()
    assert features["action"]["info"] == {"source": "next_state"}
    assert DatasetReader(tmp_path / "set").contract.hand_guided
    notes = read_json(tmp_path / "set/meta/recordings.json")["episodes"][0]
    assert "next row" in notes["action"]
    data = yaml.safe_load(TEXT)
    data["grippers"][0]["joint"] = "elsewhere"
    with pytest.raises(
        ContractError, match=r"= 'grip': .* whose joint a state measures \(elsewhere has none\)"
    ):
        import_bag(path, parse_contract(data), tmp_path / "x", instruction="a", next_state=True)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_drafted_contract_imports_its_bag(tmp_path, storage):
    path = bag(tmp_path / "bag", streams(3, size=(17, 12)) + commands(), storage)
    target = tmp_path / "robot.yaml"
    assert main(["dataset", "draft-contract", str(path), "--output", str(target)]) == 0
    its = read_contract(target)
    assert its.action.topic == "arm/joint_trajectory" and its.action.type == "joint_trajectory"
    assert its.arm_joints == ARM[::-1] and its.grippers[0].joint == "finger"
    assert its.cameras["front"].size == (16, 12) and its.cameras["front"].fit == "crop"
    words = ["--contract", str(target), "--output", str(tmp_path / "set"), "--instruction", "stack"]
    assert main(["dataset", "import-bag", str(path), *words]) == 0
    rows = DatasetReader(tmp_path / "set").rows(0)
    assert len(rows["action"]) == COUNT - 3
    np.testing.assert_allclose(rows["action"][:, 0], [value(n, 1) for n in range(3, COUNT)], atol=1e-6)


def test_drafts_of_bags_without_names_or_commands(tmp_path, capsys):
    path = bag(tmp_path / "bag", streams(names=False))
    assert (
        main(
            [
                "dataset",
                "draft-contract",
                str(path),
                "--output",
                str(tmp_path / "a.yaml"),
                "--gripper",
                "none",
            ]
        )
        == 0
    )
    assert "--next-state-as-action" in (tmp_path / "a.yaml").read_text()
    its = read_contract(tmp_path / "a.yaml")
    assert its.topics["joint_states"].joints == its.state_names and len(its.state) == 3
    report = import_bag(path, its, tmp_path / "set", instruction="a", next_state=True)
    assert report.episodes[0].frames == COUNT - 1
    blind = bag(tmp_path / "blind", [entry for entry in streams() if "image" not in entry[0]])
    still = bag(tmp_path / "still", [entry for entry in streams() if "image" in entry[0]])
    capsys.readouterr()
    for path, what in ((blind, "no color camera"), (still, "no topic with measured joint states")):
        assert main(["dataset", "draft-contract", str(path)]) == 1
        said = capsys.readouterr().err
        assert what in said and said.count("\n") == 1
    assert main(["dataset", "info", str(blind)]) == 1
    assert "is a ROS bag and no data set" in capsys.readouterr().err


def test_a_robot_that_is_driven_commands_joint_states():
    from vla_adapter_ros.cli.replay import replay_frames
    from vla_adapter_ros.errors import DatasetError

    with pytest.raises(DatasetError, match="allowed for a replay are joint states"):
        replay_frames(None, contract(), 0)
    assert dataclasses.asdict(contract())["action"]["type"] == "joint_trajectory"
