"""Which rows are trained on, and how often each is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_rows import CONTRACT, changed, made_rows

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.training.data.samples import _run_ends
from vla_adapter_ros.training.data.selection import is_idle, pick_rows, split_rows
from vla_adapter_ros.training.settings import FinetuneSettings


def settings(**more) -> FinetuneSettings:
    return FinetuneSettings(**{"steps": 10, "batch_size": 4, "holdout": 0.0, **more})


def test_rows_near_the_end_are_dropped_only_where_asked():
    rows = made_rows(episodes=2, length=20)
    assert len(split_rows(rows, settings(), 8)[0]) == 40
    train, *_ = split_rows(rows, settings(padding="drop"), 8)
    assert train.tolist() == [*range(13), *range(20, 33)]  # the last 7 rows of 20 have no whole chunk
    assert rows.inside(np.array([12, 13, 19]), 8).sum(axis=1).tolist() == [8, 7, 1]


def test_the_same_fraction_of_every_data_set_is_kept_for_validation():
    rows = made_rows(episodes=40, length=2)
    rows = changed(rows, dataset=(rows.episode >= 30).astype(int))
    train, report, is_validation, _ = split_rows(rows, settings(holdout=0.1), 1)
    apart = sorted(set(rows.episode[report]))
    assert is_validation
    assert sum(n < 30 for n in apart) == 3 and sum(n >= 30 for n in apart) == 1
    assert not set(rows.episode[train]) & set(apart)
    assert len(train) + len(report) == 80


def test_a_set_of_ten_episodes_spares_one_and_a_smaller_one_none():
    assert len(set(split_rows(made_rows(10), settings(holdout=0.01), 1)[1] // 20)) == 1
    assert not split_rows(made_rows(9), settings(holdout=0.01), 1)[2]


def test_rows_without_weight_are_neither_trained_nor_reported_on():
    rows = made_rows(episodes=4, length=5)
    weight = np.where(np.arange(20) % 5 < 2, 0.0, 1.0)
    train, report, *_ = split_rows(changed(rows, weight=weight), settings(holdout=0.25), 1)
    assert (weight[train] > 0).all() and (weight[report] > 0).all()


def test_chunks_end_where_someone_else_takes_over():
    human = np.array([1, 1, 0, 0, 0, 1, 1, 1]) > 0
    assert _run_ends(human).tolist() == [1, 1, 4, 4, 4, 7, 7, 7]
    rows = made_rows(episodes=1, length=8)
    rows = changed(rows, until=_run_ends(human), weight=human.astype(float))
    np.testing.assert_array_equal(rows.chunks(np.array([0]), 4)[0], rows.action[[0, 1, 1, 1]])
    train, *_ = split_rows(rows, settings(padding="drop"), 2)
    assert train.tolist() == [0, 5, 6]


def test_idle_rows_are_those_whose_whole_chunk_moves_nothing():
    rows = made_rows(episodes=2, length=20)
    action = np.repeat(rows.action[[0, 20]], 20, axis=0)
    action[:, 7] = 1.0
    action[10:20, 3] += 0.01  # from row 10 on joint 4 is elsewhere
    action[35:, 7] = 0.0  # at row 35 the gripper closes
    still = changed(rows, action=action)
    every = np.arange(40)
    found = np.flatnonzero(is_idle(still, every, 4, 0.005))
    assert found.tolist() == [*range(7), *range(11, 20), *range(20, 32), *range(36, 40)]
    assert is_idle(still, every, 4, 0.02)[:20].all()  # a larger threshold swallows the motion
    train, *_ = split_rows(still, settings(idle_threshold=0.005), 4)
    assert train.tolist() == [7, 8, 9, 10, 32, 33, 34, 35]


def test_deltas_are_idle_if_they_do_not_add_up():
    delta = replace(CONTRACT.action, space="joint_delta", dimensions=tuple(
        replace(d, scale=0.1 if d.unit == "rad" else 1.0) for d in CONTRACT.action.dimensions))  # fmt: skip
    rows = made_rows(episodes=1, length=10, contract=replace(CONTRACT, action=delta))
    action = np.zeros((10, 8))
    action[:, 7] = 1.0
    action[4:8, 0] = 0.02  # 0.002 rad in each row
    rows = changed(rows, action=action)
    assert is_idle(rows, np.arange(10), 4, 0.005).tolist() == [True] * 3 + [False] * 3 + [True] * 4
    assert is_idle(rows, np.arange(10), 4, 0.0081).all()


def test_nothing_left_is_refused_with_the_reasons():
    with pytest.raises(TrainingError, match=r"of 40 rows 40 may be learned from, .* padding = 'drop'"):
        split_rows(made_rows(2), settings(padding="drop"), 21)


def test_weights_say_how_often_a_row_comes():
    rows = np.arange(100, 200)
    weight = np.where(rows < 150, 1.0, 0.25)
    weight[0] = 3.0
    drawn = np.concatenate([pick_rows(rows, step, settings(batch_size=50), weight) for step in range(400)])
    counts = np.bincount(drawn, minlength=200)[100:] / 200  # per pass
    expected = weight * 100 / weight.sum()
    np.testing.assert_allclose(counts, expected, atol=0.12)
    passes = drawn.reshape(200, 100)
    for one in passes[:20]:
        times = np.bincount(one, minlength=200)[100:]
        assert (np.abs(times - expected) < 1).all()  # rounded up or down
    assert (passes[0] != passes[1]).any()


def test_equal_weights_are_no_weights():
    rows = np.arange(7)
    for step in range(5):
        plain = pick_rows(rows, step, settings())
        np.testing.assert_array_equal(pick_rows(rows, step, settings(), np.full(7, 0.3)), plain)
