"""Where the reference data of the published code lies, and how to read it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("VLA_ADAPTER_SHARED", REPOSITORY.parent / "shared"))
GOLDEN = SHARED / "golden"


class Golden:
    """One fixture folder: the checkpoint, the arrays and their description."""

    def __init__(self, name: str) -> None:
        folder = GOLDEN / name
        self.name = name
        self.info = json.loads((folder / "io.json").read_text())
        self.arrays = np.load(folder / "io.npz")
        self.checkpoint = folder / self.info["checkpoint_dir"]
        self.tolerance = self.info["suggested_tolerance_abs"]

    def array(self, sample: int, key: str) -> np.ndarray:
        return self.arrays[f"s{sample}/{key}"]

    def has(self, sample: int, key: str) -> bool:
        return f"s{sample}/{key}" in self.arrays.files

    def images(self, sample: int, kind: str) -> list[np.ndarray]:
        return [self.array(sample, f"{kind}/{name}") for name in self.info["samples"][sample]["images"]]
