"""The baselines do what their names say, the measures measure, and our aims are checked in simulated time."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from vla_adapter_ros.benchmarks.chunk_stream import (
    OLD_STREAM,
    ChunkStream,
    Episode,
    load_stream,
    save_stream,
)
from vla_adapter_ros.benchmarks.control import (
    EVERY_FRAME,
    METHODS,
    Inference,
    drive_episode,
    free_arm,
    run_control_benchmark,
    stream_facts,
    verdict,
)
from vla_adapter_ros.benchmarks.control_peers import Ensembling, OnePoint, OpenLoop
from vla_adapter_ros.benchmarks.control_report import format_result, plot_result
from vla_adapter_ros.benchmarks.motion_measures import jerk, path_distances, shifted_errors, velocity_steps
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import DatasetError

CONTRACT = read_contract("franka_sim")
ARM = [CONTRACT.action_names.index(joint) for joint in CONTRACT.arm_joints]
HOME = np.array([0.0, -0.2, 0.0, -2.0, 0.0, 1.8, 0.8])
ROWS = 8


@pytest.fixture(scope="module")
def result():
    old_stream = load_stream(OLD_STREAM).shortened(1, 16)
    return run_control_benchmark(load_stream().shortened(2, 16), latencies_ms=[90], old_stream=old_stream)


class FakeRobot:
    """Keeps what is sent to it."""

    def __init__(self) -> None:
        self.time = 0.0
        self.sent = []

    def accept_trajectory(self, names, start, times, positions, velocities=None, accelerations=None):
        assert tuple(names) == CONTRACT.arm_joints and start == 0.0
        assert velocities is None and accelerations is None
        self.sent.append((self.time, np.array(times), np.array(positions)))


def episode(frames: int = 30) -> Episode:
    """Frame n, row k, joint j: HOME + (n + k) / 100 + j / 1000 + k^2 / 1000: chunks that disagree."""
    n, k, j = np.meshgrid(np.arange(frames), np.arange(ROWS), np.arange(7), indexing="ij")
    rows = np.ones((frames, ROWS, len(CONTRACT.action_names)))
    rows[:, :, ARM] = HOME + (n + k) / 100 + j / 1000 + k**2 / 1000
    return Episode("test", HOME, np.arange(frames) / 10, rows)


def replay(kind, latency_s: float, seconds: float = 2.5) -> tuple[FakeRobot, object, Episode]:
    robot, recorded = FakeRobot(), episode()
    method = kind(CONTRACT, robot)
    inference = Inference(CONTRACT, recorded, np.full(30, latency_s), 0.0)
    for i in range(round(seconds * 1000)):
        robot.time = i * 0.001
        inference.step(method, robot.time)
        method.step(robot.time)
    return robot, method, recorded


def test_one_point_sends_the_first_row_of_each_chunk_when_it_arrives() -> None:
    robot, method, recorded = replay(OnePoint, 0.09)
    for number, (time, times, positions) in enumerate(robot.sent):
        assert time == pytest.approx(number * 0.1 + 0.09)
        assert times == pytest.approx([0.1])
        np.testing.assert_array_equal(positions, recorded.rows[number, :1, ARM].T)
    assert len(method.hand_overs) == len(robot.sent) == 25


def test_slow_inference_skips_frames_and_takes_the_newest() -> None:
    robot, _, recorded = replay(OnePoint, 0.25, 1.0)
    # Frame 0 until 0.25 s, then frame 2 until 0.5 s, then 5 until 0.75 s: 3, 4 came meanwhile.
    assert [time for time, _, _ in robot.sent] == pytest.approx([0.25, 0.5, 0.75])
    for (_, _, positions), number in zip(robot.sent, (0, 2, 5), strict=True):
        np.testing.assert_array_equal(positions, recorded.rows[number, :1, ARM].T)


def test_open_loop_executes_whole_chunks_and_waits_for_inference_between_them() -> None:
    robot, _, recorded = replay(OpenLoop, 0.09)
    # 0.09 s for inference and 0.8 s for eight rows; at 0.89 s frame 8 is the newest, at 1.78 s frame 17.
    assert [time for time, _, _ in robot.sent] == pytest.approx([0.09, 0.98, 1.87])
    for (_, times, positions), number in zip(robot.sent, (0, 8, 17), strict=True):
        assert times == pytest.approx(np.arange(1, ROWS + 1) / 10)
        np.testing.assert_array_equal(positions, recorded.rows[number][:, ARM])


def test_ensembling_sends_weighted_means_at_the_row_rate() -> None:
    robot, _, recorded = replay(Ensembling, 0.09, 1.55)
    assert [time for time, _, _ in robot.sent] == pytest.approx([0.1 * i for i in range(1, 16)])
    _, times, positions = robot.sent[9]  # due at 1.0 s: chunks of frames 3 to 9 have a row for it
    assert times == pytest.approx([0.1])
    rows = [recorded.rows[frame, 10 - frame, ARM] for frame in range(3, 10)]
    weights = np.exp(-0.01 * np.arange(7))  # the oldest counts most
    np.testing.assert_allclose(positions[0], weights @ np.array(rows) / weights.sum())


def test_without_latency_ensembling_includes_the_chunk_of_the_frame_itself() -> None:
    robot, _, recorded = replay(Ensembling, 0.0, 0.05)
    np.testing.assert_array_equal(robot.sent[0][2][0], recorded.rows[0, 0, ARM])


def test_jerk_of_a_cubic_is_exact_and_of_a_parabola_zero() -> None:
    t = np.arange(50)[:, None] * 0.001
    np.testing.assert_allclose(jerk(np.hstack([2 * t**3, t**2]), 0.001), [[12.0, 0.0]] * 46, atol=1e-6)


def test_velocity_steps_are_found_only_after_their_hand_over() -> None:
    velocities = np.zeros((100, 2))
    velocities[40:, 1] = 0.5
    np.testing.assert_array_equal(velocity_steps(velocities, [10, 35, 60], 20), [0.0, 0.5, 0.0])


def test_a_shifted_copy_has_no_error_at_its_shift() -> None:
    t = np.arange(3000) * 0.001
    path = lambda x: np.stack([np.sin(x), np.cos(2 * x)], axis=1)  # noqa: E731
    stamps = np.arange(20) / 10
    errors, count = shifted_errors(path(t - 0.123), 0.001, path(stamps), stamps)
    assert int(np.argmin(errors)) == 123 and errors[123] < 1e-20 < errors[0] and count == 20
    assert path_distances(path(t - 0.123), path(stamps)).max() < 1e-12


def test_result_has_every_method_and_measure_and_can_be_shown(result, tmp_path) -> None:
    assert set(result["latency_90ms_old_stream"]) == set(result["latency_90ms"])
    part = result["latency_90ms"]
    assert set(part) == {*METHODS, EVERY_FRAME}
    for figures in part.values():
        assert {"rms_jerk", "peak_jerk", "path_error", "delay", "seam_step_max"} <= set(figures)
        assert all(np.isfinite(value) for value in figures.values()) and figures["refused_chunks"] == 0
    json.dumps(result)
    shown = format_result(result)
    assert "| one point |" in shown and "90 ms, earlier policy" in shown
    plot_result(result, tmp_path / "control.png")
    assert (tmp_path / "control.png").stat().st_size > 10_000


def test_a_seed_gives_the_same_motion_again_and_another_seed_another() -> None:
    stream = load_stream().shortened(1, 10)
    run = lambda seed: run_control_benchmark(stream, latencies_ms=[90], methods=["one_point"], seed=seed)  # noqa: E731
    first = run(0)
    assert first == run(0)
    assert first["latency_90ms"] != run(1)["latency_90ms"]
    both = run_control_benchmark(stream, latencies_ms=[40, 90], methods=["open_loop", "one_point"])
    assert both["latency_90ms"]["one_point"] == first["latency_90ms"]["one_point"], (
        "whatever else is asked for"
    )


def test_default_has_the_least_jerk_and_the_smallest_steps_at_90_ms(result) -> None:
    aims = verdict(result["latency_90ms"])
    assert aims["lowest_rms_jerk"] and aims["rms_jerk_below_one_point"] >= 5.0
    part = result["latency_90ms"]
    largest_step = max(limit.acceleration for limit in CONTRACT.limits.values()) * 0.001
    assert part["default"]["seam_step_max"] <= 1.001 * largest_step
    assert all(part[name]["seam_step_max"] > 20 * largest_step for name in METHODS if name != "default")


def agreeing_stream() -> ChunkStream:
    """Every chunk describes the same smooth motion, within the limits: 2 s from rest to rest."""
    stamps = np.arange(28) / 10
    s = np.clip((stamps[:, None] + np.arange(ROWS) / 10) / 2.0, 0.0, 1.0)[:, :, None]
    rows = np.ones((28, ROWS, len(CONTRACT.action_names)))
    rows[:, :, ARM] = HOME + 0.6 * (10 * s**3 - 15 * s**4 + 6 * s**5)
    return ChunkStream(CONTRACT.action_names, 10.0, (Episode("test", HOME, stamps, rows),))


def test_chunks_that_agree_are_followed_exactly_and_late_by_the_lead_alone() -> None:
    stream = agreeing_stream()
    facts = stream_facts(CONTRACT, stream)
    assert facts["disagreement"] < 1e-12 and facts["beyond_limits"] == 0.0
    part = run_control_benchmark(stream, latencies_ms=[90], methods=METHODS)["latency_90ms"]
    aims, ours = verdict(part), part["default"]
    assert aims["lowest_rms_jerk"] and aims["rms_jerk_below_one_point"] > 500
    # 0.6 mrad of it is the servo's; most of the rest is the beginning, which leaves the driver time.
    assert ours["path_error"] < 0.003
    assert ours["path_error"] < 0.3 * min(part[name]["path_error"] for name in ("one_point", "open_loop"))
    assert ours["delay"] == pytest.approx(CONTRACT.command.command_delay_s, abs=0.003)
    assert part["one_point"]["delay"] > 0.18  # latency and a row


def test_chunks_that_begin_later_and_agree_are_followed_exactly_at_their_time() -> None:
    """A policy that is one row late decides for then: no latency is left."""
    plain = agreeing_stream()
    episode = plain.episodes[0]
    later = dataclasses.replace(episode, rows=np.concatenate([episode.rows[1:], episode.rows[-1:]]))
    stream = dataclasses.replace(plain, episodes=(later,), delay_rows=1)
    part = run_control_benchmark(stream, latencies_ms=[90], methods=(*METHODS, "every_frame"))["latency_90ms"]
    for name in ("default", "every_frame"):
        assert part[name]["refused_chunks"] == 0
        assert part[name]["path_error"] < 0.003
        assert part[name]["delay"] == pytest.approx(CONTRACT.command.command_delay_s, abs=0.003)
    # Sent as it arrives, 10 ms before it begins; the mean of what agrees is the same.
    assert part["one_point"]["delay"] < 0.125 and part["ensembling"]["path_error"] < 0.02


def test_facts_of_a_stream() -> None:
    stream = agreeing_stream()
    stream.episodes[0].rows[1::2, :, ARM[1]] += 0.1
    facts = stream_facts(CONTRACT, stream)
    assert facts["disagreement"] == pytest.approx(0.1) and facts["beyond_limits"] > 0.9


def test_the_verdict_demands_all_three() -> None:
    figures = {"rms_jerk": 10.0, "path_error": 0.1}
    part = {name: dict(figures) for name in METHODS} | {"default": {"rms_jerk": 2.0, "path_error": 0.11}}
    assert verdict(part)["holds"]
    for key, value in (("rms_jerk", 2.1), ("path_error", 0.111)):
        worse = part | {"default": part["default"] | {key: value}}
        assert not verdict(worse)["holds"]
    assert not verdict(part | {"ensembling": {"rms_jerk": 1.0, "path_error": 0.1}})["holds"]


def test_the_arm_reaches_a_still_target_by_every_method() -> None:
    rows = np.ones((12, ROWS, len(CONTRACT.action_names)))
    rows[:, :, ARM] = HOME + 0.05
    still = Episode("test", HOME, np.arange(12) / 10, rows)
    robot = free_arm(CONTRACT)
    for method in METHODS:
        drive = drive_episode(CONTRACT, robot, still, method, np.full(12, 0.09))
        assert np.abs(drive.measured[-1] - HOME - 0.05).max() < 0.005, method
        assert np.abs(drive.measured[0] - HOME).max() < 0.005, "starts where the episode says"


def test_streams_survive_their_file_and_bad_files_are_named(tmp_path) -> None:
    stream = load_stream()
    assert len(stream.episodes) >= 4 and len({e.instruction for e in stream.episodes}) >= 4
    assert stream.names == CONTRACT.action_names
    save_stream(tmp_path / "a.npz", dataclasses.replace(stream, episodes=stream.episodes[:1]))
    save_stream(tmp_path / "late.npz", dataclasses.replace(stream, delay_rows=2))
    assert (load_stream(tmp_path / "late.npz").delay_rows, stream.delay_rows) == (2, 1)
    again = load_stream(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.episodes[0].rows, stream.episodes[0].rows)
    assert again.episodes[0].instruction == stream.episodes[0].instruction and again.rate_hz == 10.0
    (tmp_path / "b.npz").write_text("nothing")
    for name in ("b.npz", "missing.npz"):
        with pytest.raises(DatasetError, match=name):
            load_stream(tmp_path / name)
