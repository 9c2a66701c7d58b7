"""Demonstrations of a world's expert become a data set, the same however often it was interrupted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from stand_in_world import use_stand_in

from vla_adapter_ros.cli import collect_metaworld as collecting
from vla_adapter_ros.cli.main import main
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.resume import read_recordings
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.simulation.worlds import metaworld_tasks as mt50
from vla_adapter_ros.simulation.worlds.demonstrations import demonstrate


@pytest.fixture
def collect(monkeypatch):
    python = use_stand_in(monkeypatch)
    monkeypatch.setattr(collecting, "world_python", lambda name: python)
    monkeypatch.setattr(mt50, "CHILD", "stand_in_world")
    return collecting.collect_metaworld


def content(folder):
    data = DatasetReader(folder)
    notes = [entry[collecting.NOTE] for entry in read_recordings(folder, data.num_episodes)]
    return data, notes


def test_an_interrupted_collection_is_completed_and_the_same(tmp_path, collect, monkeypatch):
    tasks = ["push", "door-open"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert collect(whole, tasks, 3) == (6, [])
    write, written = collecting._write, []

    def interrupted(*arguments):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(write(*arguments))

    monkeypatch.setattr(collecting, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect(parts, tasks, 3, jobs=2)
    monkeypatch.setattr(collecting, "_write", write)
    assert collect(parts, tasks, 3, jobs=2) == (4, [])
    assert collect(parts, tasks, 3) == (0, [])
    (first, notes), (second, same) = content(whole), content(parts)
    assert notes == same and [note["noise"] for note in notes[:3]] == list(collecting.NOISE)
    assert all(note["episode_seed"] < 2**31 for note in notes)
    for number in range(6):
        ours, others = first.rows(number), second.rows(number)
        assert all(np.array_equal(ours[key], others[key]) for key in ("action", "observation.state"))
        assert first.task_of(number) == mt50.SENTENCES[notes[number]["task"]]
    with pytest.raises(DatasetError, match="no demonstrations with --seed 1"):
        collect(whole, tasks, 3, seed=1)


def test_a_task_at_which_the_script_fails_does_not_end_the_others(tmp_path, collect, monkeypatch, capsys):
    asked = []

    def fails_at_push(world, cameras, *, task, noise, **more):
        asked.append((task, noise))
        return None if task == "push-v3" else demonstrate(world, cameras, task=task, noise=noise, **more)

    monkeypatch.setattr(collecting, "demonstrate", fails_at_push)
    command = ["collect-metaworld", "--dataset", str(tmp_path / "d"), "--per-task", "2", "--tasks"]
    assert main([*command, "push,door-open"]) == 1
    told = capsys.readouterr().out
    assert "push, demonstration 1: the scripted policy failed in every episode" in told
    assert told.count("failed") == 2 and DatasetReader(tmp_path / "d").num_episodes == 2
    disturbed = [noise for task, noise in asked if task == "push-v3"][collecting.MOST_ATTEMPTS :]
    assert len(disturbed) == collecting.MOST_ATTEMPTS and disturbed[0] == collecting.NOISE[1]
    assert all(later < before for before, later in pairwise(disturbed))
    assert main([*command, "door-open"]) == 0


def test_the_command_says_which_tasks_there_are(capsys, tmp_path):
    assert main(["collect-metaworld", "--tasks", "swim", "--dataset", str(tmp_path / "d")]) == 2
    assert "--tasks swim: allowed are button-press, " in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_without_meta_world_it_is_said_how_to_get_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("VLA_ADAPTER_METAWORLD_PYTHON", str(tmp_path / "python"))
    assert main(["collect-metaworld", "--dataset", str(tmp_path / "d")]) == 1
    assert "VLA_ADAPTER_METAWORLD_PYTHON" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()
