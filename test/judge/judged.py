"""What the judge's scripts share: one line per check, and LeRobot without torchvision."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import types
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["HF_HUB_OFFLINE"] = "1"  # a missing file must be an error, not a download
os.environ.setdefault("HF_HOME", tempfile.mkdtemp(prefix="judge"))


def stand_in_torchvision() -> None:
    """LeRobot imports torchvision, of which no CPU build exists everywhere; reading uses nothing of it."""
    if importlib.util.find_spec("torchvision") is not None:
        return
    import torch

    class ToTensor:
        """Image of bytes to a float tensor (3, H, W) in [0, 1]; only data sets of PNG images need it."""

        def __call__(self, image: object) -> torch.Tensor:
            return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255.0

    unused_parts = ("torchvision.io", "torchvision.transforms.functional", "torchvision.transforms.v2",
                    "torchvision.transforms.v2.functional")  # fmt: skip
    names = ("torchvision", "torchvision.transforms", *unused_parts)
    for name in names:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__spec__ = importlib.machinery.ModuleSpec(name, None)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    sys.modules["torchvision.transforms"].ToTensor = ToTensor
    sys.modules["torchvision.transforms.v2"].Transform = object

    def unused(name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return object

    for name in unused_parts:
        sys.modules[name].__getattr__ = unused


class Judge:
    """Collects checks and prints them as they come."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, what: str, ok: bool, details: str = "") -> None:
        """Note one check."""
        self.failed += not ok
        print(f"{'ok    ' if ok else 'FAILED'} {what}{'  ' + details if details else ''}", flush=True)

    def equal(self, what: str, found: object, wanted: object) -> None:
        """Note whether two things are the same."""
        self.check(what, found == wanted, f"{found}" if found == wanted else f"{found}, expected {wanted}")
