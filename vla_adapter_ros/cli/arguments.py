"""Kinds of values on the command line; a value that makes no sense is refused before anything starts."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from vla_adapter_ros.errors import VlaAdapterError

DEVICE_HELP = "torch device: auto (the GPU where there is one), cpu, cuda, cuda:0 ..."


class UsageError(VlaAdapterError):
    """Arguments that do not fit together: the command ends with status 2, as for a single wrong one."""


def whole(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""
    allowed = f"a whole number from {least}" + (f" to {most}" if most is not None else "")

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r}: allowed is {allowed}")
        return value

    return parse


def number(least: float = 0.0, most: float = math.inf, *, above: bool = False) -> Callable[[str], float]:
    """A finite number from `least` to `most`; with `above`, `least` itself is not allowed."""
    allowed = f"a number {'above' if above else 'from'} {least:g}" + (
        f" to {most:g}" if most < math.inf else ""
    )

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most) or (above and value == least):
            raise argparse.ArgumentTypeError(f"{text!r}: allowed is {allowed}")
        return value

    return parse


def announce_device(name: str) -> str:
    """Resolve the device of `--device`, and say which it is."""
    from vla_adapter_ros.model.device import describe_device, resolve_device

    device = resolve_device(name)
    print(describe_device(device), flush=True)
    return str(device)


COUNT = whole(1)
SEED = whole(0, 2**32 - 1)
SECONDS = number(above=True)
