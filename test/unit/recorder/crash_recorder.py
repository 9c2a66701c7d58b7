"""Records episodes of noise until it is killed; run by test_crash.py as a process of its own."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from recording_samples import CONTRACT, make_frame

from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.recorder.session import RecordingSession
from vla_adapter_ros.recorder.session_types import SessionSettings

FRAMES = 12


def noisy_frame(n: int):
    """Frame n with images that no encoder can make small."""
    rng = np.random.default_rng(n)
    images = {
        name: rng.integers(0, 255, (camera.height, camera.width, 3), dtype=np.uint8)
        for name, camera in CONTRACT.cameras.items()
    }
    return replace(make_frame(n), images=images)


def main() -> None:
    """Print a line before each episode and one after each that is on disk."""
    settings = SessionSettings(on_fail="save", min_disk_bytes=0.0)
    session = RecordingSession(DatasetWriter(sys.argv[1], CONTRACT), CONTRACT, settings)
    frames = [noisy_frame(n) for n in range(FRAMES)]
    number = 0
    while True:
        print("recording", flush=True)
        assert session.start(f"task {number % 3}", 0.0).ok
        for frame in frames:
            session.add_frame(frame)
        saved = session.stop().saved
        # Often the next episode is recorded while this one is being saved.
        saved.add_done_callback(lambda future: print("saved", future.result().index, flush=True))
        if number % 2:
            saved.result()
        while session.status().saving > 1:
            pass
        number += 1


if __name__ == "__main__":
    main()
