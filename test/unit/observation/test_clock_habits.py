"""Habits of clocks and cameras: which image is that of t, and who is named where none can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.contract import Contract, contract_differences, parse_contract, read_contract
from vla_adapter_ros.contract.read import plain_contract, write_contract
from vla_adapter_ros.dataset.quality.monitor import EpisodeMonitor
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.observation.buffers import ImageBuffer
from vla_adapter_ros.observation.builder import ObservationBuilder
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.lateness import losses_since

CONTRACT = read_contract("franka_sim")
REFERENCE, GRIPPER, JOINTS = "third_view", "gripper", "joint_states"
STREAMS = (*CONTRACT.cameras, *CONTRACT.topics, CONTRACT.action.topic)
START = 1_760_000_000.0
Stamp = Callable[[float, int], float]


def with_gripper(contract: Contract = CONTRACT, **changes) -> Contract:
    camera = replace(contract.cameras[GRIPPER], **changes)
    return replace(contract, cameras=contract.cameras | {GRIPPER: camera})


def image(number: int) -> np.ndarray:
    return np.full((112, 112, 3), number % 256, np.uint8)


def names_of(contract: Contract, stream: str) -> list[str]:
    if stream == contract.action.topic:
        return list(contract.action_names)
    return [d.joint or d.field for d in contract.state if d.topic == stream]


class Graph:
    """Streams of a robot, each with its rate, and ways to stamp and to delay it; image n shows n.

    Args:
        contract: Rate and cameras.
        camera_hz: Of both cameras; values come at 100 Hz.
        stamps: Stream -> stamp of its sample n that is taken at a time [s].
        delays: Stream -> how long sample n is under way [s]; 1 ms for others.
        overtaking: Stream whose samples overtake each other; in others they wait for those before.
    """

    def __init__(
        self,
        contract: Contract = CONTRACT,
        camera_hz: float = 10.0,
        stamps: dict[str, Stamp] | None = None,
        delays: dict[str, Callable[[int], float]] | None = None,
        overtaking: str = "",
    ) -> None:
        self.contract, stamps, delays = contract, stamps or {}, delays or {}
        self.builder, self.frames = ObservationBuilder(contract, with_action=True), []
        self.events = []
        for stream in STREAMS:
            last, hz = 0.0, (camera_hz if stream in contract.cameras else 100.0)
            for n in range(round(5 * hz) + 1):
                taken = START + n / hz
                stamp = stamps.get(stream, lambda t, n: t)(taken, n)
                came = taken + delays.get(stream, lambda n: 1e-3)(n)
                last = came if stream == overtaking else max(last + 1e-6, came)
                self.events.append((last, stream, stamp, n))
        self.events.sort(key=lambda event: event[0])

    def play(self, until: float = np.inf) -> list[Frame]:
        """Send what comes before `until` [s after the start]; the frames so far."""
        now = START
        while self.events and self.events[0][0] < START + until:
            now, stream, stamp, n = self.events.pop(0)
            if stream in self.contract.cameras:
                self.builder.add_image(stream, stamp, now, image(n))
            else:
                names = names_of(self.contract, stream)
                self.builder.add_values(stream, stamp, now, names, [n / 100] * len(names))
            self.frames += self.builder.take_frames(now)
        self.now = now
        return self.frames

    @property
    def good(self) -> list[Frame]:
        return [frame for frame in self.frames if not frame.problem]

    @property
    def losses(self) -> list[str]:
        return losses_since({}, self.builder.losses)


def shown(frames: list[Frame], camera: str) -> list[int]:
    return [int(frame.images[camera][0, 0, 0]) for frame in frames]


# Cameras that are triggered together


@pytest.mark.parametrize("offset", [12e-6, -12e-6, 2e-3, -2e-3], ids=lambda o: f"{1e3 * o:g} ms")
@pytest.mark.parametrize("rate", [10.0, 30.0])
def test_an_image_stamped_a_little_apart_is_of_the_same_time(rate, offset):
    graph = Graph(replace(CONTRACT, rate_hz=rate), rate, {GRIPPER: lambda t, n: t + offset})
    frames = graph.play()
    assert len(graph.good) >= 5 * rate - 1
    assert shown(graph.good, GRIPPER) == shown(graph.good, REFERENCE)
    assert {round(frame.ages[GRIPPER], 6) for frame in graph.good} == {round(-offset, 6)}
    assert all(frame.oldest <= frame.stamp for frame in frames)


@pytest.mark.parametrize("offset", [12e-6, -12e-6])
def test_such_an_image_completes_its_camera_at_once(offset):
    builder = ObservationBuilder(CONTRACT, with_action=False)
    for n in range(3):
        t = START + n / 10
        for topic in CONTRACT.topics:
            names = names_of(CONTRACT, topic)
            builder.add_values(topic, t, t, names, [0.0] * len(names))
        builder.add_image(GRIPPER, t + offset, t + 1e-3, image(n))
        builder.add_image(REFERENCE, t, t + 2e-3, image(n))
        (frame,) = builder.take_frames(t + 2e-3)  # long before settle_s has passed
        assert not frame.problem and shown([frame], GRIPPER) == [n]


def test_values_are_never_taken_from_after_t():
    graph = Graph(stamps={stream: lambda t, n: t + 12e-6 for stream in CONTRACT.topics})
    graph.play()
    assert len(graph.good) >= 48
    for frame in graph.good:
        assert all(frame.ages[topic] >= 0 for topic in CONTRACT.topics)
        assert frame.state[0] == pytest.approx(frame.stamp - START - 0.01, abs=1e-4)


def test_the_tolerance_of_a_fast_camera_is_a_quarter_of_its_period():
    buffer = ImageBuffer()
    assert buffer.tolerance == 0.005  # as long as its period is not known
    for n in range(20):
        buffer.add_image(START + n / 100, image(n))
    assert buffer.period == pytest.approx(0.01) and buffer.tolerance == pytest.approx(0.0025)
    assert buffer.at(START + 0.0978)[0] == pytest.approx(START + 0.1)
    assert buffer.at(START + 0.097)[0] == pytest.approx(START + 0.09)
    slow = ImageBuffer()
    for n in range(20):  # a gap, images that overtake each other and jitter do not change it much
        slow.add_image(START + n / 10 + (5 if n > 9 else 0) + 0.01 * (n % 2), image(n))
    assert slow.tolerance == 0.005


def test_the_tolerance_may_be_given_but_never_claims_two_images():
    graph = Graph(with_gripper(sync_tolerance_s=0.02), stamps={GRIPPER: lambda t, n: t + 0.015})
    graph.play()
    assert shown(graph.good, GRIPPER) == shown(graph.good, REFERENCE) and len(graph.good) >= 49
    strict = Graph(with_gripper(sync_tolerance_s=0.0), 30.0, {GRIPPER: lambda t, n: t + 12e-6})
    strict.play()
    assert shown(strict.good, GRIPPER) == [n - 1 for n in shown(strict.good, REFERENCE)]
    wide = ImageBuffer(0.5)
    for n in range(5):
        wide.add_image(START + n / 10, image(n))
    assert wide.tolerance == pytest.approx(0.05)
    assert wide.at(START + 0.26)[0] == pytest.approx(START + 0.3)


def test_contracts_without_the_key_open_and_agree(tmp_path):
    given = with_gripper(sync_tolerance_s=0.01)
    write_contract(given, tmp_path / "new.yaml")
    assert read_contract(tmp_path / "new.yaml") == given
    old = plain_contract(CONTRACT)
    for camera in old["cameras"].values():
        del camera["sync_tolerance_s"]
    del old["action"]["time"]
    assert parse_contract(old) == CONTRACT
    assert contract_differences(CONTRACT, given) == []  # no number changes its meaning: as with ages
    old["cameras"][GRIPPER]["sync_tolerance_s"] = -1.0
    with pytest.raises(ContractError, match=r"sync_tolerance_s = -1\.0: allowed is at least 0"):
        parse_contract(old)


def test_a_camera_that_comes_just_after_the_reference_is_named_with_the_cure():
    graph = Graph(stamps={GRIPPER: lambda t, n: t + 0.008}, contract=with_gripper(max_age_s=0.08))
    bad = [frame.problem for frame in graph.play()[5:-1]]
    assert not graph.good and set(bad) == {
        "camera gripper: newest sample is 0.092 s old, allowed are 0.080 s (stamped 0.008 s after "
        "third_view: make gripper the reference camera, or raise its sync_tolerance_s, 0.005)"
    }


@pytest.mark.parametrize("rate", [10.0, 30.0])
def test_a_camera_that_is_always_one_period_old_is_in_the_report(rate):
    """Both cameras at 30 Hz: no frame is bad, and no row shows what belongs together."""
    graph = Graph(replace(CONTRACT, rate_hz=rate), 30.0, {GRIPPER: lambda t, n: t + 0.0055})
    monitor = EpisodeMonitor(graph.contract)
    graph.play()
    for frame in graph.good:
        monitor.add_frame(frame)
    check = monitor.validate()["camera_lag"]
    assert len(graph.good) >= 5 * rate - 2 and check.level == "warn"
    assert check.text.startswith(
        "camera gripper is always one period old (0.83): make it the reference camera"
    )


# Stamps of another clock


FAULTS: dict[str, tuple[Stamp, str]] = {
    "zero": (lambda t, n: 0.0, "without a stamp: say `time: receive` for it in the contract"),
    "time since boot": (lambda t, n: t - START + 4000.0, "s before their receipt: check the clocks, or say"),
    "an hour ahead": (lambda t, n: t + 3600.0, "stamped 3599.999 s after their receipt: check the clocks"),
    "ten seconds behind": (lambda t, n: t - 10.0, "stamped 10.001 s before their receipt: check the clocks"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stream", [REFERENCE, GRIPPER, JOINTS, CONTRACT.action.topic])
def test_the_stream_with_other_stamps_is_named_alone_with_the_cure(stream, fault):
    stamp, words = FAULTS[fault]
    graph = Graph(stamps={stream: stamp})
    graph.play(until=2.0)
    assert not graph.good
    (issue,) = graph.builder.obstacles(graph.now)
    what = f"camera {stream}" if stream in CONTRACT.cameras else stream
    assert issue.startswith(f"{what}: no sample (") and words in issue and "time: receive" in issue
    (lost,) = graph.losses
    sent = 20 if stream in CONTRACT.cameras else 200
    assert lost.startswith(f"{sent} x sample of ") and stream in lost and words in lost
    assert all(frame.problem.count(": no sample") == 1 for frame in graph.frames[1:])


@pytest.mark.parametrize("stream", [REFERENCE, GRIPPER, JOINTS, CONTRACT.action.topic])
def test_the_cure_helps(stream):
    graph = Graph(stamps={stream: lambda t, n: 0.0})
    for part, entries in (("cameras", CONTRACT.cameras), ("topics", CONTRACT.topics)):
        if stream in entries:
            changed = entries | {stream: replace(entries[stream], time="receive")}
            graph.contract = replace(CONTRACT, **{part: changed})
    if stream == CONTRACT.action.topic:
        graph.contract = replace(CONTRACT, action=replace(CONTRACT.action, time="receive"))
    graph.builder = ObservationBuilder(graph.contract, with_action=True)
    graph.play()
    assert len(graph.good) >= 48 and not graph.losses


@pytest.mark.parametrize(
    ("stamp", "side"),
    [(lambda t, n: t - START, "1760000000.001 s before"), (lambda t, n: t + 86400.0, "86399.999 s after")],
    ids=["simulated", "a day ahead"],
)
def test_all_streams_of_another_clock_are_one_sentence(stamp, side):
    graph = Graph(stamps=dict.fromkeys(STREAMS, stamp))
    graph.play(until=2.0)
    (sentence,) = graph.builder.obstacles(graph.now)
    assert sentence.startswith(f"all streams are stamped {side} their receipt") and "use_sim_time" in sentence
    assert not graph.frames


def test_streams_that_are_silent_do_not_hide_that_the_others_are_of_another_clock():
    graph = Graph(stamps=dict.fromkeys(STREAMS, lambda t, n: t - START))
    graph.events = [event for event in graph.events if event[1] != CONTRACT.action.topic]
    graph.play(until=2.0)
    (sentence,) = graph.builder.obstacles(graph.now)
    assert sentence.startswith("all streams are stamped")


def test_a_camera_whose_stamps_stand_still_is_counted():
    graph = Graph(stamps={GRIPPER: lambda t, n: min(t, START + 1.0)})
    graph.play(until=2.0)
    assert any(
        x.startswith("9 x image of camera gripper (") and "repeats the stamp" in x for x in graph.losses
    )
    assert graph.builder.obstacles(graph.now)[0].startswith("camera gripper: newest sample is 0.9")


@pytest.mark.parametrize("stream", [REFERENCE, GRIPPER, JOINTS])
@pytest.mark.parametrize("jump", [-1.0, -0.2, 0.05])
def test_one_stamp_that_jumps_harms_only_its_own_frame(stream, jump):
    at = 20 if stream in CONTRACT.cameras else 200
    graph = Graph(stamps={stream: lambda t, n: t + jump * (n == at)})
    bad = [frame for frame in graph.play()[1:] if frame.problem]
    assert len(graph.frames) >= 49 and len(bad) <= 1
    for frame in graph.good:
        number = round((frame.stamp - START) * 10)
        if stream != REFERENCE or number != at:
            assert shown([frame], REFERENCE) == [number]


def test_a_reference_camera_whose_clock_is_set_back_is_reported():
    graph = Graph(stamps={REFERENCE: lambda t, n: t - (n >= 20)})
    graph.play()
    assert any("came after its turn" in x for x in graph.losses)
    assert any("stamped 1.001 s before its receipt: check the clocks" in x for x in graph.losses)


@pytest.mark.parametrize("step", [3.0, -3.0, -0.3, 0.3])
def test_a_clock_that_is_set_during_an_episode_is_survived(step):
    """All of one machine, receipt included."""
    graph = Graph()
    graph.events = [(r + step * (n >= m), s, t + step * (n >= m), n) for r, s, t, n in graph.events
                    for m in [20 if s in CONTRACT.cameras else 200]]  # fmt: skip
    graph.play()
    assert len(graph.good) >= 40
    for frame in graph.good:
        number, *others = shown([frame], REFERENCE) + shown([frame], GRIPPER)
        assert others == [number] and frame.state[0] == pytest.approx(number / 10, abs=0.011)
    assert any("ran backwards" in x for x in graph.losses) == (step == -3.0)


def test_a_machine_whose_clock_is_a_little_ahead_is_reported():
    graph = Graph(stamps={REFERENCE: lambda t, n: t + 0.08})
    graph.play()
    (lost,) = graph.losses
    assert "51 x sample of camera third_view" in lost and "stamped 0.079 s after its receipt: check" in lost
    quiet = Graph(stamps={REFERENCE: lambda t, n: t + 0.01})  # a step of a simulated clock
    quiet.play()
    assert not quiet.losses


@pytest.mark.parametrize("late", [CONTRACT.camera_names, STREAMS], ids=["cameras", "all streams"])
@pytest.mark.parametrize("delay", [0.08, 0.4])
def test_what_is_under_way_longer_than_frames_wait_is_waited_for_all_the_same(late, delay):
    """A slow network or a camera's own pipeline, or a machine whose clock is behind the recorder's."""
    delays = dict.fromkeys(late, lambda n: delay) | {GRIPPER: lambda n: delay + 0.002}
    graph = Graph(replace(CONTRACT, rate_hz=30.0), 30.0, delays=delays)
    graph.play()
    assert len(graph.good) >= 148 and not graph.losses
    assert shown(graph.good, GRIPPER) == shown(graph.good, REFERENCE)


def test_a_stream_that_comes_later_than_frames_wait_is_named_with_the_cure():
    graph = Graph(delays={GRIPPER: lambda n: 0.12})  # or its machine's clock is behind
    bad = [frame.problem for frame in graph.play()[3:]]
    cure = (
        "(stamped 0.120 s before its receipt: check the clocks, or what delays it, or raise settle_s, 0.05)"
    )
    assert bad and all(problem.startswith("camera gripper: ") and problem.endswith(cure) for problem in bad)


# Rates and order


@pytest.mark.parametrize("hz", [29.97, 30.3])
def test_a_camera_a_little_off_the_rate_gives_every_image(hz):
    graph = Graph(replace(CONTRACT, rate_hz=30.0), hz)
    graph.play()
    assert len(graph.good) >= round(5 * hz) - 1 and not graph.losses
    assert shown(graph.good, GRIPPER) == shown(graph.good, REFERENCE)


def test_images_in_bursts_and_jittering_are_put_in_their_places():
    noise = np.random.default_rng(0).uniform(-0.004, 0.004, 200)
    contract = replace(CONTRACT, rate_hz=30.0, settle_s=0.12)
    graph = Graph(
        contract,
        30.0,
        {REFERENCE: lambda t, n: t + noise[n], GRIPPER: lambda t, n: t + noise[n] + 3e-5},
        {REFERENCE: lambda n: (2 - n % 3) / 30 + 0.01, GRIPPER: lambda n: (2 - n % 3) / 30 + 0.011},
    )
    graph.play()
    assert len(graph.good) >= 145 and not graph.losses
    assert shown(graph.good, GRIPPER) == shown(graph.good, REFERENCE)


@pytest.mark.parametrize("apart", [12e-6, -12e-6, 0.012], ids=["after", "before", "free"])
def test_an_image_that_the_next_one_overtakes_is_waited_for(apart):
    graph = Graph(
        replace(CONTRACT, rate_hz=30.0),
        30.0,
        {GRIPPER: lambda t, n: t + apart},
        {GRIPPER: lambda n: 0.045 if n % 5 == 2 else 0.005},
        overtaking=GRIPPER,
    )
    graph.play()
    assert len(graph.good) >= 148
    behind = 1 if apart > 0.005 else 0  # of unsynchronized cameras the one before, as ever
    assert [n - behind for n in shown(graph.good, REFERENCE)] == shown(graph.good, GRIPPER)


def test_an_image_that_is_lost_delays_its_own_frame_alone():
    graph = Graph(replace(CONTRACT, rate_hz=30.0), 30.0)
    graph.events = [event for event in graph.events if event[1] != GRIPPER or event[3] % 5 != 2]
    graph.play()
    pairs = zip(shown(graph.good, REFERENCE), shown(graph.good, GRIPPER), strict=True)
    assert [other for _, other in pairs] == [n - (n % 5 == 2) for n in shown(graph.good, REFERENCE)]
    assert len(graph.good) >= 148


def test_images_of_the_reference_camera_that_come_too_late_are_counted():
    graph = Graph(delays={REFERENCE: lambda n: 0.25 if n == 20 else 1e-3}, overtaking=REFERENCE)
    graph.play()
    (lost,) = graph.losses
    assert lost == "1 x image of camera third_view (third_view/image_raw) came after its turn"
    assert 20 not in shown(graph.good, REFERENCE)


@pytest.mark.parametrize("offsets", [(0.0, 0.0), (0.0, 12e-6), (12e-6, 0.0), (0.0, 0.019)])
@pytest.mark.parametrize("seed", range(2))
def test_the_policy_sees_the_images_that_are_recorded(offsets, seed):
    """It needs no action, so it decides earlier than the recorder, and may look at other times."""
    rng = np.random.default_rng(seed)
    delays = dict.fromkeys(STREAMS, lambda n: rng.uniform(0.0, 0.02))
    cameras = zip((REFERENCE, GRIPPER), offsets, strict=True)
    stamps = {name: lambda t, n, by=by: t + by for name, by in cameras}
    graph = Graph(replace(CONTRACT, rate_hz=30.0), 30.0, stamps, delays)
    policy, seen = ObservationBuilder(graph.contract, with_action=False), []
    for now, stream, stamp, n in graph.events:
        if stream in CONTRACT.cameras:
            policy.add_image(stream, stamp, now, image(n))
        else:
            names = names_of(CONTRACT, stream)
            policy.add_values(stream, stamp, now, names, [n / 100] * len(names))
        if rng.uniform() < 0.1:
            seen += policy.take_frames(now)
    graph.play()
    by_stamp = {frame.stamp: frame for frame in seen}
    both = [(frame, by_stamp[frame.stamp]) for frame in graph.good if frame.stamp in by_stamp]
    assert len(both) >= 140
    for recorded, observed in both:
        assert shown([recorded], GRIPPER) == shown([observed], GRIPPER)
        np.testing.assert_array_equal(recorded.state, observed.state)
