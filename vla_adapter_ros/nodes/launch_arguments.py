"""The arguments of our launch files. Defaults, choices and ranges are those of the node parameters.

No `launch` here, so that tests and the command line can read them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.nodes.parameter_rules import parameters_of, parse_value
from vla_adapter_ros.nodes.parameters import (
    ControllerParameters,
    PolicyParameters,
    RecorderParameters,
    SimulatorParameters,
)
from vla_adapter_ros.nodes.start_options import LogLevel, read_params_file

_ALIKE = 0.75  # of two names' letters, for one to be taken for the other with a typing error
BOOLEAN = ("true", "false", "True", "False")


@dataclass(frozen=True)
class LaunchArgument:
    """One argument of a launch file.

    Attributes:
        default: A text, as launch wants it.
        text: Description.
        choices: All values that are allowed; empty: any.
        of: Class of the node parameters that has a field of this name; None: a switch, or a text of its own.
        read: Makes the value of a text that is allowed; None: the text itself.
    """

    default: str
    text: str
    choices: tuple[str, ...] = ()
    of: type[CommonParameters] | None = None
    read: Callable[[str], Any] | None = None

    def value(self, name: str, text: str) -> Any:
        """The value that a text stands for.

        Raises:
            ParameterError: the text is not allowed.
        """
        if self.of is not None:
            return parse_value(self.of, name, text)
        if self.choices and text not in self.choices:
            raise ParameterError(f"{name} = {text!r}: allowed is one of {', '.join(self.choices)}")
        if self.choices == BOOLEAN:
            return text.lower() == "true"
        return text if self.read is None else self.read(text)


def _switch(default: bool, text: str) -> LaunchArgument:
    return LaunchArgument(str(default).lower(), text, BOOLEAN)


def _parameter(kind: type[CommonParameters], name: str) -> LaunchArgument:
    parameter = parameters_of(kind)[name]
    return LaunchArgument(str(parameter.default), parameter.explained, parameter.choices, kind)


def read_namespace(text: str) -> str:
    """A namespace of nodes, such as left or /left; empty: none of its own.

    Raises:
        ParameterError: ROS allows no such name.
    """
    if not re.fullmatch(r"(/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*)?", text, re.ASCII):
        raise ParameterError(f"namespace = {text!r}: allowed are letters, digits, _ and /, such as left")
    return text


START: Mapping[str, LaunchArgument] = {
    "namespace": LaunchArgument(
        "",
        "Namespace of the nodes, such as left, in which the contract's relative topics lie; empty: none.",
        read=read_namespace,
    ),
    "params_file": LaunchArgument(
        "",
        "YAML file with parameters of the nodes: they hold over those in share/vla_adapter_ros/config/nodes, "
        "and arguments that are given hold over them.",
        read=read_params_file,
    ),
    "log_level": LaunchArgument(
        LogLevel.INFO.value,
        "From which severity on the nodes' words are printed: debug, info, warn, error or fatal.",
        tuple(LogLevel.words()),
        read=LogLevel,
    ),
    "respawn": _switch(True, "Start a policy or a recorder that dies again."),
}
"""Arguments of every launch file: see `StartOptions`."""
SIMULATE = _switch(True, "Start the simulator; false for a real robot.")
CONTROLLER = _switch(True, "Start the controller; false where it runs elsewhere, or drivers move the arms.")
TELEOP = LaunchArgument(
    "",
    "What a human drives the arm with: gamepad, xbox, playstation, spacemouse, jog, or a YAML file; empty: "
    "no teleoperation node.",
)
CONSOLE = _switch(
    False, "Serve the operator's console, at http://localhost:8088/ unless parameters say otherwise."
)
FOXGLOVE = _switch(False, "Start the console with a live view for Foxglove: ws://localhost:8765.")
BRINGUP: Mapping[str, LaunchArgument] = {
    "contract": _parameter(CommonParameters, "contract"),
    "checkpoint": _parameter(PolicyParameters, "checkpoint"),
    "simulate": SIMULATE,
    "controller": CONTROLLER,
    "policy": _switch(True, "Start the policy; false where it runs on another computer, or not at all."),
    "record": LaunchArgument("", "Data set directory for the recorder; empty: no recorder."),
    "teleop": TELEOP,
    "console": CONSOLE,
    "foxglove": FOXGLOVE,
    "lock_step": _switch(False, "Simulated time waits for the nodes instead of running in real time."),
    "renderer": _parameter(SimulatorParameters, "renderer"),
    "seed": _parameter(SimulatorParameters, "seed"),
    "device": _parameter(PolicyParameters, "device"),
    "mode": _parameter(ControllerParameters, "mode"),
    "speed": _parameter(ControllerParameters, "speed"),
    **START,
}
RECORD: Mapping[str, LaunchArgument] = {
    "dataset": LaunchArgument("demonstrations", "Directory of the LeRobot data set; continued if it exists."),
    "contract": _parameter(CommonParameters, "contract"),
    "simulate": SIMULATE,
    "controller": CONTROLLER,
    "teleop": TELEOP,
    "console": CONSOLE,
    "foxglove": FOXGLOVE,
    **{
        name: _parameter(RecorderParameters, name)
        for name in ("instruction", "joy_buttons", "on_fail", "verdict")
    },
    **START,
}


def misspelt(given: Iterable[str], arguments: Mapping[str, LaunchArgument]) -> list[str]:
    """A sentence for each given name that is nearly that of an argument, and would only be ignored.

    Names that are like none may be those of a launch file that includes ours.

    Args:
        given: Names of all that was given.
        arguments: Those of the launch file.
    """
    found = []
    for name in given:
        near = difflib.get_close_matches(name, arguments, n=1, cutoff=_ALIKE)
        if near and name not in arguments:
            found.append(f"launch argument '{name}' is ignored: is '{near[0]}' meant?")
    return found


def read_arguments(arguments: Mapping[str, LaunchArgument], texts: Mapping[str, str]) -> dict[str, Any]:
    """The values of a launch file's arguments.

    Raises:
        ParameterError: names every argument that is wrong, its text and what is allowed.
    """
    values, problems = {}, []
    for name, argument in arguments.items():
        try:
            values[name] = argument.value(name, texts[name])
        except ParameterError as error:
            problems.append(str(error))
    if problems:
        raise ParameterError("; ".join(problems))
    return values
