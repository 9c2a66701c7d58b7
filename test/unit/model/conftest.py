"""A small untrained policy that the tests of this folder share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.model import Statistics, Tokenizer, VlaAdapter, VlaAdapterPolicy, preset


def entry(width: int, seed: int) -> dict[str, list[float]]:
    """Plausible statistics of one vector."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(-2, 0, width)
    high = low + rng.uniform(0.5, 2, width)
    arrays = {"min": low, "max": high, "q01": low + 0.01, "q99": high - 0.01}
    arrays |= {"mean": (low + high) / 2, "std": (high - low) / 4}
    return {name: array.tolist() for name, array in arrays.items()}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def statistics() -> Statistics:
    return Statistics.from_dict("drawer", {"action": entry(8, 1), "proprio": entry(11, 2)})


@pytest.fixture
def tiny_policy(statistics: Statistics) -> VlaAdapterPolicy:
    torch.manual_seed(0)
    config = preset("tiny")
    network = VlaAdapter(config).eval()
    return VlaAdapterPolicy(network, config, Tokenizer.from_words(), statistics, read_contract("franka_sim"))


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(2)]
