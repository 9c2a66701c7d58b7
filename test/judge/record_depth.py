"""Record a small data set with a color and a depth camera, for the judge.

python test/judge/record_depth.py FOLDER
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.camera import Camera
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.observation.frame import Frame

LENGTHS = (12, 13, 14)


def main() -> int:
    """Record into the folder named on the command line, which must be new."""
    contract = dataclasses.replace(
        read_contract("franka_sim"), depth_cameras={"depth": Camera("/depth", 64, 48)}
    )
    random, stamp = np.random.default_rng(0), 0.0
    depth = random.integers(0, 12_000, (48, 64)).astype(np.uint16)  # some unknown, some too far
    with DatasetWriter(sys.argv[1], contract) as writer:
        for length in LENGTHS:
            writer.start_episode("wave")
            for n in range(length):
                stamp += 0.1
                scene = np.linspace(10 * n, 255, 112 * 112 * 3).astype(np.uint8).reshape(112, 112, 3)
                images = dict.fromkeys(contract.cameras, scene) | {"depth": np.roll(depth, n, axis=1)}
                state, action = random.normal(size=11), random.normal(size=8)
                writer.add_frame(Frame(stamp, images, state, action, {}, stamp), 1)
            writer.save_episode()
    return 0


if __name__ == "__main__":
    sys.exit(main())
