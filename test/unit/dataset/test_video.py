"""The encoder of one camera: where the disk fails it, and what it leaves to others."""

from __future__ import annotations

import contextlib
import os
import resource

import numpy as np
import pytest

from vla_adapter_ros.dataset.video import VideoEncoder, VideoSettings
from vla_adapter_ros.errors import RecordingError


@contextlib.contextmanager
def tiny_files():
    """No file of this process may grow beyond 100 bytes: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:  # before anything else, such as a log, is written
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("images", [3, 200])
def test_a_write_that_fails_is_told_at_once(tmp_path, images):
    """Three images are written when the file is closed, after the encoder has seen its queue's end."""
    rng = np.random.default_rng(0)
    encoder = VideoEncoder(tmp_path / "a.mp4", 10, 64, 64, VideoSettings(crf=1))
    with tiny_files(), pytest.raises(RecordingError, match="encoding failed"):
        for _ in range(images):
            encoder.add_image(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        encoder.finish_video()


@pytest.mark.parametrize("codec", ["h264", "av1"])
def test_no_thread_of_an_encoder_outranks_the_control_thread(tmp_path, codec):
    """SVT-AV1 takes real-time scheduling where it may, as root in a container."""
    encoder = VideoEncoder(tmp_path / "a.mp4", 10, 64, 64, VideoSettings(codec))
    while not encoder.frames:
        encoder.add_image(np.zeros((64, 64, 3), np.uint8))
    policies = {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}
    encoder.finish_video()
    assert not policies & {os.SCHED_FIFO, os.SCHED_RR}
