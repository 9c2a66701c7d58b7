"""Trials in data sets, their rates, the table, and the command."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from recording_samples import CONTRACT, make_frame

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.cli.main import main
from vla_adapter_ros.dataset.outcome import Label
from vla_adapter_ros.dataset.trial_facts import TRIAL, TrialFacts
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.trials.rates import success_rates, wilson_interval
from vla_adapter_ros.trials.table import COLUMNS, to_csv
from vla_adapter_ros.trials.trial import Trial, read_trials

SUCCESS, FAILURE = Outcome.SUCCESS, Outcome.FAILURE


def facts(hour: int, checkpoint: str, interventions: int = 0) -> TrialFacts:
    return TrialFacts(
        f"2026-11-30T{hour:02}:00:00Z",
        checkpoint,
        1.5,
        0.8,
        interventions,
        0.2 * (interventions > 0),
        0.1,
        0.2,
    )


RUNS = (  # in the order in which they were recorded
    ([2, 2], facts(9, "lift_v2@22"), Label(SUCCESS)),
    ([2, 1], facts(8, "lift_v1@11", 1), Label(SUCCESS)),
    ([1, 1], TrialFacts("2026-11-30T07:00:00Z", "", 1.0, 0.0), Label(SUCCESS)),  # a demonstration
    ([2, 2], facts(10, "lift_v1@11"), Label(FAILURE, "dropped")),
    ([2, 1, 2], None, Label()),  # of an older version
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("lab") / "runs"
    with DatasetWriter(root, CONTRACT) as writer:
        for number, (sources, known, label) in enumerate(RUNS):
            writer.start_episode("lift")
            for n, source in enumerate(sources):
                writer.add_frame(make_frame(n, number), source)
            writer.save_episode(({TRIAL: known.as_json()} if known else {}) | label.as_json())
    return root


def test_the_runs_of_policies_in_the_order_in_which_they_began(root):
    older, first, second, third = read_trials([root])
    assert [t.episode for t in (older, first, second, third)] == [4, 1, 0, 3]
    assert (older.facts.checkpoint, older.facts.interventions, older.outcome) == ("", 1, None)
    assert older.facts.duration_s == pytest.approx(0.2) and older.facts.intervention_share == pytest.approx(
        1 / 3
    )
    assert first.facts == RUNS[1][1] and first.outcome is SUCCESS and not first.succeeded
    assert second.succeeded and second.instruction == "lift" and second.dataset == "runs"
    assert (third.outcome, third.reason) == (FAILURE, "dropped")


def test_rates_by_checkpoint_and_instruction(root):
    unknown, old, new = success_rates(read_trials([root]))
    assert (unknown.trials, unknown.unlabeled) == (0, 1) and math.isnan(unknown.rate)
    assert (old.checkpoint, old.instruction) == ("lift_v1@11", "lift")
    assert (old.trials, old.successes, old.helped, old.rate) == (2, 0, 1, 0.0)
    assert (new.trials, new.successes, new.rate) == (1, 1, 1.0)
    assert (new.low, new.high) == wilson_interval(1, 1)


@pytest.mark.parametrize(
    (
        "successes",
        "trials",
        "low",
        "high",
    ),  # of Wilson's formula in Newcombe, Statistics in Medicine 17, 1998
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_the_published_one(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=6e-5)
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=6e-5)


def test_without_any_trial_the_rate_may_be_anything():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_a_table_holds_no_formula():
    evil = Trial("=set", 3, "+1+1", TrialFacts(checkpoint="@cmd"), FAILURE, '-2+3,"x"')
    header, line = csv.reader(io.StringIO(to_csv([evil])))
    row = dict(zip(header, line, strict=True))
    assert tuple(header) == COLUMNS
    assert (row["dataset"], row["instruction"], row["checkpoint"]) == ("'=set", "'+1+1", "'@cmd")
    assert row["reason"] == '\'-2+3,"x"' and row["duration_s"] == "" and row["episode"] == "3"


def test_the_command(root, tmp_path, capsys):
    assert main(["trials", str(root), "--csv", str(tmp_path / "t.csv")]) == 0
    said = capsys.readouterr().out
    assert "2026-11-30T10:00:00Z | runs 3 | lift | failure: dropped, 1.5 s" in said
    assert "lift_v1@11 | lift | 0 of 2,   0% (0% to 66%), 1 with help" in said
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 5
    assert main(["trials", str(root), "--compare", "lift_v1", "lift_v2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["comparison"]["pairs"] == 1 and told["comparison"]["better"] == ""
    assert told["trials"][0]["latency_p50_s"] is None and told["rates"][2]["rate"] == 1.0
    assert main(["trials", str(root), "--compare", "lift_v1@11", "lift_v2", "--paired"]) == 0
    assert "not enough trials yet: about" in capsys.readouterr().out
    for wrong, why in ((["lift", "lift_v2"], "2 checkpoints begin so"), (["x", "lift_v2"], "no trial of it")):
        assert main(["trials", str(root), "--compare", *wrong]) == 1
        assert f"{why}: allowed are lift_v1@11, lift_v2@22" in capsys.readouterr().err
    assert main(["trials", str(root), "--paired"]) == 1
    assert main(["trials", str(tmp_path)]) == 1


def test_a_set_without_runs_says_so(tmp_path, capsys):
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        writer.start_episode("lift")
        writer.add_frame(make_frame(0), 1)
        writer.save_episode()
    assert main(["trials", str(tmp_path)]) == 0
    assert "no episode in which a policy led" in capsys.readouterr().out
    assert (
        main(["dataset", "label", str(tmp_path), "--episodes", "0", "--outcome", "failure", "--reason", "a"])
        == 0
    )
    assert "1 episodes: failure: a" in capsys.readouterr().out
    label = ["dataset", "label", str(tmp_path), "--episodes"]
    assert main([*label, "0", "--outcome", "failure", "--reason", "a"]) == 0
    assert "1 episodes: failure: a" in capsys.readouterr().out
    assert main([*label, "0", "--outcome", "none"]) == 0
    assert main([*label, "1", "--outcome", "success"]) == 1
    assert "episode 1: allowed are 0 to 0" in capsys.readouterr().err
