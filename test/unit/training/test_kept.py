"""Which checkpoints of a running training stay."""

from __future__ import annotations

import json

import pytest

from vla_adapter_ros.training.kept import KeptCheckpoints


def fill(folder):
    folder.mkdir()
    (folder / "weights").write_text("w")


def test_the_newest_and_the_best_stay(tmp_path):
    kept = KeptCheckpoints(tmp_path / "checkpoints", 2)
    assert kept.best is None
    for step, loss in ((10, 0.5), (20, 0.3), (30, 0.4), (40, None), (50, 0.6)):
        kept.add(step, loss, fill)
    assert kept.steps == [20, 40, 50]
    assert kept.best == (20, 0.3)
    names = ["step_00000020", "step_00000040", "step_00000050"]
    assert sorted(path.name for path in kept.folder.glob("*step*")) == names
    index = json.loads((kept.folder / "checkpoints.json").read_text())
    assert index == {"held_out_loss": {"20": 0.3, "40": None, "50": 0.6}, "best": 20}
    again = KeptCheckpoints(kept.folder, 2)
    assert again.steps == kept.steps and again.best == kept.best
    again.forget_after(40)
    assert again.steps == [20, 40] and not again.path(50).exists()
    again.add(45, 0.2, fill)
    assert again.steps == [40, 45] and again.best == (45, 0.2)


def test_a_checkpoint_that_fails_leaves_nothing_that_counts(tmp_path):
    kept = KeptCheckpoints(tmp_path / "checkpoints", 1)
    kept.add(1, 0.5, fill)

    def fail(folder):
        fill(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        kept.add(2, 0.1, fail)
    assert KeptCheckpoints(kept.folder, 1).steps == [1]
    assert not kept.path(2).exists() and kept.path(1).is_dir()
    kept.add(2, 0.1, fill)  # what lies there from the failure is in nobody's way
    assert kept.steps == [2]


def test_none_are_kept_if_none_are_wanted(tmp_path):
    kept = KeptCheckpoints(tmp_path / "checkpoints", 0)
    kept.add(1, 0.5, fill)
    kept.forget_after(0)
    assert kept.best is None and not kept.folder.exists()
