"""Rates of streams, from the times at which samples came."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.nodes.stream_rates import WINDOW_S, StreamRates


@pytest.mark.parametrize("rate", [2.0, 10.0, 30.0, 1000.0])
def test_a_steady_stream_has_its_rate(rate):
    rates = StreamRates(["camera", "joints"])
    for at in np.arange(0.0, 5.0, 1.0 / rate):
        rates.note("camera", float(at))
    assert rates.rate_hz("camera", 5.0) == pytest.approx(rate, rel=1e-6)
    assert rates.rate_hz("joints", 5.0) == 0.0
    assert rates.rate_hz("camera", 5.0 + WINDOW_S) == 0.0


def test_one_sample_has_no_rate():
    rates = StreamRates(["camera"])
    rates.note("camera", 1.0)
    assert rates.rate_hz("camera", 1.0) == 0.0
