"""Odd paths through all that reads and writes: each works, or ends with one sentence before any work."""

from __future__ import annotations

import argparse
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from odd_paths import BAD, GOOD, listing, move_in

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import read_contract, write_contract
from vla_adapter_ros.control.urdf import read_urdf
from vla_adapter_ros.dataset.mapping import read_mapping
from vla_adapter_ros.dataset.quality.settings import read_settings
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError, KinematicsError, PathError, VlaAdapterError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.paths import expand, locate
from vla_adapter_ros.training.data.data_sources import open_sources, parse_source
from vla_adapter_ros.untrusted import read_yaml

good = pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
QUICK = ("home", "colon", "like an address", "percent", "newline", "dash")  # of what takes seconds
some = pytest.mark.parametrize(
    "text",
    [pytest.param(t, id=n, marks=() if n in QUICK else pytest.mark.slow) for n, t in GOOD.items()],
)
bad = pytest.mark.parametrize("text", BAD.values(), ids=BAD)
CONTRACT = read_contract("franka_sim")
NUMBERS = ("007", "yes", "0x10", "1_000", "infinity", "null", "1:30", "a: b")  # to some reader of YAML


def record(root, rows=3):
    images = {name: np.full((112, 112, 3), 90, np.uint8) for name in CONTRACT.cameras}
    with DatasetWriter(root, CONTRACT) as writer:
        writer.start_episode("wave")
        for n in range(rows):
            state, action = np.full(11, 0.01 * n), np.full(8, 0.01 * n)
            writer.add_frame(Frame(5 + n / 10, images, state, action, {}, 5 + n / 10), 1)
        writer.save_episode()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    root = tmp_path_factory.mktemp("recorded") / "demos"
    record(root)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from training.training_samples import make_backbone

    return make_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, furnished."""
    move_in(tmp_path, monkeypatch)
    return tmp_path


def put(source, text):
    """A copy of a folder at an odd path."""
    target = locate(text)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target)


def refused(status, capsys):
    """What a command says that ends with an error: one sentence."""
    told = capsys.readouterr().err.strip()
    assert status in (1, 2) and "Traceback" not in told
    return told.splitlines()[-1]


# One place


def test_the_home_folder_is_filled_in_and_nothing_else(here):
    assert expand("~") == here / "home" and expand("~/a:b") == here / "home/a:b"
    for text in ("a/~", "./~", "$HOME/x", "a:b", "x~"):
        assert expand(text) == Path(text) and locate(text) == here / text
    assert locate("link/../demos") == here / "elsewhere/demos"  # as the system follows it
    with pytest.raises(PathError, match="no home folder ~nobody-lives-here"):
        expand("~nobody-lives-here/x")


def test_every_option_that_is_a_path_is_read_there():
    from cli.test_arguments import COMMANDS

    kinds = [(w, a.dest, a.type) for w, p in COMMANDS.items() for a in p._actions if a.type is not None]
    assert not [entry for entry in kinds if entry[2] is Path]
    typed = [kind for _, _, kind in kinds if kind.__name__ in ("any_path", "output_file", "output_folder")]
    assert len(typed) > 40
    for kind in set(typed):
        with pytest.raises(argparse.ArgumentTypeError, match="allowed is"):
            kind("")


# Recorder


@good
def test_the_recorder_writes_there(text, here):
    record(text)
    assert DatasetReader(locate(text)).num_frames == 3
    record(text)  # and goes on there
    reader = DatasetReader(text)
    assert (reader.num_episodes, len(reader.decode("gripper", 1))) == (2, 3)
    assert (here / "~").exists() == text.startswith("./~")


@bad
def test_the_recorder_refuses_before_anything_is_recorded(text, here):
    before = listing(here)
    with pytest.raises((DatasetError, PathError)) as caught:
        DatasetWriter(text, CONTRACT)
    assert len(str(caught.value).splitlines()) == 1 and listing(here) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(here):
    (here / "there").chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(DatasetError, match="ermission"):
        DatasetWriter("there/demos", CONTRACT)


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("videos", {}),
        ("data", {}),
        ("meta/episodes", {}),
        ("", {"preset": "fastest of all"}),
    ],
)
def test_what_would_fail_at_the_save_is_refused_at_the_start(part, settings, here):
    """A file where a folder will be, or an encoder that does not begin."""
    if part:
        (here / "demos" / part).parent.mkdir(parents=True)
        (here / "demos" / part).write_text("in the way")
    before = listing(here)
    with pytest.raises(DatasetError) as caught:
        DatasetWriter("demos", CONTRACT, **settings)
    assert len(str(caught.value).splitlines()) == 1 and listing(here) == before


def test_the_proof_leaves_nothing_behind(here):
    DatasetWriter("demos", CONTRACT).close()
    assert listing(here / "demos") == [str(here / "demos/meta"), str(here / "demos/meta/contract.yaml")]


# Merge, import and all other commands that write data sets


@some
def test_data_sets_are_merged_and_imported_there(text, here, recorded, capsys):
    put(recorded, text)
    assert main(["dataset", "info", "--", text]) == 0
    assert main(["dataset", "merge", "--output=merged", "--", text]) == 0
    assert main(["dataset", "import-lerobot", "--append", f"--output={text}", str(here / "merged")]) == 0
    assert DatasetReader(text).num_episodes == 2
    shutil.rmtree(locate(text))
    assert main(["dataset", "merge", str(recorded), f"--output={text}"]) == 0
    assert DatasetReader(text).num_frames == 3
    assert (here / "~").exists() == text.startswith("./~")


@bad
@pytest.mark.parametrize("words", ["merge", "import-lerobot", "trim-idle", "repair"])
def test_commands_refuse_to_write_there(words, text, here, recorded, capsys):
    before = listing(here)
    try:
        status = main(["dataset", words, str(recorded), f"--output={text}"])
    except SystemExit as end:
        status = end.code
    assert refused(status, capsys)
    assert listing(here) == before


@bad
@pytest.mark.parametrize(
    "words", [("dataset", "info"), ("dataset", "draft-contract"), ("checkpoint", "info")]
)
def test_commands_refuse_to_read_there(words, text, here, capsys):
    try:
        status = main([*words, "--", text])
    except SystemExit as end:
        status = end.code
    assert refused(status, capsys)


# Policy and fine-tuning


@good
def test_a_policy_is_read_and_written_there(text, here, checkpoint):
    policy = VlaAdapterPolicy.from_pretrained(checkpoint)
    policy.save_pretrained(text)
    assert VlaAdapterPolicy.from_pretrained(text).config == policy.config
    assert (here / "~").exists() == text.startswith("./~")


@bad
def test_no_policy_is_there(text, here):
    with pytest.raises(VlaAdapterError) as caught:
        VlaAdapterPolicy.from_pretrained(text)
    assert len(str(caught.value).splitlines()) == 1


def train(data, output, checkpoint, **more):
    from vla_adapter_ros.training.finetune import finetune
    from vla_adapter_ros.training.starting import Start

    settings = {
        "steps": 1,
        "batch_size": 2,
        "progress": False,
        "pages": False,
        "start": Start(checkpoint),
        "save_total_limit": 0,
    } | more
    return finetune(data, output, **settings)


@pytest.mark.slow
@good
def test_fine_tuning_reads_and_writes_there(text, here, recorded, checkpoint):
    put(recorded, text)
    (here / "home/out").mkdir()
    result = train(text, "~/out/policy", checkpoint)
    shutil.rmtree(locate(text))
    train(recorded, text, "~/out/policy", pages=True)
    assert VlaAdapterPolicy.from_pretrained(text).contract == CONTRACT
    assert result.output == here / "home/out/policy"
    assert (here / "~").exists() == text.startswith("./~")


@bad
def test_fine_tuning_refuses_to_write_there(text, here, recorded, capsys):
    before = listing(here)
    try:
        status = main(["finetune", "--dataset", str(recorded), f"--output={text}"])
    except SystemExit as end:
        status = end.code
    assert refused(status, capsys)
    assert listing(here) == before


def test_a_refused_training_leaves_no_folder(here, checkpoint):
    with pytest.raises(VlaAdapterError):
        train("no such data", "new/policy", checkpoint)
    assert not (here / "new").exists()


# Files named inside of files, and small files


def test_contracts_mappings_verdicts_and_descriptions_are_found_at_home(here):
    home = here / "home"
    write_contract(CONTRACT, "~/arm.yaml")
    assert read_contract("~/arm.yaml") == CONTRACT and (home / "arm.yaml").is_file()
    (home / "mapping.yaml").write_text("schema: 1\ncontract: ~/arm.yaml\n")
    assert read_mapping("~/mapping.yaml").contract == str(home / "arm.yaml")
    (home / "verdict.yaml").write_text("idle_head: [1, 2]\n")
    assert read_settings("~/verdict.yaml").limits_of("idle_head") == (1.0, 2.0)
    (home / "arm.urdf").write_text("<robot/>")
    assert read_urdf("~/arm.urdf") == "<robot/>"
    with pytest.raises(KinematicsError, match="absolute"):
        read_urdf("arm.urdf")
    for read in (read_contract, read_urdf):
        with pytest.raises(PathError, match="no home folder"):
            read("~nobody-lives-here/arm.yaml")


def test_data_sets_of_a_training_are_found_at_home(here, recorded):
    put(recorded, "~/a,b=2")
    assert parse_source("~/a,b=2").path == "~/a,b=2"  # a folder of that name wins
    put(recorded, "~/demos")
    source = parse_source("~/demos=2 , mapping = ~/mapping.yaml")
    assert (source.path, source.weight, source.mapping) == ("~/demos", 2.0, "~/mapping.yaml")
    assert open_sources(["~/demos=2", "~/a,b=2"])[0][0].name == "demos"


@pytest.mark.parametrize("text", [*GOOD.values(), *NUMBERS])
def test_launch_arguments_reach_a_node_as_they_are(text, tmp_path):
    """ROS 2's own reader of parameters takes what stands in no quotes for a number where C does."""
    from vla_adapter_ros.nodes.graph import NodeSpec

    file = NodeSpec("recorder", {"dataset": text, "crf": 18}).write_arguments(tmp_path)
    (parameters,) = (entry["ros__parameters"] for entry in read_yaml(file).values())
    assert parameters == {"dataset": text, "crf": 18}
    assert '"dataset": "' in file.read_text(encoding="utf-8")
