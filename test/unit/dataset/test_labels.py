"""Outcomes and interventions: what is stored with an episode, changed on disk, and carried into copies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from recording_samples import CONTRACT, make_frame, record

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.dataset import labels, layout, outcome
from vla_adapter_ros.dataset.column_statistics import column_statistics
from vla_adapter_ros.dataset.journal import JOURNAL
from vla_adapter_ros.dataset.labels import label_episodes
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.outcome import (
    INTERVENTION,
    LONGEST_REASON,
    SUCCESS,
    Label,
    count_interventions,
    intervention_rows,
    read_label,
)
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.consolidate import consolidate
from vla_adapter_ros.dataset.tools.editing import merge
from vla_adapter_ros.dataset.trial_facts import TRIAL, TrialFacts, read_facts_of, read_labels, read_notes
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError, RecordingError

SUCCEEDED, DROPPED = Label(Outcome.SUCCESS), Label(Outcome.FAILURE, "dropped")
RUN = [0, 2, 2, 1, 1, 0, 1, 2, 1]
FACTS = TrialFacts("2026-11-30T12:00:00Z", "tiny@12345678", 0.8, 4 / 9, 2, 4 / 9, 0.1, 0.2)


def record_run(writer: DatasetWriter, sources: list[int], seed: int = 0, **notes) -> None:
    writer.start_episode("lift the cube")
    for n, source in enumerate(sources):
        writer.add_frame(make_frame(n, seed), source)
    writer.save_episode(notes)


def succeeded(root: Path) -> list[list[bool]]:
    reader = DatasetReader(root)
    return [reader.rows(n)[SUCCESS].tolist() for n in range(reader.num_episodes)]


def check_statistics(root: Path) -> None:
    """Stored statistics of `next.success` are those of the rows, episode by episode and over all."""
    columns = [np.array(rows) for rows in succeeded(root)]
    assert DatasetReader(root).stats[SUCCESS] == column_statistics(np.concatenate(columns))
    stored = [
        row
        for path in sorted((root / "meta/episodes").glob("*/*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    for row, column in zip(stored, columns, strict=True):
        for name, value in column_statistics(column).items():
            assert row[f"stats/{SUCCESS}/{name}"] == value


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Three episodes: one that a human corrected, one of a human alone, one of the policy that succeeded."""
    root = tmp_path_factory.mktemp("runs") / "set"
    with DatasetWriter(root, CONTRACT) as writer:
        record_run(writer, RUN, **{TRIAL: FACTS.as_json()})
        record_run(writer, [1, 1, 1], seed=1)
        record_run(writer, [2, 2, 2, 2], seed=2, **SUCCEEDED.as_json())
    return root


@pytest.fixture
def root(tmp_path, recorded):
    return Path(shutil.copytree(recorded, tmp_path / "set"))


def test_interventions_are_what_a_human_leads_after_the_policy():
    assert intervention_rows(RUN).tolist() == [False] * 3 + [True, True, False, True, False, True]
    assert count_interventions(RUN) == 2  # nobody led for a moment: still the same one
    for sources in ([1, 1, 0, 2, 2], [0, 0], [], [1]):
        assert not intervention_rows(sources).any() and count_interventions(sources) == 0


def test_columns_and_notes_of_what_was_recorded(recorded):
    reader = DatasetReader(recorded)
    for name in (INTERVENTION, SUCCESS):
        assert reader.features[name] == {"dtype": "bool", "shape": [1], "names": None}
        assert reader.rows(0)[name].dtype == bool
    assert reader.rows(0)[INTERVENTION].tolist() == intervention_rows(RUN).tolist()
    assert not reader.rows(1)[INTERVENTION].any()
    assert succeeded(recorded) == [[False] * 9, [False] * 3, [False] * 3 + [True]]
    assert read_labels(reader) == [Label(), Label(), SUCCEEDED]
    assert read_facts_of(read_notes(reader)[0]) == FACTS
    check_statistics(recorded)


def test_a_label_is_written_changed_and_taken_back(root):
    label_episodes(root, [0, 1], SUCCEEDED)
    assert succeeded(root) == [[False] * 8 + [True], [False] * 2 + [True], [False] * 3 + [True]]
    check_statistics(root)
    label_episodes(root, [0], DROPPED)
    label_episodes(root, [2], Label())
    assert read_labels(open_dataset(root)) == [DROPPED, SUCCEEDED, Label()]
    assert succeeded(root) == [[False] * 9, [False] * 2 + [True], [False] * 4]
    check_statistics(root)
    assert read_facts_of(read_notes(open_dataset(root))[0]) == FACTS
    left = [p.name for p in root.rglob("*") if p.suffix == ".tmp"]
    assert not left and not (root / JOURNAL).exists()
    with DatasetWriter(root, CONTRACT) as writer:  # and it goes on
        record(writer, "lift the cube", 3)
        writer.label_episode(3, SUCCEEDED)
        writer.label_episode(1, Label())
        record(writer, "lift the cube", 2)
        check_statistics(root)
        assert writer.undo_episode() == 4
    assert read_labels(open_dataset(root)) == [DROPPED, Label(), Label(), SUCCEEDED]
    check_statistics(root)


@pytest.mark.parametrize("name", ["_write_rows", "_write_facts", "_write_statistics"])
def test_after_a_crash_the_set_can_be_read_and_labeled_again(root, monkeypatch, name):
    def crash(path: Path, *_) -> None:
        half = path / layout.STATS if path.is_dir() else path
        half.with_name(half.name + ".tmp").write_bytes(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(labels, name, crash)
        with pytest.raises(KeyboardInterrupt):
            label_episodes(root, [0], SUCCEEDED)
    assert read_labels(open_dataset(root))[0] == Label()
    with DatasetWriter(root, CONTRACT) as writer:
        writer.label_episode(0, SUCCEEDED)
    check_statistics(root)
    assert read_labels(open_dataset(root))[0] == SUCCEEDED


def test_a_set_with_several_episodes_in_a_file(root, tmp_path):
    new = consolidate(root, tmp_path / "joined").root
    before = pq.ParquetFile(new / "data/chunk-000/file-000.parquet").metadata
    label_episodes(new, [1], SUCCEEDED)
    assert succeeded(new) == [[False] * 9, [False] * 2 + [True], [False] * 3 + [True]]
    check_statistics(new)
    after = pq.ParquetFile(new / "data/chunk-000/file-000.parquet").metadata
    groups = [[m.row_group(n).num_rows for n in range(m.num_row_groups)] for m in (before, after)]
    assert groups[0] == groups[1] == [9, 3, 4]


def test_a_copy_keeps_what_was_said_and_which_rows_were_corrected(root, tmp_path):
    label_episodes(root, [0], DROPPED)
    merge([open_dataset(root), open_dataset(root)], tmp_path / "twice")
    twice = open_dataset(tmp_path / "twice")
    assert read_labels(twice) == [DROPPED, Label(), SUCCEEDED] * 2
    assert read_facts_of(read_notes(twice)[3]) == FACTS
    assert twice.rows(3)[INTERVENTION].tolist() == intervention_rows(RUN).tolist()
    assert succeeded(tmp_path / "twice") == succeeded(root) * 2


def test_a_set_of_an_older_version_goes_on_as_it_was_begun(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, DatasetWriter(tmp_path, CONTRACT) as writer:
        patch.setattr(outcome, "COLUMNS", ())
        writer.close()
        shutil.rmtree(tmp_path / "meta")
        with DatasetWriter(tmp_path, CONTRACT) as old:
            record(old, "lift the cube", 3)
    assert not {INTERVENTION, SUCCESS} & set(DatasetReader(tmp_path).features)
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        record_run(writer, RUN, seed=1)
        writer.label_episode(0, DROPPED)
    assert SUCCESS not in DatasetReader(tmp_path).rows(1)
    label_episodes(tmp_path, [1], SUCCEEDED)
    assert read_labels(open_dataset(tmp_path)) == [DROPPED, SUCCEEDED]


def test_a_set_of_others_says_it_by_its_column(root):
    (root / layout.RECORDINGS).unlink()
    (root / layout.CONTRACT).unlink()
    others = open_dataset(root)
    assert read_labels(others) == [Label(Outcome.FAILURE), Label(Outcome.FAILURE), SUCCEEDED]
    label_episodes(root, [2], DROPPED)  # from now on our notes count
    assert read_labels(open_dataset(root)) == [Label(), Label(), DROPPED]


def test_what_is_refused(root):
    with pytest.raises(DatasetError, match=r"episode 3: allowed are 0 to 2"):
        label_episodes(root, [0, 3], DROPPED)
    assert read_labels(open_dataset(root))[0] == Label()  # nothing of it was done
    with DatasetWriter(root, CONTRACT) as writer:
        with pytest.raises(RecordingError, match=r"episode 7: allowed are 0 to 2"):
            writer.label_episode(7, DROPPED)
        with pytest.raises(DatasetError, match="another process is recording"):
            label_episodes(root, [0], DROPPED)
    (root / layout.RECORDINGS).write_text("{")
    with pytest.raises(DatasetError, match=r"recordings.json: not readable"):
        label_episodes(root, [0], DROPPED)


@pytest.mark.parametrize(
    ("said", "why", "problem"),
    [
        ("won", "", "outcome = 'won': allowed is one of"),
        ("", "dropped", "allowed with an outcome alone"),
        ("failure", "x" * (LONGEST_REASON + 1), "allowed are 200 characters"),
        ("failure", "two\nlines", "none of them a control character"),
        ("failure", "a\u202eb", "none of them a control character"),
    ],
)
def test_what_is_no_label(said, why, problem):
    with pytest.raises(RecordingError, match=problem):
        read_label(said, why)


def test_notes_of_strangers_are_no_facts():
    for entry in ({}, {TRIAL: "x"}, {TRIAL: {"interventions": -1, "latency_p50_s": "x", "duration_s": True}}):
        assert json.dumps(read_facts_of(entry).as_json()) == '{"interventions": 0, "intervention_share": 0.0}'
    assert read_facts_of({TRIAL: {"checkpoint": "x" * 9999}}).checkpoint == "x" * 300
    assert outcome.stored_label({"outcome": ["success"], "outcome_reason": 3}) == Label()
