"""Where the files that ship with the package lie: configuration and checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

from vla_adapter_ros.paths import expand

_PACKAGE = Path(__file__).resolve().parent.parent


def config_folder(package: Path = _PACKAGE) -> Path:
    """Folder `config`: beside the package in a checkout, in share/ once built, inside it from a wheel.

    Args:
        package: Folder of the package.
    """
    if (package.parent / "package.xml").is_file():
        return package.parent / "config"
    shared = (folder / "share" / package.name / "config" for folder in package.parents)
    return next((folder for folder in shared if folder.is_dir()), package / "config")


def robots_folder() -> Path:
    """Folder of the robot contracts that ship with the package."""
    return config_folder() / "robots"


def checkpoints_folder() -> Path:
    """Folder of the checkpoints that ship with the package."""
    return _PACKAGE / "checkpoints"


def named_checkpoint(name: str | Path) -> Path | None:
    """Folder of the checkpoint of this name that ships; None: none does, or a folder here is called so."""
    text = str(name)
    folder = checkpoints_folder() / text
    if not text or "/" in text or text.startswith(".") or os.path.exists(expand(text)):
        return None
    return folder if os.path.isdir(folder) else None
