"""Which failures an unsure policy announces, and when."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated arm needs mujoco: pip install mujoco")

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import checkpoints_folder
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.evaluation.conditions import conditions
from vla_adapter_ros.evaluation.doubts import (
    Watched,
    calibrate,
    describe_alarms,
    first_alarm,
    format_alarms,
    report_of,
    watch_episodes,
)
from vla_adapter_ros.evaluation.suite import Ending, Result

SHIPPED = checkpoints_folder() / "franka_sim_tiny"
RNG = np.random.default_rng(5)


def episode(success: bool, strange_from: int | None = None, chunks: int = 8, task: str = "pick") -> Watched:
    """Features around 0, those of a strange episode far off from a chunk on; a chunk every 0.4 s."""
    features = RNG.normal(size=(chunks, 12))
    if strange_from is not None:
        features[strange_from:] += 12.0
    ending = Ending.SUCCESS if success else Ending.TIMED_OUT
    result = Result(0, task, 1, "pick up the red cube", "red", ending, "", 0.4 * chunks, chunks)
    apart = np.append(np.nan, RNG.gamma(4.0, 0.05, chunks - 1))
    return Watched(result, 0.4 * np.arange(chunks), features.astype(np.float32), apart)


@pytest.fixture(scope="module")
def known():
    found, facts = calibrate([episode(True) for _ in range(200)] + [episode(False) for _ in range(9)])
    assert facts["successes"] == 200 and facts["alarms_in_other_successes"] <= 0.05
    return found


def test_an_alarm_has_the_time_of_the_first_strange_chunk(known):
    strange = episode(False, strange_from=3)
    assert first_alarm(known, strange) == pytest.approx(1.2)


def test_failures_are_announced_in_time_or_not(known):
    early, late = episode(False, strange_from=2), episode(False, strange_from=7)
    quiet = dataclasses.replace(known, limits=(3 * known.limits[0], 9.0))
    found = describe_alarms(quiet, [early, late, episode(False), episode(True), episode(True)])
    assert (found["failures"], found["announced"], found["successes"]) == (3, 1, 2)
    assert found["ahead_s"] == pytest.approx([0.4, 2.4]) and found["false_alarms"] == 0


def test_the_report_has_a_line_per_task(known):
    episodes = [episode(False, 1, task="light"), episode(True, task="camera")]
    report = report_of(known, episodes, conditions("pick_perturbed", SHIPPED, episodes=2))
    json.dumps(report, allow_nan=False)
    told = format_alarms(report).splitlines()
    assert [line.split()[0] for line in told[1:4]] == ["camera", "light", "all"]


def test_too_few_successes_say_nothing():
    with pytest.raises(CheckpointError, match="39 of 45 episodes succeeded"):
        calibrate([episode(True) for _ in range(39)] + [episode(False) for _ in range(6)])


def test_a_watched_episode_has_features_and_disagreements_of_each_chunk():
    (found,) = watch_episodes(conditions("pick", SHIPPED, episodes=1, longest_s=1.0))
    assert len(found.times) == len(found.features) == len(found.disagreements) == found.result.chunks >= 2
    assert np.isnan(found.disagreements[0]) and np.isfinite(found.disagreements[1:]).all()
    assert found.features.shape[1] == 4 * 128 and np.ptp(found.features, axis=0).max() > 0


def test_a_checkpoint_that_was_never_calibrated_says_how(tmp_path, capsys):
    folder = tmp_path / "policy"
    folder.mkdir()
    for file in SHIPPED.iterdir():
        if file.is_file() and file.name != "uncertainty.safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    assert main(["evaluate", "uncertainty", "--checkpoint", str(folder), "--episodes", "1"]) == 2
    assert "checkpoint calibrate" in capsys.readouterr().err
