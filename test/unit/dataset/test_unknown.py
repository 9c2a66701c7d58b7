"""What was not recorded stays unknown, through imports, contracts, mappings and edits: skip, never pass."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from quality_sets import CONTRACT, STREAMS, edit_column, findings, make_set

from vla_adapter_ros.dataset.column_statistics import column_statistics
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.tools.importing import import_lerobot

TIMED = (
    "dropped_frames",
    "rate_error",
    "stream_age_p95",
    "stream_skew",
    "camera_lag",
    "unknown_ages",
    "timing",
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("recorded") / "set", episodes=2, rows=20)


def without(root, target, *columns):
    """A copy without some columns, as others' data sets are."""
    shutil.copytree(root, target)
    info = json.loads((target / "meta/info.json").read_text())
    for name in columns:
        info["features"].pop(name)
    (target / "meta/info.json").write_text(json.dumps(info))
    for path in (target / "data").rglob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns([c for c in columns if c in table.column_names]), path)
    return target


def test_an_import_does_not_make_times_up(recorded, tmp_path):
    foreign = without(recorded, tmp_path / "foreign", "capture.stamp", "capture.age", "control_source")
    import_lerobot(open_dataset(foreign), CONTRACT, tmp_path / "mine")
    levels = findings(tmp_path / "mine")
    assert {levels[name] for name in TIMED} == {"skip"}, levels
    again = tmp_path / "again"
    import_lerobot(open_dataset(tmp_path / "mine", contract=CONTRACT), CONTRACT, again)
    assert {findings(again)[name] for name in TIMED} == {"skip"}
    stats = json.loads((again / "meta/stats.json").read_text())  # plain JSON: no NaN
    assert stats["capture.age"]["mean"] == [0.0] * len(STREAMS)
    assert "NaN" not in (again / "meta/stats.json").read_text()


def test_ages_that_are_there_come_through_a_contract(recorded, tmp_path):
    dataset = open_dataset(recorded, contract=CONTRACT)
    np.testing.assert_array_equal(
        dataset.rows(0)["capture.age"], open_dataset(recorded).rows(0)["capture.age"]
    )
    import_lerobot(dataset, CONTRACT, tmp_path / "again")
    new = open_dataset(tmp_path / "again").rows(1)
    np.testing.assert_array_equal(new["capture.age"], open_dataset(recorded).rows(1)["capture.age"])
    levels = findings(tmp_path / "again")
    assert {levels[name] for name in TIMED} == {"pass"}


def test_an_import_of_old_with_zeros_is_not_known_either(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "old")
    for path in (tmp_path / "old/data").rglob("*.parquet"):
        edit_column(path, "capture.stamp", lambda old: (np.arange(len(old)) / 10.0).tolist())
        edit_column(path, "capture.age", lambda old: [[0.0] * len(STREAMS)] * len(old))
    levels = findings(tmp_path / "old")
    assert {levels[name] for name in TIMED} == {"skip"}, levels


def test_statistics_leave_out_what_is_unknown():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    found = column_statistics(values)
    assert found["mean"] == [2.0, 0.0] and found["max"] == [3.0, 0.0] and found["count"] == [3]
    assert found["std"] == [1.0, 0.0]
