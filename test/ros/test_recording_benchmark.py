"""The measurement of the recorder, short: every image that became a row is the right one."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.benchmarks.recording import format_result, run_recording_benchmark
from vla_adapter_ros.benchmarks.recording_frames import SceneMaker, read_number
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import ParameterError


@pytest.mark.slow
def test_two_cameras_and_an_arm_are_recorded_without_confusion(tmp_path):
    result = run_recording_benchmark(
        minutes=0.1, episode_s=3.0, cores=0, size=(320, 120), camera_hz=15, output=tmp_path
    )
    rows, saving = result["rows"], result["saving"]
    assert saving["episodes"] == 2 and rows["rows"] == rows["decoded"] > 30
    assert rows["misplaced"] == rows["repeated"] == 0
    assert rows["images"] == rows["rows"] + rows["missing"]
    assert saving["stall_p95_s"] < saving["on_disk_p95_s"] + 1.0
    assert 0 < result["cpu"]["encoding"] < result["cpu"]["recorder"]
    assert DatasetReader(tmp_path / "set").num_frames == rows["rows"]
    assert "images without a row" in format_result(result)


def test_numbers_are_read_from_images_and_settings_are_checked():
    maker = SceneMaker(320, 64, seed=3)
    for number in (0, 1, 77, 2**20 - 1):
        noise = np.random.default_rng(number).integers(-20, 20, (64, 320, 3))
        image = np.clip(maker.image(number).astype(int) + noise, 0, 255).astype(np.uint8)
        assert read_number(image) == number
    with pytest.raises(ParameterError, match="minutes"):
        run_recording_benchmark(minutes=0)
