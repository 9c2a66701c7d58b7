"""Parameters: what a class says is what ROS, YAML, launch files and the command line take."""

from __future__ import annotations

import pytest
import yaml

from vla_adapter_ros.choices import Choice
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.nodes.graph import NodeSpec, node_list, recording_nodes
from vla_adapter_ros.nodes.launch_arguments import BRINGUP, RECORD, START, read_arguments
from vla_adapter_ros.nodes.parameter_rules import make_parameters, parameters_of, parse_value
from vla_adapter_ros.nodes.parameters import (
    KINDS,
    Codec,
    ControllerMode,
    ControllerParameters,
    RecorderParameters,
    SimulatorParameters,
)
from vla_adapter_ros.nodes.start_options import PLAIN, StartOptions

ALL = [(kind, parameter) for kind in KINDS.values() for parameter in parameters_of(kind).values()]


@pytest.mark.parametrize(("kind", "parameter"), ALL, ids=lambda value: getattr(value, "name", None))
def test_every_parameter_refuses_what_it_does_not_allow(kind, parameter):
    default = parameter.default
    built = getattr(make_parameters(kind, {}), parameter.name)
    assert built == default and parameter.text
    wrong = [None, [], object()]
    if parameter.choices:
        assert isinstance(built, Choice) and list(parameter.choices) == type(built).words()
        wrong += ["", "no", 3]
    elif isinstance(default, bool):
        wrong += ["true", 1]
    elif isinstance(default, float):
        wrong += [float("nan"), float("inf"), True, "1"]
    elif isinstance(default, int):
        wrong += [1.5, True, "1"]
    if parameter.minimum is not None:
        wrong.append(type(default)(parameter.minimum - 1))
    if parameter.maximum is not None:
        wrong.append(type(default)(parameter.maximum + 1))
    for value in wrong:
        with pytest.raises(ParameterError, match=rf"parameters\.{parameter.name} = .*: allowed is ."):
            make_parameters(kind, {parameter.name: value})


def test_all_wrong_parameters_are_told_at_once():
    with pytest.raises(ParameterError) as caught:
        make_parameters(
            ControllerParameters,
            {"rate_hz": 1000.0, "mode": "fly", "armed": "yes", "publish_every": 0, "x": 1},
        )
    told = str(caught.value)
    assert "rate_hz = 1000.0: allowed is at most 500" in told
    assert "publish_every = 0: allowed is at least 1" in told
    assert "mode = 'fly': allowed is one of 'drive', 'dry_run', 'shadow' or 'row_pass_through'" in told
    assert "armed = 'yes': allowed is true or false" in told
    assert "['x']: allowed is only these keys: contract, autostart" in told


def test_what_is_allowed_is_said_in_words():
    known = parameters_of(ControllerParameters)
    assert known["rate_hz"].explained == "Control rate [Hz]. (at least 50 and at most 500)"
    assert known["mode"].allowed == "one of drive, dry_run, shadow, row_pass_through"
    assert known["gripper_max_effort"].allowed == "at least 0" and known["armed"].allowed == ""


def test_a_choice_is_its_text_everywhere(tmp_path):
    parameters = make_parameters(RecorderParameters, {"codec": "av1"})
    assert parameters.codec is Codec.AV1 and f"{parameters.codec}" == str(parameters.codec) == "av1"
    assert {"av1": 1}[parameters.codec] == 1
    file = NodeSpec("controller", {"mode": ControllerMode.SHADOW}).write_arguments(tmp_path)
    assert yaml.safe_load(file.read_text())["/**/**"]["ros__parameters"] == {"mode": "shadow"}
    assert [mode for mode in ControllerMode if mode.sends_commands] == [ControllerMode.DRIVE]
    assert not ControllerMode.SHADOW.needs_arming and ControllerMode.DRY_RUN.needs_arming


def test_what_is_typed_becomes_the_parameter():
    def typed(name, text):
        return parse_value(SimulatorParameters, name, text)

    assert typed("seed", "7") == 7 and typed("lock_step", "True") is True
    assert typed("patience_s", "2") == 2.0
    assert type(typed("renderer", "egl")) is str and typed("renderer", "egl") == "egl"
    for name, text in (
        ("seed", "-1"),
        ("seed", "x"),
        ("lock_step", "maybe"),
        ("renderer", ""),
        ("patience_s", "nan"),
    ):
        with pytest.raises(ParameterError, match=f"{name} = .*allowed is"):
            typed(name, text)


@pytest.mark.parametrize(("arguments", "make"), [(BRINGUP, node_list), (RECORD, recording_nodes)])
def test_launch_arguments_have_the_defaults_and_choices_of_the_parameters(arguments, make):
    values = read_arguments(arguments, {name: argument.default for name, argument in arguments.items()})
    assert StartOptions(**{name: values.pop(name) for name in START}) == PLAIN
    nodes = make(**values)
    assert [node.kind for node in nodes if node.kind == "simulator"] == ["simulator"]
    for name, argument in arguments.items():
        assert argument.text
        if name in START:
            continue
        for kind in (KINDS[node.kind] for node in nodes):
            known = parameters_of(kind).get(name)
            if known is not None and name in ("mode", "renderer", "device", "checkpoint", "on_fail", "seed"):
                assert values[name] == known.default and argument.choices == known.choices
    for node in nodes:  # ROS gets plain values
        assert yaml.safe_load(yaml.safe_dump(node.parameters)) == node.parameters


def test_wrong_launch_arguments_are_all_named():
    texts = {name: argument.default for name, argument in BRINGUP.items()}
    with pytest.raises(ParameterError) as caught:
        read_arguments(BRINGUP, texts | {"seed": "-3", "simulate": "maybe", "mode": "fly"})
    told = str(caught.value)
    assert "seed = -3: allowed is at least 0" in told and "mode = 'fly': allowed is one of 'drive'" in told
    assert "simulate = 'maybe': allowed is one of true, false" in told
