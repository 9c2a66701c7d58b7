"""The reference path is the published computation, and the benchmark reports both paths."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vla_adapter_ros.benchmarks.flops import count_flops
from vla_adapter_ros.benchmarks.inference import (
    STAGES,
    format_result,
    random_network,
    run_inference_benchmark,
)
from vla_adapter_ros.benchmarks.reference import ReferencePath
from vla_adapter_ros.errors import ModelConfigError, ParameterError
from vla_adapter_ros.model import VlaAdapterPolicy, preset

from ..model.golden import Golden


@pytest.mark.parametrize("name", ["base", "pro"])
@pytest.mark.parametrize(
    ("key", "dtype"), [("fp32", torch.float32), pytest.param("bf16", torch.bfloat16, marks=pytest.mark.slow)]
)
def test_reference_path_gives_the_golden_actions(name: str, key: str, dtype: torch.dtype) -> None:
    golden = Golden(name)
    policy = VlaAdapterPolicy.from_pretrained(golden.checkpoint, platform="libero", dtype=dtype)
    for i, sample in enumerate(golden.info["samples"]):
        proprio = policy.normalize_proprio(golden.array(i, "proprio_raw"))
        actions = ReferencePath(policy.network).predict(
            torch.from_numpy(np.stack(golden.images(i, "cropped"))),
            torch.from_numpy(golden.array(i, "input_ids")),
            torch.from_numpy(proprio).float(),
        )
        off = np.abs(actions.numpy() - golden.array(i, f"{key}/actions_norm")).max()
        assert off <= golden.tolerance[key]["actions_norm"], sample["task"]


def test_counted_work_is_that_of_the_published_model() -> None:
    """1.50 and 1.30 TFLOP with two images and 56 prompt tokens; 2.15 GB and the head's weights."""
    config = preset("0.5b", action_dim=7, proprio_dim=8)
    assert count_flops(config, 56, 2, everything=True).flop == pytest.approx(1.50e12, rel=0.005)
    cost = count_flops(config, 56, 2, everything=False)
    assert cost.flop == pytest.approx(1.30e12, rel=0.005)
    assert cost.weight_bytes == pytest.approx(2.15e9 + 0.347e9, rel=0.01)


def test_both_paths_are_reported_and_agree(tmp_path: Path) -> None:
    result = run_inference_benchmark("tiny", dtype="fp32", repeats=2, threads=1)
    assert result["max_action_difference"] < 1e-4 < result["largest_action"]
    for path in ("reference", "engine"):
        part = result[path]
        assert all(part[f"{stage}_p50_ms"] > 0 for stage in STAGES)
        assert part["total_p50_ms"] <= part["total_p99_ms"] and part["peak_memory_gb"] > 0.05
    assert result["engine"]["gflop"] < result["reference"]["gflop"]
    json.dumps(result)
    assert "times as fast" in format_result(result)


def test_random_networks_are_repeatable_and_every_input_shows() -> None:
    config = preset("tiny", action_dim=7, proprio_dim=8)
    first, second = (random_network(config, torch.device("cpu"), torch.float32) for _ in range(2))
    same = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    ids, pixels, proprio = torch.tensor([[5, 6, 7]]), torch.rand(1, 2, 3, 56, 56), torch.rand(1, 8)
    with torch.no_grad():
        actions = first(ids, None, pixels, proprio)
        for other in ((ids + 1, pixels, proprio), (ids, 1 - pixels, proprio), (ids, pixels, -proprio)):
            assert (first(other[0], None, *other[1:]) - actions).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int3"}, "int3"),
        ({"name": "7t"}, "7t"),
        pytest.param(
            {"device": "cuda"}, "sees no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)  # fmt: skip
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises((ModelConfigError, ParameterError), match=message):
        run_inference_benchmark(**{"name": "tiny", **options})
