from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_adapter_ros.errors import StatisticsError
from vla_adapter_ros.model import Statistics, read_statistics
from vla_adapter_ros.model.config_parts import OutputConfig
from vla_adapter_ros.model.normalization import (
    FieldStatistics,
    finish_gripper,
    normalize,
    read_entries,
    unnormalize,
)

KINDS = ("q01_q99", "min_max", "mean_std")


def field(low: list[float], high: list[float], mask: list[bool] | None = None) -> FieldStatistics:
    low_, high_ = np.array(low), np.array(high)
    entry = {
        "min": low, "q01": low, "max": high, "q99": high,
        "mean": ((low_ + high_) / 2).tolist(), "std": ((high_ - low_) / 4).tolist(),
    }  # fmt: skip
    if mask is not None:
        entry["mask"] = mask
    return Statistics.from_dict("x", {"action": entry, "proprio": entry}).action


@given(
    low=st.floats(-10, 10),
    width=st.floats(1e-3, 10),
    share=st.floats(-1, 2),
    kind=st.sampled_from(KINDS),
)
def test_unnormalize_inverts_normalize(low: float, width: float, share: float, kind: str) -> None:
    stats = field([low], [low + width])
    value = np.array([low + share * width])
    back = unnormalize(normalize(value, stats, kind), stats, kind)
    np.testing.assert_allclose(back, value, rtol=0, atol=1e-6 * max(1, abs(low)))


def test_ranges_map_to_one() -> None:
    stats = field([0, -1], [2, 3])
    values = np.array([[0, -1], [1, 1], [2, 3]], dtype=float)
    np.testing.assert_allclose(normalize(values, stats, "q01_q99"), [[-1, -1], [0, 0], [1, 1]], atol=1e-7)
    np.testing.assert_allclose(normalize(values, stats, "mean_std"), [[-2, -2], [0, 0], [2, 2]], atol=1e-6)


def test_clipping_and_the_mask() -> None:
    stats = field([0, 0], [1, 1], mask=[True, False])
    values = np.array([5.0, 5.0])
    np.testing.assert_allclose(normalize(values, stats, "min_max", clip=1.0), [1, 5])
    np.testing.assert_allclose(normalize(values, stats, "min_max", clip=1.0, clip_unmasked=True), [1, 1])
    np.testing.assert_allclose(unnormalize(np.array([1.0, 0.3]), stats, "min_max"), [1, 0.3], atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_dimension_becomes_zero_and_comes_back(kind: str) -> None:
    stats = field([0.5, 0], [0.5, 1])
    for seen in (0.5, 0.50001, 0.7):  # sensor noise must not become a large number
        assert normalize(np.array([seen, 0]), stats, kind, clip=5.0)[0] == 0.0
    np.testing.assert_allclose(unnormalize(np.zeros(2), stats, kind)[0], 0.5, atol=1e-7)


def test_official_inference_does_not_zero_a_constant_dimension() -> None:
    stats = field([0.5], [0.5])
    assert normalize(np.array([0.5]), stats, "q01_q99", clip=1.0, zero_range_to_zero=False)[0] == -1.0
    assert normalize(np.array([0.7]), stats, "q01_q99", clip=1.0, zero_range_to_zero=False)[0] == 1.0


def test_wrong_width_is_refused() -> None:
    with pytest.raises(StatisticsError, match="must be 2"):
        normalize(np.zeros((4, 3)), field([0, 0], [1, 1]), "min_max")


def entry() -> dict[str, list[float]]:
    return {
        "mean": [0.0], "std": [1.0], "min": [-1.0], "max": [1.0], "q01": [-1.0], "q99": [1.0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [float("nan")]}, "finite"),
        ({"q99": [1.0, 2.0]}, "one length"),
        ({"min": [2.0]}, "lower bound"),
        ({"std": "much"}, "std|numbers"),
        ({"mask": [True, False]}, "one length"),
        ({"mask": ["false"]}, "true and false"),
        ({"mask": [0]}, "true and false"),
        ({"mask": None}, "true and false"),
        ({"masks": [True]}, r"unknown keys \['masks'\]; allowed are .*'mask'"),
        ({"q50": [0.0]}, r"unknown keys \['q50'\]"),
        ({"std": [-1.0]}, "0 and above"),
        ({"q01": [None]}, "finite"),
        ({"max": [float("inf")]}, "finite"),
    ],
)
def test_bad_statistics_are_refused(change: dict, message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        Statistics.from_dict("x", {"action": entry() | change, "proprio": entry()})


def test_missing_parts_are_refused() -> None:
    with pytest.raises(StatisticsError, match="proprio"):
        Statistics.from_dict("x", {"action": entry()})
    short = entry()
    del short["q01"]
    with pytest.raises(StatisticsError, match="q01"):
        Statistics.from_dict("x", {"action": short, "proprio": entry()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": entry()}, r"unknown keys \['state'\]"),
        ({"num_transitions": "many"}, "whole number"),
        ({"num_trajectories": -1}, "whole number"),
    ],
)
def test_bad_entries_are_refused(change: dict, message: str) -> None:
    with pytest.raises(StatisticsError, match=message):
        Statistics.from_dict("x", {"action": entry(), "proprio": entry()} | change)


@pytest.mark.parametrize("name", ["mean", "std", "min", "max", "q01", "q99"])
def test_every_number_is_needed(name: str) -> None:
    short = entry()
    del short[name]
    with pytest.raises(StatisticsError, match=rf"x\.action lacks \['{name}'\]"):
        Statistics.from_dict("x", {"action": short, "proprio": entry()})


def test_without_a_mask_everything_is_scaled_and_none_is_written_back() -> None:
    stats = Statistics.from_dict("x", {"action": entry(), "proprio": entry()})
    assert stats.proprio.mask.all()
    assert "mask" in stats.to_dict()["action"] and "mask" not in stats.to_dict()["proprio"]
    partly = Statistics.from_dict("x", {"action": entry(), "proprio": entry() | {"mask": [False]}})
    assert partly.to_dict()["proprio"]["mask"] == [False]


@pytest.mark.parametrize("kind", KINDS)
def test_constant_dimensions_are_found(kind: str) -> None:
    assert field([0.5, 0, 1], [0.5, 1, 1], [True, True, False]).constant(kind).tolist() == [
        True,
        False,
        False,
    ]


GRIPPER = np.array([[0.3, 1.0], [0.3, 0.8], [0.3, 0.5], [0.3, 0.0]])


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (OutputConfig(), [1.0, 0.8, 0.5, 0.0]),
        (OutputConfig(gripper_binarize=True), [1.0, 1.0, 0.0, -1.0]),
        (OutputConfig(gripper_invert=True), [0.0, 0.2, 0.5, 1.0]),
        (OutputConfig(gripper_binarize=True, gripper_invert=True), [-1.0, -1.0, 0.0, 1.0]),
    ],
)
def test_the_grippers_column(output: OutputConfig, expected: list[float]) -> None:
    before = GRIPPER.copy()
    done = finish_gripper(GRIPPER, output)
    np.testing.assert_allclose(done[:, 1], expected, atol=1e-12)
    np.testing.assert_array_equal(done[:, 0], before[:, 0])
    np.testing.assert_array_equal(GRIPPER, before)  # the input is left alone
    swapped = finish_gripper(GRIPPER[:, ::-1], dataclasses.replace(output, gripper_columns=(0,)))
    np.testing.assert_array_equal(swapped[:, ::-1], done)
    two = np.hstack([GRIPPER, GRIPPER])
    both = finish_gripper(two, dataclasses.replace(output, gripper_columns=(1, 3)))
    np.testing.assert_array_equal(both, np.hstack([done, done]))
    np.testing.assert_array_equal(finish_gripper(two, dataclasses.replace(output, gripper_columns=())), two)


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "dataset_statistics.json"
    both = {"action": entry(), "proprio": entry(), "num_transitions": 7, "num_trajectories": 2}
    path.write_text(json.dumps({"a": both, "b": both}))
    read = read_statistics(path, "b")
    assert (read.name, read.num_transitions, read.num_trajectories) == ("b", 7, 2)
    assert Statistics.from_dict("b", read.to_dict()).to_dict() == read.to_dict()
    assert {key: value.name for key, value in read_entries(path).items()} == {"a": "a", "b": "b"}
    with pytest.raises(StatisticsError, match=r"\['a', 'b'\]"):
        read_statistics(path)
    path.write_text(json.dumps({"a": both, "b": {}}))  # only the entry that is asked for is looked at
    assert read_statistics(path, "a").name == "a"
    with pytest.raises(StatisticsError, match="'b'"):
        read_entries(path)
    path.write_text("{")
    with pytest.raises(StatisticsError, match="JSON"):
        read_statistics(path)
    with pytest.raises(StatisticsError, match="missing"):
        read_statistics(tmp_path / "none.json")
