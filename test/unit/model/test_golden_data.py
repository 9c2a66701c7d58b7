"""The trimmed golden data of every clone: small, and copied from the full set without a change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .golden import SHARED, TRIMMED, Golden

MOST_BYTES = 12_000_000


def test_the_trimmed_data_is_small() -> None:
    assert sum(path.stat().st_size for path in TRIMMED.rglob("*") if path.is_file()) <= MOST_BYTES


@pytest.mark.skipif(
    not (SHARED / "golden").is_dir(),
    reason="the full golden data is not here: VLA_ADAPTER_SHARED names the folder that holds golden/",
)
@pytest.mark.parametrize("name", ["base", "pro"])
def test_the_trimmed_data_is_that_of_the_full_set(name: str) -> None:
    full, ours = Golden(name, SHARED / "golden"), Golden(name, TRIMMED)
    assert not full.trimmed and ours.trimmed
    assert full.adapter_shapes() == ours.adapter_shapes()
    for path in ours.folder.rglob("*"):
        theirs = full.folder / path.relative_to(ours.folder)
        if path.is_file() and path.suffix != ".npz" and "train_" not in path.name and theirs.exists():
            assert path.read_bytes() == theirs.read_bytes(), path.name
    assert_same_arrays({key: full.stored(key) for key in full.keys}, {k: ours.stored(k) for k in ours.keys})
    for kind in ("full", "lora"):
        theirs, its = (np.load(golden.folder / f"train_{kind}.npz") for golden in (full, ours))
        assert set(its.files) - set(theirs.files) == {"hidden_states_levels"}
        assert set(theirs.files) < set(its.files)
        assert_same_arrays(theirs, {key: its[key] for key in theirs.files})


def assert_same_arrays(full: dict[str, np.ndarray], ours: dict[str, np.ndarray]) -> None:
    """Every one of ours is one of the full set, or a part of it."""
    assert set(ours) <= set(full)
    for key, part in ours.items():
        whole = full[key]
        assert part.dtype == whole.dtype
        if part.shape != whole.shape:
            axis = next(i for i in range(part.ndim) if part.shape[i] != whole.shape[i])
            slices = [whole.take(i, axis) for i in range(whole.shape[axis])]
            for i in range(part.shape[axis]):
                assert any(np.array_equal(part.take(i, axis), its) for its in slices), key
        else:
            assert np.array_equal(part, whole), key


def test_the_folder_is_named_after_what_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from . import golden

    monkeypatch.setattr(golden, "SHARED", tmp_path)
    assert golden.golden_folder() == TRIMMED
    (tmp_path / "golden").mkdir()
    assert golden.golden_folder() == tmp_path / "golden"
