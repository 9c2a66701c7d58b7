"""Which of several ways to compute the same is the fastest on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

Way = TypeVar("Way")
ROUNDS = 5


def fastest(ways: Mapping[Way, Callable[[], object]]) -> Way:
    """The way whose shortest run of some was the shortest; they run in turns, after one run each.

    Others on the machine can only make a run longer, so the shortest tells.
    """
    shortest = dict.fromkeys(ways, float("inf"))
    with torch.inference_mode():
        for number in range(1 + ROUNDS):
            for way, run in ways.items():
                started = time.perf_counter()
                run()
                if number:
                    shortest[way] = min(shortest[way], time.perf_counter() - started)
    return min(shortest, key=lambda way: shortest[way])
