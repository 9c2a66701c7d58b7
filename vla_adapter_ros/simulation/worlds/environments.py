"""Where the Python environments of other worlds are."""

from __future__ import annotations

import os
from pathlib import Path

from vla_adapter_ros.errors import SimulationError

_CHECKOUT = Path(__file__).resolve().parents[3]


def world_python(name: str) -> Path:
    """The Python interpreter of a world's environment.

    The environment variable `VLA_ADAPTER_<NAME>_PYTHON` names it, or else it is that of `.venv-<name>` in the
    working directory or in the checkout, where `make <name>` puts it.

    Args:
        name: Of the world, such as `metaworld`.

    Raises:
        SimulationError: there is none.
    """
    variable = f"VLA_ADAPTER_{name.upper()}_PYTHON"
    if named := os.environ.get(variable):
        if os.access(named, os.X_OK):
            return Path(named)
        raise SimulationError(f"{variable} = {named}: allowed is a Python interpreter that can be started")
    for folder in (Path.cwd(), _CHECKOUT):
        found = folder / f".venv-{name}" / "bin" / "python"
        if os.access(found, os.X_OK):
            return found
    raise SimulationError(
        f"{name} is not installed: `make {name}` makes its environment, or name a Python that has it with "
        f"{variable}"
    )
