"""The report: errors against baselines, and whether the policy listens to its instruction."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from training.training_samples import CONTRACT, make_backbone, make_dataset

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.evaluation import metrics, report
from vla_adapter_ros.evaluation.metrics import ActionStatistics, Errors, InstructionTest, predict_chunks
from vla_adapter_ros.evaluation.report import OpenLoopReport, conclusions, format_report, make_report
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.samples import compute_statistics, load_samples

NAMES = CONTRACT.action_names
ROWS = np.arange(0, 20)  # the first two episodes


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    reader = DatasetReader(make_dataset(folder / "set", episodes=4))
    backbone = VlaAdapterPolicy.from_pretrained(make_backbone(folder / "backbone"))
    size = backbone.config.preprocessing.size
    samples = load_samples(reader, CONTRACT, backbone.resize_images, size)
    torch.manual_seed(0)
    policy = backbone.with_new_head(
        action_dim=8, proprio_dim=11, chunk=8, statistics=compute_statistics("set", samples, CONTRACT)
    )
    return policy, samples


@pytest.fixture
def say(monkeypatch):
    """Lets a function (samples, rows, tasks) answer in place of the policy."""

    def put(answer):
        def predict(policy, samples, rows, tasks=None):
            return answer(samples, rows, samples.task[rows] if tasks is None else tasks)

        monkeypatch.setattr(metrics, "predict_chunks", predict)
        monkeypatch.setattr(report, "predict_chunks", predict)

    return put


def report_on(parts, rows=ROWS, **more) -> OpenLoopReport:
    return make_report(*parts, rows, NAMES, is_validation=True, seed=0, **more)


def test_errors_are_those_of_single_predictions_and_steps_past_the_end_do_not_count(parts):
    policy, samples = parts
    rows = np.array([0, 3, 12, 25, 39])
    train = np.arange(5, 15)
    found = report_on(parts, rows, train_rows=train)
    step_errors = [[[] for _ in range(8)] for _ in range(3)]
    for row in rows:
        images, sentence = list(samples.images[np.array([row])][0]), samples.tasks[samples.task[row]]
        chunk = policy.predict(images, sentence, samples.state[row])
        before = samples.action[max(row - 1, row // 10 * 10)]
        for step in range(min(8, (row // 10 + 1) * 10 - row)):
            wanted = samples.action[row + step]
            for kind, given in enumerate((chunk[step], before, samples.action[train].mean(axis=0))):
                step_errors[kind][step].append(np.abs(given - wanted))
    for kind, name in enumerate(("policy", "repeat", "mean")):
        by_step = [np.mean(errors, axis=0) for errors in step_errors[kind]]
        np.testing.assert_allclose(getattr(found.evaluated, f"{name}_steps"), by_step, rtol=1e-3, atol=1e-5)
        whole = np.mean(list(itertools.chain(*step_errors[kind])), axis=0)
        np.testing.assert_allclose(getattr(found.evaluated, name), whole, rtol=1e-3, atol=1e-5)
    assert (found.error, found.evaluated.repeat, found.evaluated.mean) == (
        found.evaluated.policy,
        found.evaluated.repeat,
        found.evaluated.mean,
    )
    assert found.evaluated.episodes == (0, 1, 2, 3)
    assert len(step_errors[0][7]) == 2 < len(rows)  # so few rows have a whole chunk before them


def test_training_rows_are_those_of_the_other_episodes(parts, say):
    _, samples = parts
    say(lambda samples, rows, tasks: samples.chunks(rows, 8) + (rows >= 20)[:, None, None])
    found = report_on(parts)
    np.testing.assert_allclose(found.std, samples.action[20:].std(axis=0))
    assert found.trained.episodes == (2, 3)
    assert found.trained.rows == 20
    np.testing.assert_allclose(found.trained.policy, 1.0, atol=1e-6)
    np.testing.assert_allclose(found.error, 0.0, atol=1e-9)
    everything = report_on(parts, np.arange(40))
    assert everything.trained is None
    np.testing.assert_allclose(everything.std, samples.action.std(axis=0))
    reference = ActionStatistics.of(samples.action[:5])
    given = report_on(parts, train_rows=np.arange(0), reference=reference)
    assert given.trained is None
    np.testing.assert_allclose(given.std, reference.std)
    with pytest.raises(TrainingError, match="0 rows to evaluate"):
        report_on(parts, np.arange(0))


def test_comparisons_per_dimension_and_overall(parts, say):
    def answer(samples, rows, tasks):
        chunk = samples.chunks(rows, 8).copy()
        chunk[:, :, 1] = samples.action[np.maximum(rows - 1, samples.first[rows]), 1][:, None]  # as repeat
        chunk[:, :, 2] = 9.0
        return chunk

    say(answer)
    found = report_on(parts)
    compared = dict(zip(NAMES, found.comparisons(), strict=True))
    assert compared["fr3_joint1"] == "better than both"
    assert compared["fr3_joint3"] == "worse than both"
    assert compared["fr3_joint2"] in ("worse than repeat", "worse than both")
    assert not found.beats_baselines  # 9 rad off in one joint
    text = format_report(found)
    assert "THIS POLICY DOES NOT BEAT BOTH BASELINES" in text
    assert "fr3_joint3 (worse than both)" in text
    say(lambda samples, rows, tasks: samples.chunks(rows, 8))
    good = report_on(parts)
    assert good.beats_baselines
    assert "beats both baselines overall" in format_report(good)
    assert good.overall()[0] == pytest.approx(0.0, abs=1e-6) and good.overall()[1] > 0.1
    assert all(name in text for name in NAMES)


def test_a_dimension_that_never_moves_is_not_evaluated():
    actions = np.column_stack([np.linspace(0, 1, 50), np.full(50, 1.5), np.full(50, 1.5) + 1e-7])
    reference = ActionStatistics.of(actions)
    assert reference.constant.tolist() == [False, True, True]
    errors = Errors(
        9, (0,), (0.1, 5.0, 5.0), (0.5, 0.0, 0.0), (0.5, 0.0, 0.0), ((0.1, 5.0, 5.0),), ((0.5, 0.0, 0.0),),
        ((0.5, 0.0, 0.0),),
    )  # fmt: skip
    spread, constant = tuple(reference.std.tolist()), (False, True, True)
    found = OpenLoopReport(
        ("a", "b", "c"), (), True, errors, None, spread, constant, InstructionTest("x"), True, None
    )
    assert found.comparisons() == ("better than both", "constant", "constant")
    assert found.overall()[0] == pytest.approx(0.1 / reference.std[0])
    still = dataclasses.replace(found, constant=(True,) * 3, beats_baselines=False)
    assert conclusions(still)[0].startswith("No action ever moves")


def test_a_policy_that_is_deaf_to_its_sentence_is_found_out(parts):
    policy, samples = parts
    assert max(report_on(parts).instructions.change) > 0
    deaf = VlaAdapterPolicy(policy.network, policy.config, policy.tokenizer, policy.statistics)
    deaf.tokenize = lambda texts: policy.tokenize(["move"] * len(texts))
    found = report_on((deaf, samples))
    assert found.instructions.change == pytest.approx((0.0,) * 8)
    assert found.language_blind and found.exit_status == 3
    assert "THIS POLICY IS LANGUAGE-BLIND" in format_report(found)


def test_sentences_must_help_and_not_only_change_something(parts, say):
    def answer(better: bool):
        def of(samples, rows, tasks):
            own = (tasks == samples.task[rows])[:, None, None]
            return samples.chunks(rows, 8) + np.where(own, 0.1, 0.2 if better else 0.1) * (2 * own - 1)

        return of

    say(answer(True))
    hears = report_on(parts)
    assert hears.language_blind is False and hears.exit_status == 0
    assert hears.instructions.gain == pytest.approx(1.0)
    assert hears.instructions.fraction == 1.0
    np.testing.assert_allclose(hears.instructions.wrong, 0.2, atol=1e-9)
    np.testing.assert_allclose(hears.instructions.change, 0.3, atol=1e-9)
    assert "listens to its instruction: wrong instructions change its error by +100%" in format_report(hears)
    say(answer(False))
    random = report_on(parts)
    assert max(random.instructions.change) == pytest.approx(0.2)
    assert random.instructions.gain == pytest.approx(0.0)
    assert random.language_blind


def test_only_rows_before_the_gripper_closes_tell_about_sentences(parts, say):
    _, samples = parts
    say(lambda samples, rows, tasks: samples.chunks(rows, 8))
    assert report_on(parts).instructions.rows == 12  # 6 of 10 rows of two episodes
    late = report_on(parts, np.array([8, 9, 18]))
    assert late.instructions.change is None and late.language_blind is None and late.exit_status == 0
    assert "not measurable: no row lies before a gripper closes" in format_report(late)
    one_task = dataclasses.replace(samples, tasks=samples.tasks[:1], task=np.zeros_like(samples.task))
    found = report_on((parts[0], one_task))
    assert "not measurable: the data set has one instruction only" in format_report(found)
    gripperless = dataclasses.replace(samples, waypoint=np.full_like(samples.waypoint, -1))
    assert report_on((parts[0], gripperless)).instructions.rows == 20


def test_each_row_gets_other_instructions_and_no_two_alike():
    shifts = metrics._other_tasks(50, 5, seed=3)
    assert shifts.shape == (metrics.WRONG_INSTRUCTIONS, 50)
    assert shifts.min() >= 1 and shifts.max() <= 4
    assert all(len(set(column)) == len(column) for column in shifts.T)
    assert metrics._other_tasks(50, 2, seed=3).shape == (1, 50)


def test_predictions_in_batches_are_those_of_the_policy(parts):
    policy, samples = parts
    rows = np.array([3, 17])
    other = 1 - samples.task[rows]
    for given in (None, other):
        tasks = samples.task[rows] if given is None else given
        found = predict_chunks(policy, samples, rows, given)
        for n, row in enumerate(rows):
            images = list(samples.images[rows][n])
            single = policy.predict(images, samples.tasks[tasks[n]], samples.state[row])
            np.testing.assert_allclose(found[n], single, atol=1e-4)


def test_a_report_survives_json(parts):
    found = report_on(parts)
    stored = json.loads(json.dumps(dataclasses.asdict(found)))
    assert stored["language_blind"] == found.language_blind
    assert OpenLoopReport(**stored) == found
    assert (
        OpenLoopReport(**json.loads(json.dumps(dataclasses.asdict(report_on(parts, np.arange(40)))))).trained
        is None
    )
