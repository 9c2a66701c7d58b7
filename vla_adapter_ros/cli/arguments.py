"""Kinds of values on the command line; a value that makes no sense is refused before anything starts."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import ParameterError, PathError, VlaAdapterError
from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.nodes.launch_arguments import read_namespace
from vla_adapter_ros.nodes.parameter_rules import parameters_of, parse_value
from vla_adapter_ros.nodes.parameters import PolicyParameters
from vla_adapter_ros.nodes.start_options import read_params_file
from vla_adapter_ros.paths import locate
from vla_adapter_ros.teleop.device_settings import read_device
from vla_adapter_ros.untrusted import short

CONTRACT_HELP = "robot contract: shipped name or path of a YAML file"
EPISODE_HELP = "number that the data set itself gives the episode (episode_index)"
DEVICE_HELP = parameters_of(PolicyParameters)["device"].text


class UsageError(ParameterError):
    """Arguments that do not fit together: the command ends with status 2, as for a single wrong one."""


@contextmanager
def wrong_arguments(*kinds: type[VlaAdapterError]) -> Iterator[None]:
    """Inside, errors of these kinds are the fault of what was typed."""
    try:
        yield
    except kinds as error:
        raise UsageError(str(error)) from None


def whole(minimum: int = 0, maximum: int | None = None) -> Callable[[str], int]:
    """A whole number from `minimum` to `maximum`."""
    allowed = f"a whole number from {minimum}" + (f" to {maximum}" if maximum is not None else "")

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < minimum or (maximum is not None and value > maximum):
            raise argparse.ArgumentTypeError(f"{text!r}: allowed is {allowed}")
        return value

    return parse


def number(minimum: float = 0.0, maximum: float = math.inf, *, above: bool = False) -> Callable[[str], float]:
    """A finite number from `minimum` to `maximum`; with `above`, `minimum` itself is not allowed."""
    allowed = f"a number {'above' if above else 'from'} {minimum:g}" + (
        f" to {maximum:g}" if maximum < math.inf else ""
    )

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and minimum <= value <= maximum) or (above and value == minimum):
            raise argparse.ArgumentTypeError(f"{text!r}: allowed is {allowed}")
        return value

    return parse


def listed(item: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Values between commas, each read by `item`; blanks do not count."""
    return lambda text: tuple(item(part.strip()) for part in text.split(","))


class _NoteGiven(argparse.Action):
    """Stores a value, and notes its name in `given`: what nobody gave is left to parameter files."""

    def __call__(
        self, parser: Any, options: argparse.Namespace, value: Any, option: str | None = None
    ) -> None:
        setattr(options, self.dest, value)
        options.given = {*getattr(options, "given", ()), self.dest}


def add_parameter(parser: Any, kind: type[CommonParameters], name: str) -> None:
    """Add an option for a node parameter: default, choices, range and text are those of its class.

    Args:
        parser: Gets the option.
        kind: Class of the node's parameters.
        name: Of the parameter; the option has dashes for underscores.
    """
    parameter = parameters_of(kind)[name]
    rule = "" if parameter.choices else parameter.allowed

    def read(text: str) -> Any:
        try:
            return parse_value(kind, name, text)
        except ParameterError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    text = parameter.text
    text = text[:1].lower() + text[1:].removesuffix(".") if not text.endswith("...") else text
    parser.add_argument(
        f"--{name.replace('_', '-')}",
        action=_NoteGiven,
        type=str if parameter.choices else read,
        default=parameter.default,
        choices=parameter.choices or None,
        help=f"{text}; {rule}" if rule else text,
    )


def add_robot(parser: argparse.ArgumentParser) -> None:
    """Add `--simulate` and its opposite: every command that starts nodes simulates the robot by default."""
    robot = parser.add_mutually_exclusive_group()
    robot.add_argument(
        "--simulate", action="store_true", default=True,
        help="start the simulated robot; the nodes speak to this computer alone (this is the default)",
    )  # fmt: skip
    robot.add_argument(
        "--no-simulate", "--robot", dest="simulate", action="store_false",
        help="a real robot: start no simulator; ROS's own network settings hold",
    )  # fmt: skip


def add_teleop(parser: argparse.ArgumentParser) -> None:
    """Add `--teleop`: what a human drives the arm with."""
    parser.add_argument(
        "--teleop", type=_device_settings, metavar="DEVICE",
        help="also start the teleoperation node for this device: gamepad, xbox, playstation, spacemouse, "
        "jog, or a YAML file; its driver, such as joy_node, is yours to start; default: none",
    )  # fmt: skip


def add_console(parser: argparse.ArgumentParser) -> None:
    """Add `--console`, and what its pages show beside the robot."""
    parser.add_argument(
        "--console", action="store_true",
        help="also serve the operator's pages, on this computer alone: http://localhost:8088/",
    )  # fmt: skip
    parser.add_argument(
        "--foxglove", action="store_true",
        help="the same, and a live view for Foxglove on this computer: ws://localhost:8765",
    )  # fmt: skip
    parser.add_argument(
        "--runs", type=any_path, metavar="FOLDER",
        help="folder in which the pages look for fine-tunings; default: none",
    )  # fmt: skip


def _device_settings(text: str) -> str:
    """Shipped name or file of a human's device; what is wrong with it is said before anything starts."""
    try:
        read_device(text)
    except VlaAdapterError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """Add `--namespace`: whose nodes the command is for, or starts."""
    parser.add_argument(
        "--namespace", type=_namespace,
        help="namespace of the robot's nodes, such as left: the contract's relative topics lie in it; "
        "default: none",
    )  # fmt: skip


def _namespace(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("'': allowed are letters, digits, _ and /, such as left")
    return str(_as_option(read_namespace, text))


def params_file(text: str) -> dict[str, Any]:
    """What a file of node parameters says: see `read_params_file`."""
    content: dict[str, Any] = _as_option(read_params_file, text)
    return content


def _as_option(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ParameterError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def any_path(text: str) -> Path:
    """A file or folder, wherever it is typed: see `paths.locate`."""
    try:
        return locate(text)
    except PathError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def output_file(text: str) -> Path:
    """A file to write when the work is done; what stands against it is said before."""
    file = any_path(text)
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder: allowed is a file")
    _require_writable(file.parent)
    return file


def output_folder(text: str) -> Path:
    """A folder to write to, there already or not; what stands against it is said before."""
    folder = any_path(text)
    if not folder.name:
        raise argparse.ArgumentTypeError(f"{text!r} has no name: allowed is a folder below it")
    _require_writable(folder)
    return folder


def _require_writable(folder: Path) -> None:
    try:
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{short(str(folder), 80)}: {error.strerror}") from None
    nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not nearest.is_dir():
        kind = "link to nowhere" if nearest.is_symlink() and not nearest.exists() else "file"
        raise argparse.ArgumentTypeError(f"{str(nearest)!r} is a {kind}: allowed is a folder")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{str(nearest)!r} cannot be written to: {error.strerror}") from None


def announce_device(name: str) -> str:
    """Resolve the device of `--device`, and say which it is."""
    from vla_adapter_ros.model.device import describe_device, resolve_device

    with wrong_arguments(ParameterError):
        device = resolve_device(name)
    print(describe_device(device), flush=True)
    return str(device)


COUNT = whole(1)
SEED = whole(0, 2**32 - 1)
SECONDS = number(above=True)
