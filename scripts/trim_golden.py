#!/usr/bin/env python3
"""Copy from the full golden data what the tests need, into test/data/golden (12 MB instead of 31).

Nothing is computed: arrays are copied whole or in part, files byte by byte. Left out are complete hidden
states and most of their levels, most rows of pixel values, projected patches of all samples but the first,
and the matrices of the LoRA folder, of which the tests compare names and shapes.

Usage: python scripts/trim_golden.py ../shared/golden test/data/golden
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np

HEADS = ("base", "pro")
IMAGES = ("image", "resized", "cropped", "jpeg")  # the same for both heads
LEVELS = (1, 12, 24)  # of hidden states
PIXEL_ROWS = 8
TRAINED_LEVELS = {"hidden_states_action_slice": (0, 1, 12, 24)}
ADAPTER = "lora_adapter/adapter_model.safetensors"


def trim(source: Path, target: Path) -> None:
    """Write the trimmed copy; What else lies in `target` stays."""
    target.mkdir(parents=True, exist_ok=True)
    images = {}
    for head in HEADS:
        arrays = np.load(source / head / "io.npz")
        kept = {}
        for key in arrays.files:
            if key.split("/")[1:2] and key.split("/")[1] in IMAGES:
                assert key not in images or np.array_equal(images[key], arrays[key])
                images[key] = arrays[key]
            elif (value := trimmed_array(key, arrays)) is not None:
                kept[key] = value
        write(target / head / "io.npz", kept)
        for kind in ("full", "lora"):
            step = np.load(source / head / f"train_{kind}.npz")
            write(target / head / f"train_{kind}.npz", trimmed_step({key: step[key] for key in step.files}))
            info = json.loads((source / head / f"train_{kind}.json").read_text())
            (target / head / f"train_{kind}.json").write_text(json.dumps(info, separators=(",", ":")))
        for name in ("io.json", "README.md"):
            shutil.copyfile(source / head / name, target / head / name)
        checkpoint = json.loads((source / head / "io.json").read_text())["checkpoint_dir"]
        shutil.rmtree(target / head / checkpoint, ignore_errors=True)
        shutil.copytree(
            source / head / checkpoint,
            target / head / checkpoint,
            ignore=shutil.ignore_patterns(Path(ADAPTER).name),
        )
        header = adapter_header(source / head / checkpoint)
        (target / head / checkpoint / ADAPTER).with_suffix(".json").write_text(json.dumps(header))
    write(target / "images.npz", images)


def trimmed_array(key: str, arrays: np.lib.npyio.NpzFile) -> np.ndarray | None:
    """What is kept of an array; None if nothing is."""
    name, value = key.split("/")[-1], arrays[key]
    if name == "bf16_levels":
        return np.array(LEVELS)
    if name in ("hs_full", "full_levels"):
        return None
    if name == "pixel_values":
        return value[:, :PIXEL_ROWS]
    if name == "projected_patches" and not key.startswith("s0/"):
        return None
    if name in ("hs_action", "hs_task_sub"):
        stored = list(range(25)) if len(value) == 25 else arrays["bf16_levels"].tolist()
        return value[[stored.index(level) for level in LEVELS]]
    return value


def trimmed_step(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A training step with the last level of hidden states only."""
    (name, levels), *_ = TRAINED_LEVELS.items()
    last = levels[-1]
    return arrays | {name: arrays[name][:, [levels.index(last)]], "hidden_states_levels": np.array([last])}


def adapter_header(checkpoint: Path) -> dict[str, object]:
    """Names, types and shapes of a LoRA folder's matrices: the header of its file."""
    with open(checkpoint / ADAPTER, "rb") as file:
        return json.loads(file.read(int.from_bytes(file.read(8), "little")))


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz that is compressed better than NumPy would; np.load reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for key, value in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, value)
            entry = zipfile.ZipInfo(f"{key}.npy")  # without the time, so that a second run gives the same
            entry.compress_type = zipfile.ZIP_LZMA
            archive.writestr(entry, buffer.getvalue())


if __name__ == "__main__":
    trim(Path(sys.argv[1]), Path(sys.argv[2]))
