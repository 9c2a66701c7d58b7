"""Made-up frames of the simulated Franka, each recognizable by its content."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.observation.frame import Frame

CONTRACT = read_contract("franka_sim")


def make_frame(n: int, seed: int = 0) -> Frame:
    """Frame n of an episode: a gradient whose brightness follows n, and random numbers."""
    rng = np.random.default_rng([seed, n])
    y, x = np.mgrid[0:112, 0:112]
    images = {}
    for c, name in enumerate(CONTRACT.cameras):
        base = np.stack([x, y, 112 - x], axis=-1) * 0.5 + 20 * c + 60 * ((n + seed) % 3) + 5 * seed
        images[name] = np.clip(base, 0, 255).astype(np.uint8)
    ages = {name: 0.0 for name in (*CONTRACT.cameras, *CONTRACT.topics, CONTRACT.action.topic)}
    stamp = 50.0 + 100 * seed + 0.1 * n
    return Frame(stamp, images, rng.normal(size=11), rng.normal(size=8), ages, stamp)


def record(writer, task: str, count: int, seed: int = 0):
    """Record a whole episode of `count` frames."""
    writer.start_episode(task)
    for n in range(count):
        writer.add_frame(make_frame(n, seed), 1)
    return writer.save_episode()
