"""A policy is fitted to chunks that begin later than its images."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.errors import ObservationError, TrainingError
from vla_adapter_ros.model import Tokenizer, VlaAdapter, VlaAdapterPolicy, preset
from vla_adapter_ros.training.delays import with_delays

TASK = "pick up the red cube"
ROWS = np.full((2, 8), 0.3)


def test_a_head_that_is_kept_predicts_as_before_whatever_it_is_told(tiny_policy, images):
    late, state = with_delays(tiny_policy, 4, told=True), np.full(11, 0.2)
    assert late.config.state_width == 11 + 4 * 9
    before = tiny_policy.predict(images, TASK, state)
    for committed in (None, ROWS[:0], ROWS, np.zeros((4, 8))):
        np.testing.assert_allclose(late.predict(images, TASK, state, committed), before, atol=1e-5)
    back = with_delays(late, 0, told=False)
    np.testing.assert_array_equal(back.predict(images, TASK, state), before)


def test_what_is_told_counts_once_it_has_weight_and_survives_a_checkpoint(tiny_policy, images, tmp_path):
    late, state = with_delays(tiny_policy, 4, told=True), np.full(11, 0.2)
    weight = late.network.proprio_projector.fc1.weight
    weight.data[:, 11:] = 0.1
    none, some, more = (late.predict(images, TASK, state, rows) for rows in (None, ROWS[:1], ROWS))
    assert np.abs(none - some).max() > 1e-6 and np.abs(some - more).max() > 1e-6
    late.save_pretrained(tmp_path / "late")
    again = VlaAdapterPolicy.from_pretrained(tmp_path / "late")
    assert again.config == late.config and again.config.committed_rows
    assert np.abs(again.predict(images, TASK, state, ROWS) - more).max() < 0.05  # bf16


@pytest.mark.parametrize("rows", [np.zeros((5, 8)), np.zeros((1, 7)), np.zeros(8), np.full((1, 8), np.nan)])
def test_rows_that_do_not_fit_are_refused(tiny_policy, images, rows):
    late = with_delays(tiny_policy, 4, told=True)
    with pytest.raises(ObservationError, match="needed are at most 4 of 8 finite numbers"):
        late.predict(images, TASK, np.zeros(11), rows)


def test_a_policy_that_is_not_told_ignores_them(tiny_policy, images):
    late, state = with_delays(tiny_policy, 4, told=False), np.zeros(11)
    assert late.config.state_width == 11 and late.config.max_delay_rows == 4
    np.testing.assert_array_equal(
        *(late.predict(images, TASK, state, rows) for rows in (None, np.full((9, 9), np.nan)))
    )


def test_a_diffusion_head_cannot_be_told():
    config = preset("tiny", head="dit")
    policy = VlaAdapterPolicy(VlaAdapter(config), config, Tokenizer.from_words())
    with pytest.raises(TrainingError, match="allowed are base and pro"):
        with_delays(policy, 4, told=True)
    assert with_delays(policy, 4, told=False).config.max_delay_rows == 4
