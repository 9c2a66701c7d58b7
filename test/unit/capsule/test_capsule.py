"""A capsule from the core's memory to a file and back; halves that are joined; files of strangers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("mcap", reason="capsules need the package mcap: make setup")
from receiver import CONTRACT, Arm, make_chunk, ramp
from rosbags.typesys import Stores, get_typestore

from vla_adapter_ros.capsule.contents import (
    REPLAY,
    Capsule,
    PolicyRecord,
    core_entries,
    json_bytes,
    machine_facts,
    policy_entry,
    write_facts,
)
from vla_adapter_ros.capsule.core_replay import replay_core
from vla_adapter_ros.capsule.describe import describe, other_machine, printable, summary
from vla_adapter_ros.capsule.folder import Half
from vla_adapter_ros.capsule.mcap_file import McapWriter, Schema, Topic
from vla_adapter_ros.capsule.merge import find_other_half, join_halves, write_capsule
from vla_adapter_ros.capsule.policy_replay import replay_policy
from vla_adapter_ros.capsule.policy_ring import PolicyRing
from vla_adapter_ros.capsule.recorded_core import RecordedCore
from vla_adapter_ros.cli.main import main
from vla_adapter_ros.errors import CapsuleError
from vla_adapter_ros.observation.frame import Frame

STORE = get_typestore(Stores.ROS2_JAZZY)
FACTS = {
    "parameter.rate_hz": "100.0",
    "parameter.splice": "replace",
    "cause": "joint1 is far",
    "by": "fault",
    "session": "session",
}
PICTURE = Schema("sensor_msgs/msg/CompressedImage", "ros2msg", "")


@pytest.fixture(scope="module")
def controller(tmp_path_factory):
    """The half of a controller that was stopped in motion."""
    arm = Arm(RecordedCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.4, 12)), arm.now)
    arm.run(0.4)
    arm.core.stop()
    arm.run(0.5)
    return write_controller(
        tmp_path_factory.mktemp("c") / "capsule_20261130T003304_fault_controller.mcap", arm
    )


def write_controller(path, arm, facts=FACTS, entries=None):
    with McapWriter(path) as writer:
        write_facts(writer, Half.CONTROLLER, CONTRACT, facts | machine_facts())
        for entry in entries if entries is not None else core_entries(*arm.core.recorded()):
            writer.add_message(
                REPLAY[Half.CONTROLLER], round((entry.time or 0) * 1e9), json_bytes(entry.value)
            )
    return path


def compressed(data: bytes, kind: str, frame_id: str) -> bytes:
    """A sensor_msgs/CompressedImage in CDR, by an encoder of others."""
    types = STORE.types
    stamp = types["builtin_interfaces/msg/Time"](1, 2)
    header = types["std_msgs/msg/Header"](stamp, frame_id)
    message = types[PICTURE.name](header, kind, np.frombuffer(data, np.uint8))
    return bytes(STORE.serialize_cdr(message, PICTURE.name))


def predict(images, instruction, state, committed):
    """Rows (2, 8) that every pixel, every letter and every value decides."""
    row = np.arange(8.0) + state.sum() + len(instruction)
    return np.stack([row + image.astype(float).sum() / image.size for image in images])


@pytest.fixture
def policy(tmp_path):
    """The half of a policy: one camera as PNG, the other as it came."""
    rng = np.random.default_rng(0)
    path = tmp_path / "capsule_20261130T003305_fault_policy.mcap"
    with McapWriter(path) as writer:
        write_facts(writer, Half.POLICY, CONTRACT, FACTS | {"instruction": "pick up", "checkpoint": "tiny"})
        for n in range(3):
            images = {}
            for name, camera in CONTRACT.cameras.items():
                pixels = rng.integers(0, 255, (camera.height, camera.width, 3), dtype=np.uint8)
                kind, frame_id = ("png", "as_predicted") if name == "gripper" else ("jpeg", "optical")
                data = cv2.imencode(f".{kind}", pixels[..., ::-1])[1].tobytes()
                images[name] = (
                    pixels if kind == "png" else cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1]
                )
                topic = Topic(f"/camera/{name}", PICTURE, "cdr")
                writer.add_message(topic, n * 10**9, compressed(data, kind, frame_id))
            state = rng.normal(size=len(CONTRACT.state))
            ordered = [images[name] for name in CONTRACT.camera_names]
            rows = predict(ordered, "pick up", state, None)
            topics = {name: f"/camera/{name}" for name in images}
            entry = policy_entry(PolicyRecord(n, "pick up", state, rows, topics, n * 10**9))
            writer.add_message(REPLAY[Half.POLICY], n * 10**9, json_bytes(entry.value))
    return path


def test_the_controllers_half_is_replayed_from_its_file(controller):
    capsule = Capsule(controller)
    result = replay_core(capsule.contract(Half.CONTROLLER), capsule.core_settings(), *capsule.core())
    assert str(result) == "identical: 100 of 100 ticks"


def test_chunks_are_predicted_again_from_the_pictures(policy):
    capsule = Capsule(policy)
    result = replay_policy(CONTRACT, capsule.policy_records(), predict)
    assert str(result) == "identical: 3 of 3 chunks"
    other = replay_policy(CONTRACT, capsule.policy_records(), lambda *given: predict(*given) + 1e-9)
    assert (
        other.identical == 0
        and "row 0, " in str(other)
        and "largest difference of any value: 1e-09" in str(other)
    )


def test_two_halves_become_one_file_and_pictures_can_be_left_out(controller, policy):
    half = policy.with_name(controller.name)
    half.write_bytes(controller.read_bytes())
    assert find_other_half(policy, Half.CONTROLLER, "session") == half
    assert find_other_half(policy, Half.CONTROLLER, "of another robot") is None
    policy.with_name("capsule_20261130T003309_fault_controller.mcap").touch()  # is being written
    assert find_other_half(policy, Half.CONTROLLER, "session") == half
    policy.with_name("capsule_20261130T003309_fault_controller.mcap").unlink()
    whole = join_halves(policy, half)
    assert [path.name for path in whole.parent.iterdir()] == ["capsule_20261130T003305_fault.mcap"]
    capsule = Capsule(whole)
    assert set(capsule.facts) == set(Half) and capsule.has_images
    text = describe(capsule)
    for words in (
        "controller and policy",
        "after a fault",
        "joint1 is far",
        "pick up",
        "/camera/gripper",
        "numpy",
    ):
        assert words in text, text
    small = Capsule(write_capsule([capsule], whole.with_name("small.mcap"), with_images=False))
    assert not small.has_images and "no pictures" in describe(small)
    assert small.file.size < capsule.file.size / 2
    result = replay_policy(CONTRACT, small.policy_records(), predict)
    assert str(result) == "identical: 0 of 0 chunks; 3 without pictures"
    assert json.loads(json.dumps(summary(small)))["halves"]["policy"]["instruction"] == "pick up"
    with pytest.raises(CapsuleError, match="both have the half of the"):
        write_capsule([capsule, small], whole.with_name("both.mcap"))


def test_the_command_line_shows_replays_and_strips(controller, policy, capsys):
    assert main(["capsule", "show", str(controller)]) == 0
    assert "cause:           joint1 is far" in capsys.readouterr().out
    assert main(["capsule", "replay", str(controller)]) == 0
    assert capsys.readouterr().out == "controller: identical: 100 of 100 ticks\n"
    assert main(["capsule", "strip", str(policy)]) == 0
    stripped = policy.with_name(f"{policy.stem}_stripped.mcap")
    assert capsys.readouterr().out == f"{stripped}\n" and not Capsule(stripped).has_images
    assert main(["capsule", "show", "not/there.mcap"]) == 1
    assert "not/there.mcap: No such file" in capsys.readouterr().err


def test_another_machine_is_named():
    here = machine_facts()
    assert other_machine(here, here) == []
    there = here | {"machine.numpy": "1.0", "machine.torch": "2.0"}
    assert other_machine(there, here) == [f"numpy is 1.0 in the capsule, {np.__version__} here"]


def test_the_ring_keeps_what_entered_chunks_as_it_came():
    ring = PolicyRing(("third_view",))
    images = {"third_view": np.zeros((4, 4, 3), np.uint8), "gripper": np.ones((4, 4, 3), np.uint8)}
    for n in range(100):
        ring.note_image("third_view", n * 0.1, SimpleNamespace(data=bytes(n)))
        ages = {"third_view": 0.02, "gripper": 0.0}
        ring.add(Frame(n * 0.1 + 0.02, images, np.zeros(2), None, ages, 0.0), "go", np.zeros((1, 2)), "chunk")
    newest = ring.contents()[-1]
    assert len(newest.received["third_view"].data) == 99
    assert list(newest.frame.images) == ["gripper"]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"format": "7"}, "format '7': this version reads 1"),
        ({"parameter.rate_hz": "1e9"}, "parameter.rate_hz = '1e9': allowed is 1 to 500"),
        ({"parameter.rate_hz": "nan"}, "parameter.rate_hz = 'nan': allowed is 1 to 500"),
        ({"parameter.splice": "magic"}, "splice 'magic': allowed is one of"),
    ],
)
def test_facts_of_strangers_are_checked(tmp_path, facts, words, capsys):
    arm = Arm(RecordedCore(CONTRACT))
    arm.run(0.05)
    path = write_controller(tmp_path / "x.mcap", arm, FACTS | facts)
    assert main(["capsule", "replay", str(path)]) == 1
    assert words in capsys.readouterr().err


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join(9 * ['*' + before])}]\n"
    for before, after in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("contract", "words"),
    [(BOMB, "alias"), ("name: [", "no valid YAML"), ("name: 3", "contract"), ("[" * 90 + "]" * 90, "levels")],
)
def test_contracts_of_strangers_are_checked(tmp_path, controller, contract, words, capsys):
    path = tmp_path / "x.mcap"
    source = Capsule(controller)
    with McapWriter(path) as writer:
        writer.add_metadata("controller", source.facts[Half.CONTROLLER])
        writer.add_attachment("controller_contract.yaml", "application/yaml", contract.encode())
        for message in source.file.messages():
            writer.add_message(source.file.topics[message.topic], message.time_ns, message.data)
    assert main(["capsule", "replay", str(path)]) == 1
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said and len(said) < 3000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"part": "__class__", "name": "x", "value": 1}', "allowed are"),
        (b'{"part": "clock", "name": "__dict__", "value": 1}', "allowed is a part of the state"),
        (b"[1, 2]", "allowed is an object"),
        (b"[" * 5000, "lists within lists"),
        (b"\xff", "utf-8"),
        (b'{"part": 1}', "allowed is a part of the state"),
        (b'{"kinematics": {"ArmKinematics": ["<robot", ["a"], "b", "c"]}}', "URDF"),
    ],
)
def test_states_of_strangers_are_checked(tmp_path, data, words, capsys):
    path = tmp_path / "x.mcap"
    with McapWriter(path) as writer:
        write_facts(writer, Half.CONTROLLER, CONTRACT, FACTS)
        writer.add_message(REPLAY[Half.CONTROLLER], 0, data)
        writer.add_message(REPLAY[Half.CONTROLLER], 0, b'{"kinematics": null}')
    assert main(["capsule", "replay", str(path)]) == 1
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


def test_a_bag_of_others_is_no_capsule(tmp_path, capsys):
    path = tmp_path / "bag.mcap"
    with McapWriter(path) as writer:
        writer.add_message(Topic("/x", PICTURE, "cdr"), 1, b"x")
    assert main(["capsule", "show", str(path)]) == 1
    assert "no capsule: allowed is a file that `vla-adapter capsule save` wrote" in capsys.readouterr().err


def test_a_terminal_obeys_nothing_of_a_strangers_text():
    assert printable("\x1b[2Jhello\nworld") == "?[2Jhello?world"
    assert len(printable("x" * 10**6)) < 400
