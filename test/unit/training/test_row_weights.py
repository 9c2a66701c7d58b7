"""Corrections and outcomes as weights of rows: exact weights, rows never drawn, a training that goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from recording_samples import CONTRACT, make_frame

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.dataset.labels import label_episodes
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.outcome import INTERVENTION, Label
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.training.data.data_sources import open_sources
from vla_adapter_ros.training.data.row_weights import RowWeights, weigh_rows
from vla_adapter_ros.training.data.samples import read_rows
from vla_adapter_ros.training.data.selection import pick_rows, split_rows
from vla_adapter_ros.training.finetune_plan import make_plan
from vla_adapter_ros.training.run import require_same_training
from vla_adapter_ros.training.setting_words import OutcomeFilter
from vla_adapter_ros.training.settings import FinetuneSettings

LED = ([1, 1, 0, 1], [1, 2, 2, 1, 1, 2], [2, 2, 1, 1], [2, 1, 2])
"""Who led in each row: a demonstration, then runs with corrections: a success, a failure, one unsaid."""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "set"
    with DatasetWriter(root, CONTRACT) as writer:
        for number, sources in enumerate(LED):
            writer.start_episode("lift the cube")
            for n, source in enumerate(sources):
                writer.add_frame(make_frame(n, number), source)
            writer.save_episode()
    label_episodes(root, [1], Label(Outcome.SUCCESS))
    label_episodes(root, [2], Label(Outcome.FAILURE, "dropped"))
    return root


def settings(**more) -> FinetuneSettings:
    return FinetuneSettings(**{"steps": 10, "batch_size": 4, "holdout": 0.0, **more})


def weights_of(root: Path, **more) -> list[float]:
    sources, _ = open_sources(f"{root}=2")
    return (read_rows(sources, CONTRACT, RowWeights.of(settings(**more))).weight / 2).tolist()


def test_weights_are_exact(root):
    demonstration, run, failed, unsaid = [1, 1, 0, 1], [1, 0, 0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0]
    assert weights_of(root) == demonstration + run + failed + unsaid  # as before
    corrected = [1, 0, 0, 5, 5, 0], [0, 0, 5, 5], [0, 5, 0]
    assert weights_of(root, intervention_weight=5) == sum(corrected, demonstration)
    with_policy = [1, 0.2, 0.2, 3, 3, 0.2], [0.2, 0.2, 3, 3], [0.2, 3, 0.2]
    assert weights_of(root, intervention_weight=3, source_weights=(0, 1, 0.2)) == sum(
        with_policy, [1, 1, 0, 1]
    )
    assert weights_of(root, intervention_weight=0) == demonstration + [1] + [0] * 12
    assert weights_of(root, outcome="success") == [0] * 4 + run + [0] * 7
    assert weights_of(root, outcome="not-failure") == demonstration + run + [0] * 4 + unsaid


def test_rows_that_are_left_out_are_never_drawn_and_corrections_more_often(root):
    chosen = settings(intervention_weight=3, outcome="not-failure", batch_size=8)
    rows = read_rows(open_sources(root)[0], CONTRACT, RowWeights.of(chosen))
    train = split_rows(rows, chosen).train
    drawn: Counter[int] = Counter()
    for step in range(700):
        drawn.update(pick_rows(train, step, chosen, rows.weight[train]).tolist())
    # Three rows of the demonstration, one before the policy's first, and the corrections.
    assert set(drawn) == {0, 1, 3, 4, 7, 8, 15}
    per_weight = [drawn[row] / rows.weight[row] for row in drawn]
    assert max(per_weight) / min(per_weight) < 1.03  # in 800 passes of seven rows


def test_chunks_of_corrections_end_where_the_policy_goes_on(root):
    rows = read_rows(open_sources(root)[0], CONTRACT, RowWeights.of(settings(intervention_weight=5)))
    assert rows.until[[4, 7, 8]].tolist() == [4, 8, 8]


def test_a_set_without_the_column_says_the_same(root):
    data = open_dataset(root)
    columns = {
        n: np.concatenate([data.rows(e)[n] for e in range(4)]) for n in ("control_source", INTERVENTION)
    }
    weights = RowWeights(intervention=5.0)
    known = weigh_rows(data, columns, weights)
    del columns[INTERVENTION]
    np.testing.assert_array_equal(weigh_rows(data, columns, weights), known)


def test_nothing_left_to_learn_from_says_what_is_missing(root, tmp_path):
    with DatasetWriter(tmp_path / "set", CONTRACT) as writer:
        writer.start_episode("lift the cube")
        writer.add_frame(make_frame(0), 1)
        writer.save_episode()
    with pytest.raises(TrainingError, match=r"outcome = 'success' leaves none of its 1 episodes: label them"):
        weights_of(tmp_path / "set", outcome="success")
    with pytest.raises(TrainingError, match="no row in which a policy was in control"):
        weights_of(tmp_path / "set", source_weights=(0, 0, 1))


def test_a_training_does_not_go_on_with_other_episodes(root):
    chosen = settings(outcome="not-failure")
    before = make_plan(root, chosen).record
    assert before["kept_episodes"] == ["1101"] and before["outcome"] == OutcomeFilter.NOT_FAILURE
    require_same_training(before, make_plan(root, chosen).record)
    label_episodes(root, [3], Label(Outcome.FAILURE))
    try:
        with pytest.raises(TrainingError, match=r"kept_episodes: \['1101'\] then, \['1100'\] now"):
            require_same_training(before, make_plan(root, chosen).record)
        assert "kept_episodes" not in make_plan(root, settings()).record
    finally:
        label_episodes(root, [3], Label())
