"""A recorder killed at random moments, and a disk that is really full."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from crash_recorder import FRAMES, noisy_frame
from recording_samples import CONTRACT, record

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import RecordingError

HERE = Path(__file__).parent


def run_and_kill(root: Path, wait_s: float) -> int:
    """Record into `root` until `wait_s` after the first frame; returns how many episodes were saved."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "crash_recorder.py"), str(root)],
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[2]}{os.pathsep}{HERE.parent}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "recording\n"
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(process.stdout))
    reading.start()
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reading.join()
    assert process.returncode == -signal.SIGKILL
    return sum(line.startswith("saved") for line in lines)


def check(root: Path, least: int) -> int:
    """Everything that was reported as saved is there and readable, before and after the next start."""
    for _ in range(2):
        if (root / "meta/info.json").is_file():
            reader = DatasetReader(root)
            assert reader.num_episodes >= least
            newest = range(max(0, reader.num_episodes - 3), reader.num_episodes)
            for episode in newest:
                assert len(reader.rows(episode)["index"]) == FRAMES
                for camera in reader.cameras:
                    assert reader.decode(camera, episode).shape[0] == FRAMES
        else:
            assert least == 0
        with DatasetWriter(root, CONTRACT) as writer:  # as the next start does, without any human
            episodes = writer.num_episodes
        assert not list(root.rglob("*.tmp"))
    if episodes:
        reader = DatasetReader(root)
        assert reader.stats["action"]["count"] == [reader.num_frames] == [FRAMES * episodes]
    return episodes


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path, kills):
    rng = random.Random(kills)
    root, episodes = tmp_path / "set", 0
    for _ in range(kills):
        saved = run_and_kill(root, rng.uniform(0.0, 0.6))
        episodes = check(root, episodes + saved)
    with DatasetWriter(root, CONTRACT) as writer:
        record(writer, "after all", FRAMES)
    assert DatasetReader(root).num_episodes == episodes + 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB; needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("no mount here")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True)
    if made.returncode:
        pytest.skip(f"may not mount: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_full_keeps_the_earlier_episodes_and_is_used_again(small_disk):
    root, saved = small_disk / "set", 0
    with DatasetWriter(root, CONTRACT, crf=1) as writer:
        with pytest.raises(RecordingError, match=r"(?i)no space left"):
            for _ in range(50):
                writer.start_episode("fill it")
                for n in range(20):
                    writer.add_frame(noisy_frame(n), 1)
                writer.save_episode()
                saved += 1
        assert saved > 0 and not writer.recording
        assert not list(root.rglob("*.tmp"))
        reader = DatasetReader(root)
        assert reader.num_episodes == writer.num_episodes == saved
        assert reader.stats["action"]["count"] == [20 * saved]
        for episode in range(saved):
            assert reader.decode("gripper", episode).shape[0] == 20
        record(writer, "a small one fits into what was freed", 3)
    images = DatasetReader(root).decode("gripper", saved)
    assert len(images) == 3 and np.ptp(images) > 0
