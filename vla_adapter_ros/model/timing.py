"""How long a policy takes for a chunk on this machine."""

from __future__ import annotations

import time

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.model.policy import VlaAdapterPolicy

RUNS = 10


def measure_predictions(policy: VlaAdapterPolicy, contract: Contract, runs: int = RUNS) -> list[float]:
    """Times of some predictions on blank images of the contract's cameras [s]; warm the policy up before."""
    blank = [np.zeros((c.height, c.width, 3), np.uint8) for c in contract.cameras.values()]
    state, times = np.zeros(len(contract.state)), []
    for _ in range(runs):
        started = time.monotonic()
        policy.predict(blank, "measure", state)
        times.append(time.monotonic() - started)
    return times
