"""Two arms with a gripper each, from messages to rows and back; other people's two hands; sets of before."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import two_hands
import yaml
from recording_samples import CONTRACT as ONE_HAND
from recording_samples import record

from vla_adapter_ros.contract import parse_contract
from vla_adapter_ros.dataset.mapped import MappedDataset
from vla_adapter_ros.dataset.mapping import parse_mapping
from vla_adapter_ros.dataset.quality.episode import validate_episode
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.drafting.draft import draft_contract
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import ContractMismatch, MappingError
from vla_adapter_ros.observation.builder import ObservationBuilder

CONTRACT = two_hands.CONTRACT


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return two_hands.make_set(tmp_path_factory.mktemp("two") / "set", episodes=2)


def make_samples() -> Samples:
    frames = [two_hands.make_frame(n) for n in range(12)]
    state, action = np.array([f.state for f in frames]), np.array([f.action for f in frames])
    return Samples(10.0, state, action, CONTRACT.state_names, CONTRACT.action_names)


def messages(builder: ObservationBuilder, n: int, contract=CONTRACT) -> None:
    """What both drivers, the cameras and the controller say at row n; joints in an order of their own."""
    frame = two_hands.make_frame(n, contract)
    for topic, values in zip(two_hands.TOPICS, (frame.state[:3], frame.state[3:]), strict=True):
        names = ["spare", *reversed(two_hands.IN_MESSAGES)]
        builder.add_joint_state(topic, frame.stamp, frame.stamp, names, [9.0, *values[::-1]])
    names, action = contract.action_names, frame.action
    builder.add_values(contract.action.topic, frame.stamp, frame.stamp, names[::-1], action[::-1])
    for name, image in frame.images.items():
        builder.add_image(name, frame.stamp, frame.stamp, image)


@pytest.mark.parametrize("contract", [CONTRACT, two_hands.without_hands()], ids=["two grippers", "none"])
def test_rows_are_read_back_under_their_names(tmp_path, contract):
    builder = ObservationBuilder(contract, with_action=True)
    with DatasetWriter(tmp_path / "set", contract) as writer:
        writer.start_episode("lift the box")
        for n in range(12):
            messages(builder, n, contract)
            for frame in builder.take_frames(100.0 + 0.1 * n + 0.09):
                assert not frame.problem
                writer.add_frame(frame, 1)
        writer.save_episode()
    reader = DatasetReader(tmp_path / "set")
    assert reader.contract == contract
    assert tuple(reader.features["observation.state"]["names"]) == contract.state_names
    assert tuple(reader.features["action"]["names"]) == contract.action_names
    rows = reader.rows(0)
    wanted = [two_hands.make_frame(n, contract) for n in range(len(rows["action"]))]
    assert len(wanted) == 12
    np.testing.assert_allclose(rows["observation.state"], [f.state for f in wanted], atol=1e-6)
    np.testing.assert_allclose(rows["action"], [f.action for f in wanted], atol=1e-6)


def test_the_checks_see_either_hand():
    def gripper_motion(**still: float):
        samples = make_samples()
        for name, value in still.items():
            samples.action[:, CONTRACT.action_names.index(name)] = value
        return validate_episode(samples, QualitySettings(), CONTRACT)["gripper_motion"]

    assert gripper_motion().level == "pass"
    assert gripper_motion(left_grip=1.0).level == "pass"
    assert "(right_grip)" in gripper_motion(left_grip=1.0).text
    assert gripper_motion(left_grip=1.0, right_grip=0.0).level == "warn"


def test_an_action_that_is_the_next_state_is_found_by_the_joint_it_drives():
    samples, arms = make_samples(), [0, 1, 3, 4]
    samples.action[:-1, arms] = samples.state[1:, arms]
    check = validate_episode(samples, QualitySettings(), CONTRACT)["action_is_next_state"]
    assert check.level == "fail" and check.value == pytest.approx(1.0)


def test_a_data_set_of_before_is_continued(tmp_path):
    with DatasetWriter(tmp_path, ONE_HAND) as writer:
        record(writer, "wave", 4)
    path = tmp_path / "meta" / "contract.yaml"
    data = yaml.safe_load(path.read_text())
    (gripper,) = data.pop("grippers")
    data["command"] |= {"gripper_topic": gripper.pop("topic"), "gripper_type": gripper.pop("type")}
    path.write_text(yaml.safe_dump(data | {"gripper": gripper}, sort_keys=False))
    assert DatasetReader(tmp_path).contract == ONE_HAND
    with DatasetWriter(tmp_path, ONE_HAND) as writer:
        record(writer, "wave", 5, seed=1)
    assert [e.length for e in DatasetReader(tmp_path).episodes] == [4, 5]
    other = dataclasses.replace(ONE_HAND, grippers=(dataclasses.replace(ONE_HAND.grippers[0], open=-1.0),))
    with pytest.raises(ContractMismatch, match="grippers: "):
        DatasetWriter(tmp_path, other)


def test_open_and_closed_of_both_hands_are_translated(recorded):
    reader = DatasetReader(recorded)
    same = {name: f"action[{name}]" for name in CONTRACT.action_names}
    mapping = {
        "schema": 1,
        "action": same
        | {
            "left_grip": {"from": "action[left_grip]", "open": 0, "closed": 1},
            "right_grip": {"from": "action[right_grip]", "open": 100, "closed": 0},
        },
    }
    action = MappedDataset(reader, parse_mapping(mapping), CONTRACT).rows(0)["action"]
    theirs = reader.rows(0)["action"]
    np.testing.assert_allclose(action[:, 2], 1.0 - theirs[:, 2], atol=1e-6)
    np.testing.assert_allclose(action[:, 5], 1.0 - theirs[:, 5] / 100, atol=1e-6)
    mapping["action"]["lead_left_waist"] = {"from": "action[0]", "open": 0, "closed": 1}
    with pytest.raises(MappingError, match=r"grippers in action: \['left_grip', 'right_grip'\]"):
        MappedDataset(reader, parse_mapping(mapping), CONTRACT)


def test_a_draft_has_both_hands(recorded):
    text = draft_contract(DatasetReader(recorded), "drafted").contract
    draft = parse_contract(yaml.safe_load(text))
    assert [g.dimension for g in draft.grippers] == ["left_grip", "right_grip"]
    assert [g.mode for g in draft.grippers] == ["binary", "continuous"]
    assert [g.joint for g in draft.grippers] == ["left_finger", "right_finger"]
    assert draft.grippers[0].topic != draft.grippers[1].topic
    assert draft.arm_joints == ("left_waist", "left_elbow", "right_waist", "right_elbow")
