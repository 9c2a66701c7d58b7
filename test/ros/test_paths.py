"""Odd paths through the real nodes: each works, or the node ends with one sentence before it begins."""

from __future__ import annotations

import subprocess
import sys

import pytest
from odd_paths import BAD, listing, move_in
from stage import Stage

from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.paths import locate

TEXTS = {
    "home and colon": "~/kitchen:table",
    "number": "1e5",
    "all at once": """-x:y/run%03d {a}/it's "mine"\n$HOME/示範/""",
}
QUICK = ("home and colon",)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder of the nodes, furnished."""
    move_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.parametrize(
    "text", [pytest.param(t, id=n, marks=() if n in QUICK else pytest.mark.slow) for n, t in TEXTS.items()]
)
def test_a_recorder_records_there_and_a_lost_episode_is_an_error(text, bench, graph, here):
    stage = Stage(bench, graph, here, dataset=text)
    stage.root = locate(text)
    stage.start()
    stage.record()
    assert stage.lengths()[0] >= 8 and not (here / "~").exists()

    (stage.root / "data/chunk-000/file-001.parquet").mkdir()  # in the way of the next one
    stage.begin()
    stage.play(1.0)
    answer = stage.call("stop_episode")
    assert not answer.success
    stage.status(lambda s: s.reason.startswith("episode lost: "))
    log = (here / "logs/recorder_node.log").read_text(encoding="utf-8")
    assert "episode lost: " in log and "[ERROR]" in log.split("episode lost: ")[0].splitlines()[-1]


@pytest.mark.parametrize(
    ("kind", "parameter", "name"),
    [
        ("recorder", "dataset", "file in the way"),
        pytest.param("recorder", "dataset", "nobody's home", marks=pytest.mark.slow),
        pytest.param("recorder", "dataset", "proc", marks=pytest.mark.slow),
        pytest.param("recorder", "dataset", "empty", marks=pytest.mark.slow),
        pytest.param("recorder", "verdict", "nobody's home", marks=pytest.mark.slow),
        pytest.param("recorder", "contract", "nobody's home", marks=pytest.mark.slow),
        pytest.param("policy", "checkpoint", "nobody's home", marks=pytest.mark.slow),
        pytest.param("policy", "checkpoint", "too long a name", marks=pytest.mark.slow),
        pytest.param("policy", "checkpoint", "link to itself", marks=pytest.mark.slow),
    ],
)
def test_a_node_refuses_in_one_sentence(kind, parameter, name, here):
    spec = NodeSpec(kind, ({"dataset": "demos"} if kind == "recorder" else {}) | {parameter: BAD[name]})
    before = listing(here / "there")
    command = [sys.executable, "-m", spec.module, "--ros-args", "--params-file"]
    done = subprocess.run(
        [*command, str(spec.write_arguments(here))], capture_output=True, text=True, timeout=200, check=False
    )
    told = [line for line in (done.stdout + done.stderr).splitlines() if "[ERROR]" in line]
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    assert len(told) == 1, done.stdout + done.stderr
    assert listing(here / "there") == before and not (here / "demos").exists()
