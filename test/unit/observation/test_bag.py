"""Frames from a bag are those that a recorder would have built live."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install rosbags")

from bag_samples import (
    START_NS,
    bag_of,
    controller_status,
    joint_names,
    joint_state,
    make_samples,
    recorder_status,
    text,
    to_message,
    write_bag,
)
from recording_samples import CONTRACT

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.importing import import_bag
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import BagError
from vla_adapter_ros.observation.bag import Bag
from vla_adapter_ros.observation.bag_frames import BagNotes, bag_frames
from vla_adapter_ros.observation.builder import ObservationBuilder
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.lateness import losses_since


def live_frames(contract, samples, seed: int, with_action: bool = True) -> list[Frame]:
    """What a node builds that receives the samples, and looks for frames now and then."""
    rng, builder, frames = (
        np.random.default_rng(seed),
        ObservationBuilder(contract, with_action=with_action),
        [],
    )
    for sample in samples:
        stamp, received = sample.stamp // 10**9 + sample.stamp % 10**9 * 1e-9, sample.received * 1e-9
        if sample.stream in contract.recorded_cameras:
            if sample.stream in builder.cameras:  # a policy does not listen to depth cameras
                builder.add_message(sample.stream, to_message(contract, sample)[1], received)
        elif sample.stream == contract.action.topic:
            builder.add_values(sample.stream, stamp, received, contract.action_names, sample.content)
        elif contract.topics[sample.stream].type == "pose":
            names = [f"position.{a}" for a in "xyz"] + [f"orientation.{a}" for a in "xyzw"]
            builder.add_values(sample.stream, stamp, received, names, sample.content[:7])
        else:
            names = joint_names(contract, sample.stream)
            builder.add_joint_state(sample.stream, stamp, received, names, sample.content[: len(names)])
        if rng.uniform() < 0.05:
            frames += builder.take_frames(received)
    return frames + builder.take_frames(samples[-1].received * 1e-9 + 1.0)


@pytest.mark.parametrize(("seed", "storage"), [(0, "mcap"), (1, "sqlite3"), (2, "mcap")])
def test_a_bag_gives_the_frames_of_the_live_graph(tmp_path, seed, storage):
    samples = make_samples(CONTRACT, 3.0, seed)
    stamps = [s.stamp for s in samples if s.stream == "joint_states"]
    assert stamps != sorted(stamps), "the samples must come out of order"
    live = live_frames(CONTRACT, samples, seed)
    with Bag(bag_of(tmp_path / "bag", CONTRACT, samples, storage=storage)) as bag:
        replayed = list(bag_frames(bag, CONTRACT))
    assert len(live) == len(replayed) >= 28
    assert sum(not frame.problem for frame in live) >= 15
    for ours, theirs in zip(live, replayed, strict=True):
        assert (ours.stamp, ours.problem, ours.ages) == (theirs.stamp, theirs.problem, theirs.ages)
        np.testing.assert_array_equal(ours.state, theirs.state)
        np.testing.assert_array_equal(ours.action, theirs.action)
        assert ours.images.keys() == theirs.images.keys()
        for name, image in ours.images.items():
            np.testing.assert_array_equal(image, theirs.images[name])


def test_policy_recorder_and_import_see_the_same(tmp_path):
    # Images that overtake each other may be too late for one who waits less: the policy needs no action.
    samples = make_samples(CONTRACT, 3.0, 3, in_order=[CONTRACT.reference_camera])
    good = [frame for frame in live_frames(CONTRACT, samples, 3) if not frame.problem]
    with DatasetWriter(tmp_path / "live", CONTRACT) as writer:
        writer.start_episode("wave")
        for frame in good:
            writer.add_frame(frame, 1)
        writer.save_episode()
    import_bag(
        bag_of(tmp_path / "bag", CONTRACT, samples), CONTRACT, tmp_path / "imported", instruction="wave"
    )
    live, imported = DatasetReader(tmp_path / "live"), DatasetReader(tmp_path / "imported")
    ours, theirs = live.rows(0), imported.rows(0)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    for camera in CONTRACT.cameras:
        np.testing.assert_array_equal(live.decode(camera, 0), imported.decode(camera, 0))
    observed = {frame.stamp: frame for frame in live_frames(CONTRACT, samples, 4, with_action=False)}
    for frame in good:
        np.testing.assert_array_equal(frame.state, observed[frame.stamp].state)
        for name, image in frame.images.items():
            np.testing.assert_array_equal(image, observed[frame.stamp].images[name])


def test_compressed_images_and_commands_as_velocities(tmp_path):
    cameras = {n: dataclasses.replace(c, transport="compressed") for n, c in CONTRACT.cameras.items()}
    action = dataclasses.replace(CONTRACT.action, field="velocity")
    contract = dataclasses.replace(CONTRACT, cameras=cameras, action=action)
    samples = make_samples(contract, 1.0, 0, longest_delay_s=0.01)
    with Bag(bag_of(tmp_path / "bag", contract, samples)) as bag:
        frames = [frame for frame in bag_frames(bag, contract) if not frame.problem]
    assert len(frames) >= 8
    by_stamp = {round(s.stamp * 1e-9, 6): s.content for s in samples if s.stream == "third_view"}
    commands = [s for s in samples if s.stream == contract.action.topic]
    for frame in frames:
        np.testing.assert_array_equal(frame.images["third_view"], by_stamp[round(frame.stamp, 6)])
        newest = max((s for s in commands if s.stamp * 1e-9 <= frame.stamp), key=lambda s: s.stamp)
        np.testing.assert_array_equal(frame.action, newest.content)


def test_texts_bound_the_episodes(tmp_path):
    samples = make_samples(CONTRACT, 3.0, 0, longest_delay_s=0.01)
    words = [(0.5, "push the cube"), (1.2, ""), (1.6, "pull the cube"), (2.3, "lift the cube")]
    more = [("/instruction", START_NS + int(t * 1e9), text(w)) for t, w in words]
    bag = bag_of(tmp_path / "bag", CONTRACT, samples, more)
    report = import_bag(bag, CONTRACT, tmp_path / "set")
    assert [e.task for e in report.episodes] == ["push the cube", "pull the cube", "lift the cube"]
    assert [abs(e.frames - n) <= 1 for e, n in zip(report.episodes, (7, 7, 7), strict=True)] == [True] * 3
    again = import_bag(bag, CONTRACT, tmp_path / "whole", instruction="one task")
    assert [e.task for e in again.episodes] == ["one task"] and again.episodes[0].frames >= 25


def test_the_recorder_bounds_the_episodes(tmp_path):
    samples = make_samples(CONTRACT, 3.0, 0, longest_delay_s=0.01)
    more = []
    for n in range(15):
        time = START_NS + n * 200_000_000
        state, episode = ("recording", 4) if 3 <= n < 7 else ("recording", 5) if 7 <= n < 12 else ("idle", -1)
        more.append(("/recorder_node/status", time, recorder_status(time, state, episode)))
    report = import_bag(
        bag_of(tmp_path / "bag", CONTRACT, samples, more), CONTRACT, tmp_path / "set", instruction="wave"
    )
    assert [abs(e.frames - n) <= 1 for e, n in zip(report.episodes, (8, 10), strict=True)] == [True, True]


def test_rows_tell_who_led_at_their_own_time(tmp_path):
    samples = make_samples(CONTRACT, 3.0, 0, longest_delay_s=0.01)
    more = []
    for n in range(60):
        time = START_NS + n * 50_000_000
        source = "none" if n < 20 else "human" if n < 40 else "policy"
        # On its way for less time than a frame waits for the slowest stream.
        more.append(("/controller/status", time + 1_000_000, controller_status(time, source)))
    bag = bag_of(tmp_path / "bag", CONTRACT, samples, more)
    import_bag(bag, CONTRACT, tmp_path / "set", instruction="wave")
    rows = DatasetReader(tmp_path / "set").rows(0)
    time = rows["capture.stamp"] - 1e-9 * START_NS
    assert set(rows["control_source"]) == {1, 2} and 1.0 <= time[0] < 1.1  # nobody led before
    np.testing.assert_array_equal(rows["control_source"], np.floor(time + 1e-9).astype(int))


def test_what_a_bag_lacks_is_named(tmp_path):
    samples = [s for s in make_samples(CONTRACT, 0.5, 0) if s.stream != "end_effector_pose"]
    bag = bag_of(tmp_path / "bag", CONTRACT, samples)
    with pytest.raises(BagError, match=r"/end_effector_pose is not there.*bag holds.*/joint_states"):
        import_bag(bag, CONTRACT, tmp_path / "set", instruction="wave")
    assert not (tmp_path / "set").exists()
    samples = make_samples(CONTRACT, 0.5, 0)
    bag = bag_of(tmp_path / "other", CONTRACT, samples)
    with pytest.raises(BagError, match="give an instruction"):
        import_bag(bag, CONTRACT, tmp_path / "set")
    with pytest.raises(BagError, match=r"no std_msgs/msg/String on '/said'"):
        import_bag(bag, CONTRACT, tmp_path / "set", instruction_topic="/said")
    cameras = {n: dataclasses.replace(c, transport="compressed") for n, c in CONTRACT.cameras.items()}
    with pytest.raises(
        BagError, match="is sensor_msgs/msg/Image, the contract says sensor_msgs/msg/Compressed"
    ):
        import_bag(bag, dataclasses.replace(CONTRACT, cameras=cameras), tmp_path / "set", instruction="wave")
    with pytest.raises(BagError, match=r"no metadata\.yaml"):
        Bag(tmp_path)


def test_a_damaged_bag_is_named(tmp_path):
    bag = bag_of(tmp_path / "bag", CONTRACT, make_samples(CONTRACT, 1.0, 0))
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BagError, match="not readable"):
        import_bag(bag, CONTRACT, tmp_path / "set", instruction="wave")


def test_messages_that_cannot_be_used_are_counted(tmp_path):
    samples = make_samples(CONTRACT, 1.0, 0, longest_delay_s=0.01)
    messages = [(topic, s.received, m) for s in samples for topic, m in [to_message(CONTRACT, s)]]
    late = samples[-1].received + 1
    messages.append(("/joint_states", late, joint_state(late, ["fr3_joint1"], position=[1.0, 2.0])))
    messages.append(("/joint_states", late, joint_state(late + 10**10, ["fr3_joint1"], position=[1.0])))
    notes = BagNotes()
    with Bag(write_bag(tmp_path / "bag", messages)) as bag:
        assert len([f for f in bag_frames(bag, CONTRACT, notes=notes) if not f.problem]) >= 8
    assert notes.unusable["/joint_states"] == ("joint_states: 1 names but 2 values of position", 1)
    (lost,) = losses_since({}, notes.losses)
    assert lost.startswith("1 x sample of joint_states refused, stamped 10.000 s after their receipt")


def test_an_image_that_cannot_be_used_is_in_the_report_of_its_episode(tmp_path):
    samples = make_samples(CONTRACT, 2.0, 0, longest_delay_s=0.01)
    messages = [(topic, s.received, m) for s in samples for topic, m in [to_message(CONTRACT, s)]]
    third = [n for n, (topic, _, _) in enumerate(messages) if topic == CONTRACT.cameras["gripper"].topic][30]
    messages[third][2].encoding = "8UC3"
    report = import_bag(write_bag(tmp_path / "bag", messages), CONTRACT, tmp_path / "set", instruction="wave")
    (remark,) = (text for text in report.episodes[0].remarks if "refused_images" in text)
    assert remark.startswith("fail refused_images: 1 images in ") and "'8UC3' does not say" in remark
