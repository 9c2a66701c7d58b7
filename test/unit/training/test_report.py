"""The report: errors against baselines, and whether the policy listens to its sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_samples import CONTRACT, make_backbone, make_dataset

from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.recording.reader import DatasetReader
from vla_adapter_ros.training.data import compute_statistics, load_samples
from vla_adapter_ros.training.report import format_report, make_report


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


def test_errors_are_those_of_single_predictions(parts):
    policy, samples = parts
    rows = np.array([0, 3, 12, 25, 39])
    report = make_report(policy, samples, rows, CONTRACT.action_names, held_out=True, seed=0)
    reader_images = samples.images[rows]
    single, repeat, mean = [], [], []
    for n, row in enumerate(rows):
        wanted = samples.chunks(np.array([row]), 8)[0]
        chunk = policy.predict(list(reader_images[n]), samples.tasks[samples.task[row]], samples.state[row])
        before = samples.action[max(row - 1, row // 10 * 10)]
        single.append(np.abs(chunk - wanted).mean(axis=0))
        repeat.append(np.abs(before - wanted).mean(axis=0))
        mean.append(np.abs(samples.action.mean(axis=0) - wanted).mean(axis=0))
    np.testing.assert_allclose(report.error, np.mean(single, axis=0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(report.repeat_error, np.mean(repeat, axis=0))
    np.testing.assert_allclose(report.mean_error, np.mean(mean, axis=0))
    text = format_report(report)
    assert "5 held-out rows" in text
    assert all(name in text for name in CONTRACT.action_names)


def test_a_policy_that_is_deaf_to_its_sentence_is_found_out(parts):
    policy, samples = parts
    rows = np.arange(0, 40, 3)
    hears = make_report(policy, samples, rows, CONTRACT.action_names, held_out=True, seed=0)
    assert max(hears.sentence_change) > 0
    deaf = VlaAdapterPolicy(policy.network, policy.config, policy.tokenizer, policy.statistics)
    deaf.tokenize = lambda texts: policy.tokenize(["move"] * len(texts))
    report = make_report(deaf, samples, rows, CONTRACT.action_names, held_out=True, seed=0)
    assert report.sentence_change == pytest.approx((0.0,) * 8)
    after_closing = np.array([8, 9, 18])
    late = make_report(policy, samples, after_closing, CONTRACT.action_names, held_out=False, seed=0)
    assert late.sentence_change is None
    assert "too few episodes" in format_report(late)
