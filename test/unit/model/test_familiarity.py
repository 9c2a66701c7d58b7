"""How unsure a policy is: what is familiar, limits, and the file."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model.familiarity import (
    FILE,
    Signs,
    choose_limits,
    learn_features,
    read_familiarity,
)

RNG = np.random.default_rng(3)
MIX = RNG.normal(size=(6, 40))


def features(count: int, noise: float = 0.05) -> np.ndarray:
    """Six causes, forty numbers."""
    return (RNG.normal(size=(count, 6)) @ MIX + noise * RNG.normal(size=(count, 40)) + 3.0).astype(np.float32)


def test_familiar_features_are_near_and_others_far():
    known = learn_features(features(400))
    near = [known.distance(f) for f in features(200)]
    assert np.mean(near) == pytest.approx(1.0, abs=0.2)
    far_along = known.distance(known.mean + 15.0 * MIX[0])
    beside = known.distance(known.mean + 2.0 * RNG.normal(size=40))
    assert min(far_along, beside) > 2.0 * max(near)


@pytest.mark.parametrize("bad", [np.ones((10, 4), np.float32), np.ones((100, 4), np.float32)])
def test_too_few_or_equal_features_say_nothing(bad):
    with pytest.raises(CheckpointError):
        learn_features(bad)


def test_few_of_the_successful_episodes_exceed_a_limit():
    def episode() -> Signs:
        return Signs(RNG.gamma(3.0, size=8), np.append(np.nan, RNG.gamma(2.0, size=7)))

    episodes = [episode() for _ in range(200)]
    limits = choose_limits(episodes)
    over = [
        bool((e.distances > limits[0]).any() or (np.nan_to_num(e.disagreements) > limits[1]).any())
        for e in episodes
    ]
    assert 0.02 <= np.mean(over) <= 0.05
    alone = [Signs(np.ones(3), np.full(3, np.nan))] * 3
    assert choose_limits(alone)[0] == 1.0


def test_the_larger_sign_counts_and_a_first_chunk_has_one():
    known = dataclasses.replace(learn_features(features(100)), limits=(2.0, 0.5))
    assert known.uncertainty(1.0, 0.4) == pytest.approx(0.8)
    assert known.uncertainty(3.0, 0.4) == pytest.approx(1.5)
    assert known.uncertainty(1.0, np.nan) == pytest.approx(0.5)


def test_a_checkpoint_keeps_it(tmp_path):
    assert read_familiarity(tmp_path) is None
    known = dataclasses.replace(learn_features(features(100)), limits=(2.0, 0.5))
    known.save(tmp_path)
    again, sample = read_familiarity(tmp_path), features(1)[0]
    assert again is not None and again.limits == (2.0, 0.5)
    assert again.distance(sample) == pytest.approx(known.distance(sample), rel=1e-5)


@pytest.mark.parametrize("content", [b"", b"x" * 100])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=FILE):
        read_familiarity(tmp_path)
