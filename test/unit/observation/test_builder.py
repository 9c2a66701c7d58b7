"""Frames: time rules, faults, and the same result however often one looks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import FrameError
from vla_adapter_ros.observation.builder import ObservationBuilder
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.lateness import losses_since

CONTRACT = read_contract("franka_sim")
JOINTS = [f"fr3_joint{i}" for i in range(1, 8)] + ["fr3_finger_joint1"]
HALVES = JOINTS[:4], JOINTS[4:]
POSE = ["position.x", "position.y", "position.z", "orientation.w"]


def image(value: int, size: tuple[int, int] = (112, 112)) -> np.ndarray:
    return np.full((*size, 3), value, dtype=np.uint8)


def feed(builder: ObservationBuilder, event: tuple) -> None:
    kind, stamp, received, value = event
    if kind in CONTRACT.cameras:
        builder.add_image(kind, stamp, received, image(value % 256))
    elif kind == "joints":
        # Real joint states carry further joints, in an order of their own.
        names = ["fr3_finger_joint2", *reversed(JOINTS)]
        builder.add_joint_state("joint_states", stamp, received, names, [value + i for i in range(9)])
    elif kind in ("left", "right"):
        names = HALVES[kind == "right"]
        positions = [value + JOINTS.index(name) for name in names]
        builder.add_joint_state("joint_states", stamp, received, names, positions, [0.0], [0.0] * 20)
    elif kind == "pose":
        builder.add_values("end_effector_pose", stamp, received, POSE, [value, value + 1, value + 2, 1.0])
    else:
        builder.add_values(CONTRACT.action.topic, stamp, received, CONTRACT.action_names, [value] * 8)


WHOLE = {"joints": (0.01, 0.0)}  # period and offset [s]
IN_HALVES = {"left": (0.02, 0.0), "right": (0.02, -0.01)}


def stream_events(duration: float = 2.0, delay=lambda: 0.0, joints=WHOLE) -> list[tuple]:
    """Cameras at 10 Hz, values at 100 Hz, each value saying its own number, sorted by receipt."""
    events = []
    others = {"third_view": (0.1, 0.0), "gripper": (0.1, 0.0), "pose": (0.01, 0.0), "action": (0.01, 0.0)}
    for kind, (period, offset) in (others | joints).items():
        last = 0.0
        for n in range(round(duration / period)):
            stamp = 100.0 + offset + n * period
            last = max(last, stamp + delay())  # one topic keeps its order
            events.append((kind, stamp, last, n))
    return sorted(events, key=lambda event: event[2])


def good(builder: ObservationBuilder, now: float = 100.0) -> None:
    """Give every stream one sample at 100 s."""
    for kind in ("gripper", "joints", "pose", "action", "third_view"):
        feed(builder, (kind, now, now, 1))


def same(a: list[Frame], b: list[Frame]) -> bool:
    return len(a) == len(b) and all(
        x.stamp == y.stamp
        and x.problem == y.problem
        and x.images.keys() == y.images.keys()
        and all(np.array_equal(x.images[n], y.images[n]) for n in x.images)
        and np.array_equal(x.state, y.state, equal_nan=True)
        for x, y in zip(a, b, strict=True)
    )


def test_frame_holds_the_newest_samples_at_t():
    builder = ObservationBuilder(CONTRACT, with_action=True)
    frames = []
    for event in stream_events():
        feed(builder, event)
        frames += builder.take_frames(event[2])
    assert len(frames) == 20
    for n, frame in enumerate(frames):
        assert frame.problem == ""
        assert frame.stamp == pytest.approx(100.0 + 0.1 * n)
        assert frame.images["third_view"][0, 0, 0] == frame.images["gripper"][0, 0, 0] == n
        # joints: value + position in the message, in which the wanted ones come reversed
        assert frame.state[:8] == pytest.approx([10 * n + 8 - i for i in range(8)])
        assert frame.state[8:] == pytest.approx([10 * n, 10 * n + 1, 10 * n + 2])
        assert frame.action == pytest.approx([10 * n] * 8)
        assert frame.state.dtype == frame.action.dtype == np.float64
        assert frame.oldest == pytest.approx(frame.stamp)
        assert set(frame.ages) == set(builder.streams)


@pytest.mark.parametrize("settle_s", [0.05, 0.1])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("joints", [WHOLE, IN_HALVES], ids=["whole", "in halves"])
def test_live_recorder_and_replay_agree_under_random_delays(seed, settle_s, joints):
    rng = np.random.default_rng(seed)
    contract = replace(CONTRACT, settle_s=settle_s)
    # Each half has delays of its own: they overtake each other.
    events = stream_events(duration=2.04, delay=lambda: rng.uniform(0.0, 0.08), joints=joints)
    live = ObservationBuilder(contract, with_action=False)
    recorder = ObservationBuilder(contract, with_action=True)
    replay = ObservationBuilder(contract, with_action=True)
    seen_live, seen_recorded = [], []
    end = 103.0
    polls = [*np.sort(rng.uniform(100.0, end, 400)), end]
    for event in events:
        while polls[0] < event[2]:
            seen_live += live.take_frames(polls.pop(0))
        for builder in (live, recorder, replay):
            feed(builder, event)
        seen_recorded += recorder.take_frames(event[2])
    seen_live += live.take_frames(end)
    seen_recorded += recorder.take_frames(end)
    assert same(seen_recorded, replay.take_frames(end))
    assert len(seen_recorded) == 20
    if joints is IN_HALVES:  # of each half what its newest message says, of those that came and that count
        for frame in (f for f in seen_recorded if not f.problem):
            image_came = next(e[2] for e in events if e[:2] == ("third_view", frame.stamp))
            decided = image_came + settle_s
            came = [e for e in events if e[1] <= frame.stamp and e[2] < decided]
            left, right = (max(e[3] for e in came if e[0] == half) for half in IN_HALVES)
            wanted = [left + i for i in range(4)] + [right + i for i in range(4, 8)]
            assert frame.state[:8] == pytest.approx(wanted)
    assert [a.stamp for a in seen_live] == [b.stamp for b in seen_recorded]
    pairs = [(a, b) for a, b in zip(seen_live, seen_recorded, strict=True) if not a.problem and not b.problem]
    # Waiting longer than the longest delay makes every frame good; waiting less loses some, changes none.
    assert len(pairs) == 20 if settle_s > 0.08 else 5 < len(pairs)
    assert same([a for a, _ in pairs], [b for _, b in pairs])


def test_reordered_samples_are_sorted_by_stamp():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    good(builder)
    builder.take_frames(100.0)
    for stamp, value in ((100.11, 7), (100.09, 5), (100.10, 6)):
        feed(builder, ("joints", stamp, 100.12, value))
    for kind in ("gripper", "pose", "third_view"):
        feed(builder, (kind, 100.1, 100.12, 2))
    (frame,) = builder.take_frames(100.12)
    assert frame.state[7] == 6 + 1


def test_waits_for_late_samples_but_not_forever():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    good(builder)
    assert len(builder.take_frames(100.0)) == 1
    feed(builder, ("third_view", 100.1, 100.1, 2))
    assert builder.take_frames(100.14) == []
    (frame,) = builder.take_frames(100.1 + CONTRACT.settle_s)
    assert "camera gripper: newest sample is 0.100 s old, allowed are 0.080 s" in frame.problem
    assert "gripper" not in frame.images
    assert np.isnan(frame.state).all()  # the joint states were too old as well: nothing is filled in
    # What arrives afterwards cannot change a frame that was decided, even if nobody looked before.
    feed(builder, ("gripper", 100.1, 100.3, 3))
    assert builder.take_frames(100.3) == []


def test_silent_streams_are_named():
    builder = ObservationBuilder(CONTRACT, with_action=True)
    feed(builder, ("third_view", 100.0, 100.0, 1))
    (frame,) = builder.take_frames(101.0)
    for stream in ("camera gripper", "joint_states", "end_effector_pose", "controller/command"):
        assert f"{stream}: no sample" in frame.problem
    assert frame.action is None
    assert len(builder.issues(101.0)) == 5
    good(builder, 101.0)
    assert builder.issues(101.01) == []
    assert [c.split(":")[0] for c in builder.issues(101.12)] == [
        "joint_states",
        "end_effector_pose",
        "controller/command",
    ]
    assert any(c.startswith("camera third_view") for c in builder.issues(102.0))


def test_what_stands_against_a_good_frame_now_is_said_in_the_words_of_the_frame():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    good(builder)
    assert builder.obstacles(100.0) == []
    for n in range(1, 6):  # every stream lives, but no frame is good: the first one may be chance
        now = 101.0 + 0.1 * n
        for kind in ("joints", "pose", "third_view"):
            feed(builder, (kind, now, now, 1))
        builder.add_image("gripper", now, now, image(1, (480, 640)))
    problem = "camera gripper: image is 640x480, the contract says 112x112"
    assert builder.obstacles(now) == [problem] == [builder.newest_problem]
    assert builder.last_good == 100.0
    good(builder, now + 0.1)
    assert builder.obstacles(now + 0.1) == []
    feed(builder, ("third_view", now + 0.2, now + 0.2, 1))
    assert builder.obstacles(now + 0.27)[0].startswith("joint_states")
    builder.clear()
    assert builder.last_good == -math.inf


def test_a_missing_joint_is_named_before_any_frame():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    good(builder)
    builder.clear()
    for kind in ("gripper", "pose", "third_view"):
        feed(builder, (kind, 100.0, 100.0, 1))
    builder.add_joint_state("joint_states", 100.0, 100.0, JOINTS[1:], [0.0] * 7)
    assert builder.obstacles(100.01) == ["joint_states (fr3_joint1): no sample"]


def frame_with_joint_3(value, others):
    """A frame in which all is well but perhaps the position of the third joint."""
    builder = ObservationBuilder(CONTRACT, with_action=True)
    for kind in ("gripper", "pose", "action"):
        feed(builder, (kind, 100.0, 100.0, 1))
    positions = [others] * 8
    positions[2] = value
    builder.add_joint_state("joint_states", 100.0, 100.0, JOINTS, positions)
    feed(builder, ("third_view", 100.0, 100.0, 1))
    (frame,) = builder.take_frames(100.0)
    return frame


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_named(bad):
    frame = frame_with_joint_3(bad, others=0.5)
    assert frame.problem == "joint_states: fr3_joint3 not finite"


@pytest.mark.parametrize("large", [1e39, -1e39, 1e300])
def test_values_beyond_float32_are_named(large):
    """Data sets and networks hold float32, where they would be infinite."""
    frame = frame_with_joint_3(large, others=3.4e38)
    assert frame.problem == "joint_states: fr3_joint3 too large, allowed is up to 3.4e+38"


def test_missing_joint_is_named_and_two_drivers_may_share_a_topic():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    for kind in ("gripper", "pose", "third_view"):
        feed(builder, (kind, 100.0, 100.0, 1))
    builder.add_joint_state("joint_states", 100.0, 100.0, JOINTS[:7], [0.0] * 7)
    (frame,) = builder.take_frames(100.2)
    assert frame.problem == "joint_states (fr3_finger_joint1): no sample"

    builder = ObservationBuilder(CONTRACT, with_action=False)
    for kind in ("gripper", "pose", "third_view"):
        feed(builder, (kind, 100.0, 100.0, 1))
    builder.add_joint_state("joint_states", 99.995, 100.0, JOINTS[7:], [0.03])
    builder.add_joint_state("joint_states", 100.0, 100.0, JOINTS[:7], [0.2] * 7)
    (frame,) = builder.take_frames(100.2)
    assert frame.problem == ""
    assert frame.state[:8] == pytest.approx([0.2] * 7 + [0.03])
    assert frame.ages["joint_states"] == pytest.approx(0.005)


def test_late_joints_are_named_and_the_first_cause_comes_first():
    builder = ObservationBuilder(CONTRACT, with_action=True)
    for kind, last in (
        ("action", 99.95),
        ("left", 99.96),
        ("right", 99.6),
        ("gripper", 99.7),
        ("pose", 100.0),
    ):
        feed(builder, (kind, last, last, 1))
    builder.add_joint_state("joint_states", 99.98, 99.98, JOINTS[:2], [0.0] * 2)
    feed(builder, ("third_view", 100.0, 100.0, 1))
    (frame,) = builder.take_frames(100.2)
    right = "joint_states (fr3_joint5, fr3_joint6, fr3_joint7, fr3_finger_joint1): newest sample is "
    assert frame.problem == (
        f"{right}0.400 s old, allowed are 0.050 s; camera gripper: newest sample is 0.300 s old, "
        "allowed are 0.080 s"
    )
    assert np.isfinite(frame.state[:4]).all() and np.isnan(frame.state[4:8]).all()
    starts = [c.split(":")[0] for c in builder.issues(100.2)[:4]]
    assert starts == [
        right.split(":")[0],
        "camera gripper",
        "controller/command",
        "joint_states (fr3_joint3, fr3_joint4)",
    ]
    feed(builder, ("third_view", 100.5, 100.5, 1))  # what a frame has left behind still has its age
    assert f"{right}0.900 s old" in builder.take_frames(101.0)[0].problem


def test_of_two_publishers_of_a_joint_the_newest_wins():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    for kind in ("gripper", "pose", "third_view"):
        feed(builder, (kind, 100.0, 100.0, 1))
    finger = JOINTS[7:]
    builder.add_joint_state("joint_states", 99.999, 99.999, finger, [0.03])
    builder.add_joint_state("joint_states", 99.2, 100.0, finger, [0.01])  # long ago, but not a new start
    builder.add_joint_state("joint_states", 100.0, 100.0, JOINTS[:7], [0.2] * 7)
    builder.add_joint_state("joint_states", 100.001, 100.001, finger, [0.02])
    (frame,) = builder.take_frames(100.001)
    assert frame.problem == "" and frame.state[7] == 0.03


def test_a_slow_value_beside_a_fast_one_is_kept():
    topics = {n: replace(t, max_age_s=6.0) for n, t in CONTRACT.topics.items()}
    builder = ObservationBuilder(replace(CONTRACT, topics=topics), with_action=False)
    for kind in ("gripper", "pose", "right"):
        feed(builder, (kind, 100.0, 100.0, 1))
    for n in range(5000):
        feed(builder, ("left", 100.0 + 0.001 * n, 100.0 + 0.001 * n, n))
    feed(builder, ("gripper", 105.0, 105.0, 1))
    feed(builder, ("third_view", 105.0, 105.0, 1))
    (frame,) = builder.take_frames(105.2)
    assert frame.problem == "" and frame.state[7] == 1 + 7


def test_only_fields_and_joints_of_the_contract_must_fit():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    for kind in ("gripper", "pose", "third_view"):
        feed(builder, (kind, 100.0, 100.0, 1))
    add = builder.add_joint_state
    add("joint_states", 100.0, 100.0, JOINTS, [0.1] * 8, [0.0] * 7, [1.0])
    add("joint_states", 100.0, 100.0, ["wheel_left", "wheel_right"], [0.0])
    add("joint_states", 100.0, 100.0, JOINTS, [], [0.0] * 8)
    (frame,) = builder.take_frames(100.0)
    assert frame.problem == "" and frame.state[:8] == pytest.approx([0.1] * 8)
    with pytest.raises(FrameError, match="8 names but 7 values of position"):
        add("joint_states", 100.0, 100.0, JOINTS, [0.1] * 7)

    state = tuple(replace(d, field="velocity") if d.joint == JOINTS[0] else d for d in CONTRACT.state)
    builder = ObservationBuilder(replace(CONTRACT, state=state), with_action=False)
    for kind in ("gripper", "pose", "third_view"):
        feed(builder, (kind, 100.0, 100.0, 1))
    add = builder.add_joint_state
    add("joint_states", 100.0, 100.0, JOINTS[1:], [0.1] * 7, [0.0])
    with pytest.raises(FrameError, match="8 names but 7 values of velocity"):
        add("joint_states", 100.0, 100.0, JOINTS, [0.1] * 8, [0.0] * 7)
    add("joint_states", 100.0, 100.0, JOINTS[:1], [], [0.3])
    (frame,) = builder.take_frames(100.0)
    assert frame.problem == "" and frame.state[0] == 0.3


def test_wrong_image_size_is_reported_with_both_sizes():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    for kind in ("joints", "pose"):
        feed(builder, (kind, 100.0, 100.0, 1))
    builder.add_image("gripper", 100.0, 100.0, image(1, (48, 64)))
    builder.add_image("third_view", 100.0, 100.0, image(1).astype(np.float32))
    (frame,) = builder.take_frames(100.0)
    assert "camera gripper: image is 64x48, the contract says 112x112" in frame.problem
    assert "camera third_view: image is float32" in frame.problem
    assert frame.images == {}


def test_stamps_from_the_future_are_refused_and_the_offset_is_told():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    for kind in ("gripper", "pose"):
        feed(builder, (kind, 100.0, 100.0, 1))
    feed(builder, ("joints", 102.5, 100.0, 1))
    feed(builder, ("third_view", 100.0, 100.0, 1))
    (frame,) = builder.take_frames(100.1)
    (lost,) = losses_since({}, builder.losses)
    fault = "refused, stamped 2.500 s after their receipt: check the clocks, or say `time: receive`"
    assert lost.startswith(f"1 x sample of joint_states {fault}")
    assert f"joint_states: no sample (1 {fault}" in frame.problem


def test_what_is_said_about_clocks_ends_with_good_samples():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    good(builder, 99.0)
    for n in range(45):
        feed(builder, ("left", 102.5 + 0.01 * n, 100.0 + 0.01 * n, 1))
    joints = "joint_states (fr3_joint1, fr3_joint2, fr3_joint3, fr3_joint4)"
    issues = builder.issues(100.5)
    assert any(c.startswith("joint_states") and "(45 refused" in c for c in issues)
    feed(builder, ("left", 100.5, 100.5, 1))  # the other half has a clock of its own
    assert not any("refused" in c for c in builder.issues(100.6))
    assert losses_since({}, builder.losses)[0].startswith("45 x ")  # of the whole recording
    feed(builder, ("left", 103.2, 100.7, 1))
    (mine,) = [c for c in builder.issues(101.0) if c.startswith(joints)]
    assert "(1 refused" in mine
    assert not any("refused" in c for c in builder.issues(110.0)), "that was long ago"


@pytest.mark.parametrize(
    ("camera_hz", "jitter"), [(10.0, 0.02), (30.0, 0.004), (60.0, 0.002), (25.0, 0.004), (15.0, 0.004)]
)
def test_a_faster_camera_is_thinned_to_the_rate(camera_hz, jitter):
    rng = np.random.default_rng(0)
    builder = ObservationBuilder(CONTRACT, with_action=False)
    stamps = []
    for n in range(round(10 * camera_hz)):
        t = 100.0 + n / camera_hz + rng.uniform(-jitter, jitter)
        feed(builder, ("third_view", t, t, n))
        stamps += [frame.stamp for frame in builder.take_frames(t)]
    stamps += [frame.stamp for frame in builder.take_frames(200.0)]
    assert 97 <= len(stamps) <= 101
    steps = np.diff(stamps)
    assert steps.min() > 0.05
    assert steps.max() < 0.1 + 1 / camera_hz + 2 * jitter


def test_a_gap_of_the_camera_is_not_followed_by_a_burst():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    times = [100.0 + n / 30 for n in range(60)]
    times += [103.087 + n / 30 for n in range(60)]
    for t in times:
        feed(builder, ("third_view", t, t, 0))
    stamps = np.array([frame.stamp for frame in builder.take_frames(200.0)])
    steps = np.diff(stamps)
    assert steps.min() > 0.06
    assert (steps > 0.15).sum() == 1


def test_time_that_runs_back_clears_everything():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    good(builder)
    assert len(builder.take_frames(100.0)) == 1
    feed(builder, ("third_view", 3.0, 3.0, 9))
    assert any(what.startswith("the clock ran backwards") for what in builder.losses)
    (frame,) = builder.take_frames(3.2)
    assert frame.stamp == 3.0
    assert "joint_states: no sample" in frame.problem
    good(builder, 4.0)
    assert builder.take_frames(4.0)[0].problem == ""


def test_receive_time_can_stamp_a_stream():
    topics = {n: replace(t, time="receive") for n, t in CONTRACT.topics.items()}
    builder = ObservationBuilder(replace(CONTRACT, topics=topics), with_action=False)
    for kind in ("gripper", "third_view"):
        feed(builder, (kind, 100.0, 100.0, 1))
    for kind in ("joints", "pose"):
        feed(builder, (kind, 0.0, 99.99, 1))  # a driver that stamps nothing
    (frame,) = builder.take_frames(100.1)
    assert frame.problem == ""
    assert frame.ages["joint_states"] == pytest.approx(0.01)


def test_memory_is_bounded_while_the_reference_camera_is_silent():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    for n in range(6000):
        feed(builder, ("joints", 100 + n * 0.01, 100 + n * 0.01, 0))
        feed(builder, ("gripper", 100 + n * 0.01, 100 + n * 0.01, 0))
    assert len(builder._histories.images["gripper"]._images) <= 32
    histories = builder._histories.values["joint_states"]._values
    assert max(len(history) for history in histories) <= 4096
    for n in range(1000):
        feed(builder, ("third_view", 200 + n * 0.1, 200 + n * 0.1, 0))
    assert len(builder.take_frames(400.0)) <= 256
    assert builder.losses["frame that nobody took in time"] > 0


def test_programming_errors_are_named():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    with pytest.raises(FrameError, match=r"camera 'left': allowed are"):
        builder.add_image("left", 0.0, 0.0, image(0))
    with pytest.raises(FrameError, match=r"topic '/tf': allowed are"):
        builder.add_values("/tf", 0.0, 0.0, [], [])
    with pytest.raises(FrameError, match=r"topic '/tf': allowed are"):
        builder.add_message("/tf", None, 0.0)
    with pytest.raises(FrameError, match="2 names but 1 values"):
        builder.add_values("joint_states", 0.0, 0.0, ["a", "b"], [1.0])
    with pytest.raises(FrameError, match="period_s"):
        ObservationBuilder(CONTRACT, with_action=False, period_s=0.0)
    builder.add_values(CONTRACT.action.topic, 0.0, 0.0, ["anything"], [1.0])  # not asked for: ignored


def test_stamps_of_a_clock_that_is_behind_are_told_from_a_stream_that_is_silent():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    good(builder)
    for n in range(1, 4):  # cameras that send all the time, from a computer whose clock is 1.7 s behind
        now = 101.7 + 0.1 * n
        for camera in CONTRACT.cameras:
            feed(builder, (camera, now - 1.7, now, 1))
    behind = [c for c in builder.issues(now) if c.startswith("camera")]
    assert behind == [
        f"camera {camera}: newest sample is 1.700 s old, allowed are 0.080 s (stamped 1.700 s before its "
        "receipt: check the clocks, or what delays it, or raise settle_s, 0.05)"
        for camera in CONTRACT.cameras
    ]
    (silent,) = [c for c in builder.issues(now) if c.startswith("end_effector_pose")]
    assert silent == "end_effector_pose: newest sample is 2.000 s old, allowed are 0.050 s"


def test_what_ros_knows_of_a_silent_stream_ends_its_sentence():
    builder = ObservationBuilder(CONTRACT, with_action=False)
    feed(builder, ("third_view", 100.0, 100.0, 1))
    heard = {}

    def why(stream, ever):
        heard[stream] = ever
        return f" <{stream}>"

    assert "camera gripper: no sample <gripper>" in builder.issues(101.0, why)
    assert builder.obstacles(101.0, why) == builder.issues(101.0, why)
    assert heard == {
        "third_view": True, "gripper": False, "joint_states": False, "end_effector_pose": False,
    }  # fmt: skip
    feed(builder, ("gripper", 0.0, 101.0, 1))  # it arrives, but without a stamp
    assert builder.issues(101.0, why) and heard["gripper"]
