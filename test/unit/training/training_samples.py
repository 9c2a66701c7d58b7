"""A tiny data set whose actions follow from its images and sentences, and a backbone to train on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.model import Tokenizer, VlaAdapter, VlaAdapterPolicy, preset
from vla_adapter_ros.observation.frame import Frame

CONTRACT = read_contract("franka_sim")
TASKS = ("move left", "move right")
LENGTH, CLOSES = 10, 6


def make_dataset(root: Path, episodes: int = 8, control_source: int = 1) -> Path:
    """Episodes of 10 rows: joint 1 goes where the sentence says, the gripper closes at row 6."""
    rng = np.random.default_rng(0)
    with DatasetWriter(root, CONTRACT) as writer:
        for number in range(episodes):
            sign = 1 if number % 2 else -1
            start = rng.uniform(-0.3, 0.3, size=7)
            writer.start_episode(TASKS[number % 2])
            for n in range(LENGTH):
                state = np.concatenate([start, [0.04, 0.5, start[0], 0.3]])
                state[0] += sign * 0.05 * n
                action = np.concatenate([state[:7], [1.0 if n < CLOSES else 0.0]])
                action[0] += sign * 0.05
                shade = np.uint8(100 + 200 * start[0])
                images = {name: np.full((112, 112, 3), shade) for name in CONTRACT.cameras}
                stamp = 100.0 * number + 0.1 * n
                writer.add_frame(Frame(stamp, images, state, action, {}, stamp), control_source)
            writer.save_episode()
    return root


def make_backbone(folder: Path) -> Path:
    """A backbone smaller than tiny, so that tests are fast; it has learned nothing."""
    tiny = preset("tiny")
    config = replace(
        tiny,
        llm=replace(tiny.llm, hidden=64, intermediate=128, layers=2),
        head=replace(tiny.head, blocks=2),
        stem=replace(tiny.stem, image_size=16, channels=(8, 16, 16, 32), mlp_width=64),
        preprocessing=replace(tiny.preprocessing, size=16),
        num_task_tokens=2 * 4,
        projector_width=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        VlaAdapterPolicy(VlaAdapter(config), config, Tokenizer.from_words()).save_pretrained(folder)
    return folder
