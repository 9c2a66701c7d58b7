"""Which checkpoints of a running training stay."""

from __future__ import annotations

import json

import pytest

from vla_adapter_ros.training.checkpoints import CheckpointManager


def fill(folder):
    folder.mkdir()
    (folder / "weights").write_text("w")


def test_the_newest_and_the_best_stay(tmp_path):
    checkpoints = CheckpointManager(tmp_path / "checkpoints", 2)
    assert checkpoints.best is None
    for step, loss in ((10, 0.5), (20, 0.3), (30, 0.4), (40, None), (50, 0.6)):
        checkpoints.save(step, loss, fill)
    assert checkpoints.steps == [20, 40, 50]
    assert checkpoints.best == (20, 0.3)
    names = ["step_00000020", "step_00000040", "step_00000050"]
    assert sorted(path.name for path in checkpoints.folder.glob("*step*")) == names
    index = json.loads((checkpoints.folder / "checkpoints.json").read_text())
    assert index == {"validation_loss": {"20": 0.3, "40": None, "50": 0.6}, "best": 20}
    again = CheckpointManager(checkpoints.folder, 2)
    assert again.steps == checkpoints.steps and again.best == checkpoints.best
    again.remove_after(40)
    assert again.steps == [20, 40] and not again.path(50).exists()
    again.save(45, 0.2, fill)
    assert again.steps == [40, 45] and again.best == (45, 0.2)


def test_a_checkpoint_that_fails_leaves_nothing_that_counts(tmp_path):
    checkpoints = CheckpointManager(tmp_path / "checkpoints", 1)
    checkpoints.save(1, 0.5, fill)

    def fail(folder):
        fill(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(2, 0.1, fail)
    assert CheckpointManager(checkpoints.folder, 1).steps == [1]
    assert not checkpoints.path(2).exists() and checkpoints.path(1).is_dir()
    checkpoints.save(2, 0.1, fill)  # what lies there from the failure is in nobody's way
    assert checkpoints.steps == [2]


def test_none_are_kept_if_none_are_wanted(tmp_path):
    checkpoints = CheckpointManager(tmp_path / "checkpoints", 0)
    checkpoints.save(1, 0.5, fill)
    checkpoints.remove_after(0)
    assert checkpoints.best is None and not checkpoints.folder.exists()
