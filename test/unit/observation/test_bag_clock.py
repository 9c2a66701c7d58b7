"""Bags whose log times and stamps are of two clocks, and bags in which one stream is stamped wrongly."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install rosbags")

from bag_samples import START_NS, Sample, bag_of, clock, make_samples
from recording_samples import CONTRACT
from test_bag import live_frames

from vla_adapter_ros.contract.camera import Camera
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.import_report import ImportReport
from vla_adapter_ros.dataset.tools.importing import import_bag
from vla_adapter_ros.observation.bag import Bag
from vla_adapter_ros.observation.bag_clock import BagClock
from vla_adapter_ros.observation.bag_frames import BagNotes, bag_frames
from vla_adapter_ros.observation.frame import Frame

WALL_NS = START_NS + 5_000_000_000_000_000
SIMULATED_NS = 12_000_000_000  # a simulation has run for 12 s when the bag begins
REFERENCE, GRIPPER = CONTRACT.camera_names
STREAMS = (*CONTRACT.cameras, *CONTRACT.topics, CONTRACT.action.topic)


def simulated(samples: list[Sample]) -> list[Sample]:
    """As a simulation has them: stamps and receipt by the simulated clock."""
    by = SIMULATED_NS - START_NS
    return [dataclasses.replace(s, stamp=s.stamp + by, received=s.received + by) for s in samples]


def by_the_wall(samples: list[Sample], rate: float = 1.0) -> list[Sample]:
    """As `ros2 bag record` logs a simulation that runs at `rate` of real time."""
    start = samples[0].received
    return [dataclasses.replace(s, received=WALL_NS + int((s.received - start) / rate)) for s in samples]


def restamped(samples: list[Sample], stream: str, stamp) -> list[Sample]:
    return [dataclasses.replace(s, stamp=stamp(s.stamp)) if s.stream == stream else s for s in samples]


def frames_of(path, contract, samples, more=(), notes=None) -> list[Frame]:
    with Bag(bag_of(path, contract, samples, more)) as bag:
        return list(bag_frames(bag, contract, notes=notes))


def assert_same(ours: list[Frame], theirs: list[Frame], with_action: bool = True, but=()) -> None:
    """Of streams `but` the second frames know nothing."""
    assert [frame.stamp for frame in ours] == [frame.stamp for frame in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert (a.problem, a.images.keys() - set(but)) == (b.problem, b.images.keys())
        np.testing.assert_array_equal(a.state, b.state)
        if with_action:
            np.testing.assert_array_equal(a.action, b.action)
        for name, image in b.images.items():
            np.testing.assert_array_equal(a.images[name], image)


APART = {"free": None, "12 us after": 12e-6, "12 us before": -12e-6, "17 ms after": 0.017}
CLOCKS = ("one clock", "two clocks", "two clocks at half the rate")
PARITY = [
    # Every second one is quick, so that each pair of two habits is among the quick ones.
    pytest.param(
        APART[apart], clocks, transport, depth,
        id=f"{apart}-{clocks}-{transport}-{'depth too' if depth else 'color'}",
        marks=pytest.mark.slow if (i + j + k + depth) % 2 else (),
    )
    for i, apart in enumerate(APART)
    for j, clocks in enumerate(CLOCKS)
    for k, transport in enumerate(("raw", "jpeg"))
    for depth in (False, True)
]  # fmt: skip


@pytest.mark.parametrize(("apart_s", "clocks", "transport", "depth"), PARITY)
def test_policy_recorder_and_bag_see_the_same(tmp_path, apart_s, clocks, transport, depth):
    coded = "raw" if transport == "raw" else "compressed"
    cameras = {
        name: dataclasses.replace(camera, transport=coded) for name, camera in CONTRACT.cameras.items()
    }
    depths = {"depth": Camera("/depth", 64, 48, transport=coded)} if depth else {}
    contract = dataclasses.replace(
        CONTRACT, cameras=cameras, depth_cameras=depths, rate_hz=30.0, settle_s=0.1
    )
    samples = make_samples(contract, 1.5, 3, 0.03, in_order=STREAMS, apart_s=apart_s, picture="jpeg")
    logged = samples
    if clocks != "one clock":
        samples = simulated(samples)
        logged = by_the_wall(samples, 0.5 if "half" in clocks else 1.0)
    recorder = live_frames(contract, samples, 1)
    good = [frame for frame in recorder if not frame.problem]
    notes = BagNotes()
    assert_same(recorder, frames_of(tmp_path / "bag", contract, logged, notes=notes))
    assert ("two clocks" in notes.clocks) == (clocks != "one clock")
    policy = {frame.stamp: frame for frame in live_frames(contract, samples, 2, with_action=False)}
    assert_same(good, [policy[frame.stamp] for frame in good], with_action=False, but=depths)
    assert all(frame.images["depth"].dtype == np.uint16 for frame in good if depth)
    assert len(good) >= 35
    if apart_s in (12e-6, -12e-6):  # each row has the two images of one trigger
        stamps = [s.stamp for s in samples if s.stream == REFERENCE]
        pairs = dict(zip(stamps, (s for s in samples if s.stream == GRIPPER), strict=True))
        for frame in good:
            nearest = pairs[min(stamps, key=lambda stamp: abs(stamp * 1e-9 - frame.stamp))]
            assert frame.ages[GRIPPER] == pytest.approx(-apart_s, abs=1e-6)
            if transport == "raw":
                np.testing.assert_array_equal(frame.images[GRIPPER], nearest.content)


@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
@pytest.mark.parametrize("pace", [1.0, 0.3, 4.0])
def test_a_simulation_recorded_by_the_wall_clock_gives_its_rows(tmp_path, rate_hz, pace):
    contract = dataclasses.replace(CONTRACT, rate_hz=rate_hz)
    samples = simulated(make_samples(contract, 3.0, 0, 0.005, in_order=STREAMS, apart_s=12e-6))
    bag = bag_of(tmp_path / "bag", contract, by_the_wall(samples, pace))
    report = import_bag(bag, contract, tmp_path / "set", instruction="wave")
    rows = DatasetReader(tmp_path / "set").rows(0)
    live = [frame for frame in live_frames(contract, samples, 0) if not frame.problem]
    np.testing.assert_array_equal(rows["capture.stamp"], [frame.stamp for frame in live])
    np.testing.assert_array_equal(rows["observation.state"], np.float32([frame.state for frame in live]))
    assert len(live) >= 3 * rate_hz - 3 and report.kept == 1
    sentence = report.remarks[0]
    assert sentence.startswith("log times and stamps are of two clocks, 17649999")
    assert ("of the rate" in sentence) == (pace != 1.0)


def test_the_clock_topic_decides_where_there_is_one(tmp_path):
    """More streams are stamped by another clock than by that of the simulation."""
    samples = simulated(make_samples(CONTRACT, 2.0, 0, 0.005, in_order=STREAMS, apart_s=0.0))
    for stream in CONTRACT.cameras:
        samples = restamped(samples, stream, lambda stamp: stamp + WALL_NS // 2)
    logged = by_the_wall(samples)
    ticks = [("/clock", s.received, clock(t.received)) for s, t in zip(logged, samples, strict=True)]
    with Bag(bag_of(tmp_path / "bag", CONTRACT, logged, ticks)) as bag:
        found = bag.clock(CONTRACT)
    first, last = logged[0], logged[-1]
    assert found.at(first.received * 1e-9) == pytest.approx(samples[0].received * 1e-9, abs=1e-3)
    assert found.at(last.received * 1e-9) == pytest.approx(samples[-1].received * 1e-9, abs=1e-3)


def test_streams_by_receive_time_are_put_on_the_clock_of_the_stamps(tmp_path):
    joints = CONTRACT.joint_state_topic
    topics = CONTRACT.topics | {joints: dataclasses.replace(CONTRACT.topics[joints], time="receive")}
    contract = dataclasses.replace(CONTRACT, topics=topics)
    samples = simulated(make_samples(contract, 2.0, 0, 0.004, in_order=STREAMS, apart_s=0.0))
    samples = restamped(samples, joints, lambda stamp: 0)
    good = [f for f in frames_of(tmp_path / "bag", contract, by_the_wall(samples, 0.5)) if not f.problem]
    assert len(good) >= 14
    arm = [s for s in samples if s.stream == joints]
    for frame in good:  # as exact as the other streams' delays are alike
        early, late = (max(n for n, s in enumerate(arm) if s.received * 1e-9 <= frame.stamp + by)
                       for by in (-0.005, 0.005))  # fmt: skip
        assert frame.state[7] in [s.content[0] for s in arm[early : late + 1]]


def pairs(log, stamps) -> np.ndarray:
    return np.stack([np.asarray(log, float), np.asarray(stamps, float)], axis=1)


LOG = START_NS * 1e-9 + np.arange(300) / 30


@pytest.mark.parametrize(
    "streams",
    [
        {"a": pairs(LOG, LOG - 0.02)},
        {"a": pairs(LOG, LOG - 0.02), "b": pairs(LOG, LOG * 0), "c": pairs(LOG, LOG - LOG[0])},
        {"a": pairs(LOG, LOG - 0.02), "b": pairs(LOG, LOG + 3600), "c": pairs(LOG, LOG + 3600)},
        {"a": pairs(LOG, LOG + 0.08)},
        {"a": pairs(LOG, LOG * 0)},
        {"a": pairs(LOG[:5], LOG[:5] - [0.0, 0.08, 0.0, 0.08, 0.08])},
        {"a": pairs(LOG[:1], [3.0])},
        {"/clock": pairs(LOG, LOG - LOG[0])},
        {},
    ],
    ids=[
        "usual",
        "two at fault",
        "two ahead",
        "80 ms ahead",
        "never stamped",
        "short",
        "one",
        "no stream",
        "none",
    ],
)
def test_log_times_of_the_clock_of_any_stream_are_taken_as_they_are(streams):
    found = BagClock(streams, cameras=["b", "c"])
    assert found.remark == "" and found.at(LOG[7]) == LOG[7]


def test_one_stream_that_is_stamped_by_the_wall_clock_does_not_outvote_a_simulation():
    shown = LOG - LOG[0]
    found = BagClock(
        {"a": pairs(LOG, LOG), "b": pairs(LOG, shown), "c": pairs(LOG, shown)}, cameras=["a", "b"]
    )
    assert "two clocks" in found.remark and found.at(LOG[7]) == pytest.approx(shown[7])


@pytest.mark.parametrize("rate", [0.25, 0.9, 1.0, 3.0])
@pytest.mark.parametrize("start", [0.0, 50.0, LOG[0]])
def test_two_clocks_are_told_by_their_distance_or_their_rate(rate, start):
    shown = start + rate * (LOG - LOG[0])
    rng = np.random.default_rng(0)
    found = BagClock({"a": pairs(LOG, shown), "b": pairs(LOG, shown - rng.uniform(0, 0.08, 300))})
    if start == LOG[0] and rate == 1.0:
        assert found.remark == ""
    else:
        assert "two clocks" in found.remark and ("of the rate" in found.remark) == (rate != 1.0)
    np.testing.assert_allclose([found.at(t) for t in LOG], shown, rtol=0, atol=1e-6)


def test_a_simulation_that_is_reset_or_paused_goes_on():
    shown = np.concatenate([60 + np.arange(100) / 30, np.full(100, 63.3), np.arange(100) / 30])
    found = BagClock({"a": pairs(LOG, shown)})
    off = np.abs(np.array([found.at(t) for t in LOG]) - shown)
    assert off[:200].max() < 0.1 and off[235:].max() < 1e-6


# Who is named


def report_of(tmp_path, samples: list[Sample], contract=CONTRACT) -> tuple[ImportReport, list[str]]:
    bag = bag_of(tmp_path / "bag", contract, samples)
    report = import_bag(bag, contract, tmp_path / "set", instruction="wave")
    return report, [line for episode in report.episodes for line in episode.lines] + report.remarks


STAMPS = {"zero": lambda stamp: 0, "since boot": lambda stamp: stamp - START_NS + 4 * 10**12}


@pytest.mark.parametrize("fault", STAMPS)
@pytest.mark.parametrize("stream", STREAMS)
def test_the_stream_at_fault_is_named_once_with_the_cure(tmp_path, stream, fault):
    samples = make_samples(CONTRACT, 2.0, 0, 0.005, in_order=STREAMS, apart_s=0.0)
    report, lines = report_of(tmp_path, restamped(samples, stream, STAMPS[fault]))
    assert report.kept == 0
    (named,) = [line for line in lines if "refused" in line]
    assert "say `time: receive` for it in the contract" in named
    what = f"camera {stream}" if stream in CONTRACT.cameras else stream
    assert what in named and not any(f"{other}: no sample" in named for other in STREAMS if other != stream)
    assert len(lines) <= 5


def test_left_out_frames_that_differ_in_an_age_are_one_line(tmp_path):
    gripper = dataclasses.replace(CONTRACT.cameras[GRIPPER], max_age_s=0.02)
    contract = dataclasses.replace(CONTRACT, cameras=CONTRACT.cameras | {GRIPPER: gripper}, rate_hz=30.0)
    samples = make_samples(contract, 4.0, 0, 0.005, in_order=STREAMS, apart_s=0.009)
    report, _ = report_of(tmp_path, samples, contract)
    (episode,) = report.episodes
    assert sum(episode.left_out.values()) >= 110 and len(episode.left_out) <= 3
    assert any("make gripper the reference camera" in reason for reason in episode.left_out)


def test_a_camera_that_is_always_one_period_old_is_named_by_import_and_check(tmp_path):
    contract = dataclasses.replace(CONTRACT, rate_hz=30.0)
    samples = make_samples(contract, 2.0, 0, 0.005, in_order=STREAMS, apart_s=0.0055)
    report, lines = report_of(tmp_path, samples, contract)
    checked = check_dataset(tmp_path / "set").lines
    for found in (lines, checked):
        (line,) = [line for line in found if "camera_lag" in line]
        assert "camera gripper is always one period old" in line and "make it the reference camera" in line
    assert report.kept == 1


def test_images_that_are_lost_are_in_the_report(tmp_path):
    samples = make_samples(CONTRACT, 2.0, 0, 0.005, in_order=STREAMS, apart_s=0.0)
    late = [s for s in samples if s.stream == REFERENCE][10:40:10]
    samples = [s for s in samples if s not in late]
    samples += [dataclasses.replace(s, received=s.received + 300_000_000) for s in late]
    repeated = [s for s in samples if s.stream == GRIPPER][20]
    samples.append(dataclasses.replace(repeated, received=repeated.received + 1))
    report, _ = report_of(tmp_path, sorted(samples, key=lambda s: s.received))
    (episode,) = report.episodes
    assert "3 x image of camera third_view (third_view/image_raw) came after its turn" in episode.remarks
    assert any(
        text.startswith("1 x image of camera gripper") and "repeats" in text for text in episode.remarks
    )
