"""What a user meets in the first hour: no nodes to speak to, scenes recorded twice, what comes next."""

from __future__ import annotations

import argparse
import json
import shlex

import numpy as np
import pytest

from vla_adapter_ros.cli import replay
from vla_adapter_ros.cli.demo import how_to_go_on
from vla_adapter_ros.cli.main import _parser, main
from vla_adapter_ros.cli.seen_scenes import FIRST_SCENE, SCENES, first_scene
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.nodes import recorder_client
from vla_adapter_ros.observation.frame import Frame

CONTRACT = read_contract("franka_sim")


@pytest.fixture
def dataset(tmp_path):
    ages = dict.fromkeys((*CONTRACT.cameras, *CONTRACT.topics, CONTRACT.action.topic), 0.0)
    image = np.full((112, 112, 3), 90, np.uint8)
    with DatasetWriter(tmp_path / "set", CONTRACT) as writer:
        writer.start_episode("lift")
        for n in range(3):
            images = dict.fromkeys(CONTRACT.cameras, image)
            writer.add_frame(Frame(0.1 * n, images, np.zeros(11), np.zeros(8), ages, 0.1 * n), 1)
        writer.save_episode()
    return tmp_path / "set"


def sentence(capsys, *words: str) -> str:
    """The one line of a command that did not do it."""
    assert main([*words]) == 1
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1
    return told.err


def test_without_nodes_replay_and_attach_say_what_to_start(dataset, monkeypatch, capsys):
    monkeypatch.setattr(replay, "DISCOVERY_S", 0.1)
    monkeypatch.setattr(replay, "LISTENERS_S", 0.2)
    monkeypatch.setattr(recorder_client, "FOUND_WITHIN_S", 0.2)
    for more in ((), ("--commands",)):
        told = sentence(capsys, "dataset", "replay", str(dataset), "--episode", "0", *more)
        assert "nobody listens to " in told and "start the nodes first" in told
    told = sentence(capsys, "record", "--attach")
    assert "no recorder answers in ROS_DOMAIN_ID" in told and "`vla-adapter record --dataset PATH`" in told


def test_scenes_are_not_recorded_twice(dataset, tmp_path, capsys):
    assert first_scene(tmp_path / "new", None) == FIRST_SCENE
    assert first_scene(tmp_path / "new", 7) == 7
    with pytest.raises(DatasetError, match=r"does not say which scenes it shows: name one .* with --seed"):
        first_scene(dataset, None)
    assert first_scene(dataset, 500) == 500
    (dataset / SCENES).write_text(json.dumps({"next_seed": 510}))
    assert first_scene(dataset, None) == first_scene(dataset, 510) == 510
    told = sentence(capsys, "collect-demos", "--dataset", str(dataset), "--episodes", "1", "--seed", "509")
    assert f"--seed 509: {dataset} may show" in told and "the next free one is 510" in told
    for text in ("", "[]", "{}", '{"next_seed": "x"}'):
        (dataset / SCENES).write_text(text)
        with pytest.raises(DatasetError, match=r"scenes\.json cannot be read"):
            first_scene(dataset, None)


def test_the_demo_ends_with_commands_that_there_are():
    lines = [line.strip() for line in how_to_go_on().splitlines() if line.startswith("  ")]
    found = [_parser().parse_args(shlex.split(line)[1:]) for line in lines if line.startswith("vla-adapter ")]
    assert all(isinstance(options, argparse.Namespace) for options in found)
    assert [options.command for options in found] == ["bringup", "instruct"]
    assert found[1].instruction == "pick up the red cube"
