"""Where the files that ship with the package lie: configuration and checkpoints."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def config_folder() -> Path:
    """Folder `config`: inside the package once installed, beside it in a checkout."""
    inside = _PACKAGE / "config"
    return inside if inside.is_dir() else _PACKAGE.parent / "config"


def robots_folder() -> Path:
    """Folder of the robot contracts that ship with the package."""
    return config_folder() / "robots"


def checkpoints_folder() -> Path:
    """Folder of the checkpoints that ship with the package."""
    return _PACKAGE / "checkpoints"
