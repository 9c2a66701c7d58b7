"""Fine-tunings in a folder: how far they are, and nothing of what lies beside them."""

from __future__ import annotations

import os

import pytest

from vla_adapter_ros.console.runs import LOSS, SILENT_S, VALIDATION, RunStore
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.training.metric_logger import MetricLogger


def make_run(root, name, *, steps=3, finished=False, kept=(), pages=()):
    logger = MetricLogger(root / f"{name}.training" / "logs", settings={}, first_step=0, active=True)
    for step in range(1, steps + 1):
        logger.log(step, {LOSS: 1.0 / step, VALIDATION: 2.0 / step, "speed/samples_per_s": 1.0})
    logger.close()
    for step in kept:
        (root / f"{name}.training" / "checkpoints" / f"step_{step:08d}").mkdir(parents=True)
    for ending in pages:
        (root / f"{name}{ending}").write_text("<p>page</p>")
    if finished:
        (root / name).mkdir()
        (root / name / "training.json").write_text("{}")


def test_no_folder_is_no_runs(tmp_path):
    assert RunStore(tmp_path / "nowhere").runs() == []


def test_a_running_a_finished_and_an_interrupted_run(tmp_path):
    make_run(tmp_path, "done", finished=True, kept=(1, 2), pages=(".report.html",))
    make_run(tmp_path, "now")
    make_run(tmp_path, "broken", kept=(2,))
    for path in (tmp_path / "broken.training" / "logs").iterdir():
        os.utime(path, (1.0, path.stat().st_mtime - 2 * SILENT_S))
    runs = {run.name: run for run in RunStore(tmp_path).runs()}
    assert {name: run.state for name, run in runs.items()} == {
        "done": "finished", "now": "running", "broken": "interrupted",
    }  # fmt: skip
    assert [path.name for path in runs["done"].checkpoints] == ["done", "step_00000002", "step_00000001"]
    assert [path.name for path in runs["broken"].checkpoints] == ["step_00000002"]
    assert runs["done"].pages == ("report",) and runs["now"].checkpoints == ()


def test_losses_by_step(tmp_path):
    make_run(tmp_path, "now", steps=4)
    losses = RunStore(tmp_path).losses("now")
    assert set(losses) == {LOSS, VALIDATION}
    assert losses[LOSS] == [(n, pytest.approx(1.0 / n)) for n in range(1, 5)]


@pytest.mark.parametrize("name", ["../victim", "..", "", "a/b", "nowhere"])
@pytest.mark.parametrize("page", ["report", "../secret"])
def test_nothing_outside_is_given_out(tmp_path, name, page):
    (tmp_path / "victim.report.html").write_text("secret")
    with pytest.raises(DatasetError):
        RunStore(tmp_path / "runs").page(name, page)


def test_a_page_that_is_a_link_is_not_followed(tmp_path):
    make_run(tmp_path, "done", finished=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "done.report.html").symlink_to(tmp_path / "secret")
    with pytest.raises(DatasetError, match="no page"):
        RunStore(tmp_path).page("done", "report")
