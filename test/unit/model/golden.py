"""Where the reference data of the published code lies, and how to read it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("VLA_ADAPTER_SHARED", REPOSITORY.parent / "shared"))
TRIMMED = REPOSITORY / "test/data/golden"


def golden_folder() -> Path:
    """The full set where it is, else the trimmed copy that every clone has (scripts/trim_golden.py)."""
    full = SHARED / "golden"
    return full if full.is_dir() else TRIMMED


GOLDEN = golden_folder()


class Golden:
    """One fixture folder: the checkpoint, the arrays and their description.

    Args:
        name: `base` or `pro`.
        folder: Of the golden data.
    """

    def __init__(self, name: str, folder: Path = GOLDEN) -> None:
        self.folder = folder / name
        self.name = name
        self.info = json.loads((self.folder / "io.json").read_text())
        self.arrays = np.load(self.folder / "io.npz")
        self.trimmed = (folder / "images.npz").is_file()
        """Whether some arrays hold less, and some are not there; images lie in a file for both heads."""
        self._images = np.load(folder / "images.npz") if self.trimmed else self.arrays
        self.checkpoint = self.folder / self.info["checkpoint_dir"]
        self.tolerance = self.info["suggested_tolerance_abs"]

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys([*self.arrays.files, *self._images.files]))

    def array(self, sample: int, key: str) -> np.ndarray:
        return self.stored(f"s{sample}/{key}")

    def stored(self, key: str) -> np.ndarray:
        return self.arrays[key] if key in self.arrays.files else self._images[key]

    def has(self, sample: int, key: str) -> bool:
        return f"s{sample}/{key}" in self.keys

    def images(self, sample: int, kind: str) -> list[np.ndarray]:
        return [self.array(sample, f"{kind}/{name}") for name in self.info["samples"][sample]["images"]]

    def adapter_shapes(self) -> dict[str, list[int]]:
        """Names and shapes of the LoRA folder's matrices."""
        path = self.checkpoint / "lora_adapter" / "adapter_model.safetensors"
        if self.trimmed:
            header = json.loads(path.with_suffix(".json").read_text())
        else:
            with open(path, "rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
