"""Random lives of a controller: no limit is broken at any rate, lead, action space or route."""

from __future__ import annotations

import time

import fuzz
import pytest


@pytest.mark.parametrize("seed", [n if n < 3 else pytest.param(n, marks=pytest.mark.slow) for n in range(12)])
def test_a_random_life_keeps_every_limit(seed):
    fuzz.live(seed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_minutes_of_random_lives_keep_every_limit():
    seed = first = int(time.time())
    while time.time() < first + 600:
        seed += 1
        try:
            fuzz.live(seed)
        except BaseException:
            print(f"seed {seed}")  # fuzz.live(seed) repeats it
            raise
    assert seed > first + 10
