"""Checks of an episode: each fault is seen, a good episode passes, and what is unknown is skipped."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from recording_samples import CONTRACT

from vla_adapter_ros.dataset.quality.checks import CHECKS, Scope, checks_of
from vla_adapter_ros.dataset.quality.episode import FUNCTIONS, validate_episode
from vla_adapter_ros.dataset.quality.images import measure_images
from vla_adapter_ros.dataset.quality.monitor import EpisodeMonitor
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings, read_settings
from vla_adapter_ros.dataset.video import VideoEncoder, VideoSettings, decode_frames
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.observation.frame import Frame

T, FPS = 60, 10.0
SETTINGS = QualitySettings()
LOW = np.array([CONTRACT.limits[j].position[0] for j in CONTRACT.arm_joints])
HIGH = np.array([CONTRACT.limits[j].position[1] for j in CONTRACT.arm_joints])


def moving_images(count: int = T) -> np.ndarray:
    """A bright square that travels over a noisy gray table: uint8 (T, 48, 64, 3)."""
    rng = np.random.default_rng(3)
    images = rng.integers(90, 110, size=(count, 48, 64, 3), dtype=np.uint8)
    for n in range(count):
        x = 2 * n % 50
        images[n, 10:30, x : x + 12] = 200
    return images


def good() -> Samples:
    """Six seconds in which every joint moves and the gripper closes."""
    t = np.arange(T) / FPS
    arm = (LOW + HIGH) / 2 + 0.3 * np.sin(2 * np.pi * t / 6)[:, None] * np.ones(7)
    finger = np.where(t < 3, 0.04, 0.0)[:, None]
    state = np.hstack([arm, finger, 0.1 * arm[:, :3]])
    action = np.hstack([arm + 0.02, np.where(t < 3, 1.0, 0.0)[:, None]])
    ages = np.tile([0.0, 0.03, 0.005, 0.01, 0.02], (T, 1))
    images = {name: measure_images(moving_images(), SETTINGS) for name in CONTRACT.cameras}
    streams = (*CONTRACT.cameras, *CONTRACT.topics, CONTRACT.action.topic)
    return Samples(
        FPS, state, action, CONTRACT.state_names, CONTRACT.action_names, 100 + t, ages, streams, images,
        refused={}, sources=np.ones(T, int),
    )  # fmt: skip


def with_images(samples: Samples, images: np.ndarray) -> Samples:
    return replace(samples, images={**samples.images, "gripper": measure_images(images, SETTINGS)})


def frozen(count: int) -> np.ndarray:
    images = moving_images()
    images[20 : 20 + count] = images[20]
    return images


def changed(values: np.ndarray, change) -> np.ndarray:
    values = values.copy()
    change(values)
    return values


def test_a_good_episode_passes_every_check():
    report = validate_episode(good(), SETTINGS, CONTRACT)
    assert {check.level for check in report.findings} == {"pass"}, report.issues
    assert report.level == "pass"
    assert len(report.findings) == len(checks_of(Scope.EPISODE))
    assert not report.issues
    assert all("\n" not in line for line in report.lines)


def set_at(row, column, value):
    def change(values):
        values[row, column] = value

    return change


def keep_arm(values):
    values[:, :7] = values[0, :7]


def copy_next(samples: Samples) -> Samples:
    action = samples.action.copy()
    action[:-1, :7] = samples.state[1:, :7]
    return replace(samples, action=action)


def idle(samples: Samples, rows: slice, at: int) -> Samples:
    state, action = samples.state.copy(), samples.action.copy()
    state[rows], action[rows] = state[at], action[at]
    return replace(samples, state=state, action=action)


FAULTS = {
    "nan": ("missing_values", "fail", lambda s: replace(s, state=changed(s.state, set_at(4, 2, np.nan)))),
    "one gap": ("dropped_frames", "warn", lambda s: replace(s, stamps=s.stamps + 0.2 * (np.arange(T) > 30))),
    "counted": ("dropped_frames", "fail", lambda s: replace(s, dropped=5)),
    "damaged once": (
        "refused_images",
        "warn",
        lambda s: replace(s, refused={"gripper": (1, "JPEG is damaged")}),
    ),
    "damaged": (
        "refused_images",
        "fail",
        lambda s: replace(s, refused={"third_view": (1, "a"), "gripper": (T // 10, "b")}),
    ),
    "18 of 20 Hz": ("rate_error", "fail", lambda s: replace(s, stamps=s.stamps[0] + np.arange(T) / 9.0)),
    "3 % slow": ("rate_error", "warn", lambda s: replace(s, stamps=s.stamps[0] + np.arange(T) / 9.7)),
    "old": ("stream_age_p95", "fail", lambda s: replace(s, ages=s.ages + np.array([0, 0, 0.25, 0, 0]))),
    "skew": ("stream_skew", "warn", lambda s: replace(s, ages=changed(s.ages, set_at(9, 1, 0.2)))),
    "one period old": (
        "camera_lag",
        "warn",
        lambda s: replace(s, ages=s.ages + np.array([0, 0.05, 0, 0, 0])),
    ),
    "one measured period old": ("camera_lag", "warn", lambda s: replace(s, periods={"gripper": 1 / 30})),
    "frozen": ("frozen_camera", "warn", lambda s: with_images(s, frozen(12))),
    "frozen long": ("frozen_camera", "fail", lambda s: with_images(s, frozen(40))),
    "repeated": (
        "repeated_frames",
        "fail",
        lambda s: with_images(s, np.repeat(moving_images(30), 2, axis=0)),
    ),
    "black": ("black_camera", "fail", lambda s: with_images(s, moving_images() // 25)),
    "black once": (
        "black_camera",
        "warn",
        lambda s: with_images(s, changed(moving_images(), set_at(5, slice(None), 3))),
    ),
    "dark": ("dark_images", "warn", lambda s: with_images(s, moving_images() // 4)),
    "saturated": ("saturated_images", "fail", lambda s: with_images(s, moving_images() | 0xFE)),
    "still": ("constant_joints", "fail", lambda s: replace(s, state=changed(s.state, keep_arm))),
    "copied": ("action_is_next_state", "fail", copy_next),
    "idle head": ("idle_head", "warn", lambda s: idle(s, slice(0, 30), 0)),
    "idle tail": ("idle_tail", "warn", lambda s: idle(s, slice(30, T), 30)),
    "outside": ("state_limits", "warn", lambda s: replace(s, state=changed(s.state, set_at(T - 1, 1, 1.8)))),
    "too fast": ("state_limits", "fail", lambda s: replace(s, state=changed(s.state, set_at(7, 0, 1.0)))),
    "far command": (
        "action_limits",
        "warn",
        lambda s: replace(s, action=changed(s.action, set_at(7, 3, 0.5))),
    ),
    "led by nobody": ("unled_rows", "fail", lambda s: replace(s, sources=np.zeros(T, int))),
    "led late": ("unled_rows", "warn", lambda s: replace(s, sources=(np.arange(T) > 0.6 * T).astype(int))),
    "no grasp": (
        "gripper_motion",
        "warn",
        lambda s: replace(s, action=changed(s.action, set_at(slice(None), 7, 1))),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault):
    name, level, spoil = FAULTS[fault]
    report = validate_episode(spoil(good()), SETTINGS, CONTRACT)
    assert report[name].level == level, report[name].line
    assert report[name].line in report.issues
    assert report.level in (level, "fail")


def test_what_is_unknown_is_skipped_and_not_passed():
    samples = replace(good(), stamps=None, ages=None, images={}, refused=None, sources=None)
    report = validate_episode(samples, SETTINGS, None)
    skipped = {check.name for check in report.findings if check.level == "skip"}
    assert skipped == {
        "dropped_frames", "rate_error", "stream_age_p95", "stream_skew", "camera_lag", "repeated_frames",
        "frozen_camera", "black_camera", "dark_images", "saturated_images", "state_limits", "action_limits",
        "gripper_motion", "unled_rows", "refused_images", "unknown_ages",
    }  # fmt: skip
    assert report.level == "pass"
    assert report["state_limits"].as_json() == {
        "name": "state_limits", "level": "skip", "value": None, "text": "no contract",
    }  # fmt: skip


def test_one_row_is_checked_too():
    s = good()
    one = replace(s, state=s.state[:1], action=s.action[:1], stamps=s.stamps[:1], ages=s.ages[:1],
                  sources=s.sources[:1], images={name: m[:1] for name, m in s.images.items()})  # fmt: skip
    assert validate_episode(one, SETTINGS, CONTRACT).level == "warn"  # the gripper does nothing


def test_live_and_from_arrays_give_the_same_report():
    samples, images = good(), moving_images()
    monitor = EpisodeMonitor(CONTRACT)
    for episode in range(2):
        monitor.clear()
        for n in range(T):
            ages = dict(zip(samples.streams, samples.ages[n], strict=True))
            frame = Frame(samples.stamps[n], dict.fromkeys(CONTRACT.cameras, images[n]), samples.state[n],
                          samples.action[n], ages, samples.stamps[n])  # fmt: skip
            monitor.add_frame(frame)
        if episode:
            monitor.count_dropped(5)
            monitor.count_refused_image("gripper", "first")
            monitor.count_refused_image("gripper", "second")
    assert monitor.num_frames == T
    report = monitor.validate(samples.sources)
    assert report["dropped_frames"].level == "fail"
    assert "2 images in 60 rows (camera gripper), the first: first;" in report["refused_images"].text
    spoilt = replace(samples, dropped=5, refused={"gripper": (2, "first")})
    assert report.findings == validate_episode(spoilt, SETTINGS, CONTRACT).findings


def test_a_camera_that_is_always_one_period_old_is_named_with_the_cure():
    late = replace(good(), ages=good().ages + np.array([0, 0.06, 0, 0, 0]))
    line = "camera gripper is always one period old (0.90): make it the reference camera"
    assert validate_episode(late, SETTINGS, CONTRACT)["camera_lag"].text.startswith(line)
    assert validate_episode(late, SETTINGS)["camera_lag"].text.startswith(line)
    drifting = changed(late.ages, set_at(slice(None), 1, np.arange(T) % 10 / 100))
    assert validate_episode(replace(late, ages=drifting), SETTINGS, CONTRACT)["camera_lag"].level == "pass"
    jitter = changed(late.ages, set_at(slice(None), 1, -12e-6))  # of the same time, stamped a little later
    assert validate_episode(replace(late, ages=jitter), SETTINGS, CONTRACT)["camera_lag"].level == "pass"


@pytest.mark.parametrize("crf", [18, 30])
def test_a_frozen_camera_is_seen_through_the_codec(tmp_path, crf):
    for name, images in (("moves", moving_images()), ("frozen", frozen(40))):
        encoder = VideoEncoder(tmp_path / name, 10, 64, 48, VideoSettings(crf=crf))
        for image in images:
            encoder.add_image(image)
        encoder.finish_video()
        decoded = decode_frames(tmp_path / name, 0.0, T, 10.0)
        samples = replace(good(), images={"gripper": measure_images(decoded, SETTINGS)})
        report = validate_episode(samples, SETTINGS, CONTRACT)
        wanted = "pass" if name == "moves" else "fail"
        assert (report["frozen_camera"].level, report["repeated_frames"].level) == (wanted, wanted)


def test_settings_are_read_and_refused(tmp_path):
    path = tmp_path / "report.yaml"
    path.write_text("idle_head: [0.5, .inf]\nblack_level: 20\n")
    settings = read_settings(path)
    assert settings.limits_of("idle_head") == (0.5, math.inf)
    assert settings.black_level == 20
    assert settings.limits_of("idle_tail") == SETTINGS.limits_of("idle_tail")
    assert read_settings({}) == SETTINGS
    assert validate_episode(
        good(), read_settings({c.name: (c.warn, math.inf) for c in CHECKS if not c.below}), CONTRACT
    )
    off = {c.name: (-math.inf, -math.inf) if c.below else (math.inf, math.inf) for c in CHECKS}
    assert validate_episode(idle(good(), slice(0, 30), 0), read_settings(off), CONTRACT).level == "pass"
    for text, words in (
        ("idle_heads: [1, 2]", "idle_heads"),
        ("idle_head: [2, 1]", "warn <= fail"),
        ("dark_images: [10, 20]", "warn >= fail"),
        ("idle_head: 3", "two numbers"),
        ("black_level: -1", "black_level"),
        ("- 1", "allowed is a mapping"),
    ):
        path.write_text(text)
        with pytest.raises(ParameterError, match=words):
            read_settings(path)
    path.write_text("idle_head: [2, 1]\nblack_level: -1\nchunk_rows: many\nidle_heads: [1, 2]\n1: 2\n")
    with pytest.raises(ParameterError) as refused:
        read_settings(path)
    first, *lines = str(refused.value).splitlines()
    assert first == f"{path}: 5 errors:"
    assert [line.split(": ")[0].strip() for line in lines] == [
        "quality.black_level = -1",
        "quality.chunk_rows = 'many'",
        "quality.idle_head = [2, 1]",
        "quality[1] = 1",
        "quality = ['idle_heads']",
    ]
    with pytest.raises(ParameterError, match="not readable"):
        read_settings(tmp_path / "missing.yaml")


def test_every_check_of_an_episode_has_a_function_and_every_name_is_used_once():
    assert list(FUNCTIONS) == [check.name for check in checks_of(Scope.EPISODE)]
    assert len({check.name for check in CHECKS}) == len(CHECKS)
