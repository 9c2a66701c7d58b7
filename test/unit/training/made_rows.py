"""Rows made up in memory, for what needs no files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.training.data.samples import Rows

CONTRACT = read_contract("franka_sim")
HOME = np.array([0.0, -0.5, 0.2, -2.0, 0.6, 1.9, 0.8])


def made_rows(episodes: int = 6, length: int = 20, contract: Contract = CONTRACT, seed: int = 0) -> Rows:
    """Episodes around one pose; the gripper closes half-way; the action leads the state by a little."""
    rng = np.random.default_rng(seed)
    count = episodes * length
    number = np.repeat(np.arange(episodes), length)
    way = np.cumsum(rng.normal(scale=0.02, size=(count, 7)), axis=0)
    joints = HOME + way - way[number * length] + rng.normal(scale=0.05, size=(episodes, 7))[number]
    state = np.concatenate(
        [joints, rng.uniform(0, 0.04, (count, 1)), rng.uniform(0.2, 0.5, (count, 3))], axis=1
    )
    closes = np.arange(count) % length >= length // 2
    action = np.concatenate([joints + 0.01 + rng.normal(scale=0.005, size=joints.shape),
                             np.where(closes, 0.0, 1.0)[:, None]], axis=1)  # fmt: skip
    first = number * length
    return Rows(
        state=state,
        action=action,
        episode=number,
        dataset=np.zeros(count, dtype=np.int64),
        task=number % 2,
        first=first,
        last=first + length - 1,
        until=first + length - 1,
        waypoint=np.where(closes, -1, first + length // 2),
        weight=np.ones(count),
        tasks=("pick up the red cube", "pick up the blue cube"),
        names=("made",),
        contract=contract,
    )


def changed(rows: Rows, **fields) -> Rows:
    """Rows with single fields replaced."""
    return replace(rows, **fields)
