"""The whole loop at length: record, fine-tune, deploy; and the demo without OpenGL."""

from __future__ import annotations

import pytest

from vla_adapter_ros.cli.collect_demos import collect_demonstrations
from vla_adapter_ros.cli.demo import run_demo
from vla_adapter_ros.cli.seen_scenes import first_scene
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.training.finetune import finetune

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_what_is_recorded_trains_a_checkpoint_that_runs(tmp_path):
    dataset, checkpoint = tmp_path / "demonstrations", tmp_path / "checkpoint"
    recorded = collect_demonstrations(dataset, 4, logs=tmp_path / "logs")
    assert recorded.episodes == 4 == DatasetReader(dataset).num_episodes
    assert first_scene(dataset, None) == 10_000 + recorded.episodes + recorded.discarded
    result = finetune(dataset, checkpoint, steps=60, progress=False)
    assert sum(result.losses[-10:]) < 0.6 * sum(result.losses[:10])
    demo = run_demo(episodes=1, swap=False, checkpoint=str(checkpoint), output=tmp_path / "demo")
    assert demo["episodes"] == 1  # it ran; four demonstrations are too few to ask for success
    assert demo["images_received"]["third_view"] == demo["images_expected"]


def test_demo_by_ray_casting(tmp_path):
    result = run_demo(episodes=10, renderer="raycast", output=tmp_path)
    assert result["successes"] >= 9
    assert result["swapped_successes"] >= 8
    assert set(result["images_received"].values()) == {result["images_expected"]}
