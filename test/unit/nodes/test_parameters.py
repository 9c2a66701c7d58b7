"""Parameters: what a class says is what ROS, YAML, launch files and the command line take."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from vla_adapter_ros.choices import Choice, RendererName
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.nodes.graph import NodeSpec, node_list, recording_nodes
from vla_adapter_ros.nodes.launch_arguments import BRINGUP, RECORD, read_arguments
from vla_adapter_ros.nodes.parameters import (
    KINDS,
    Codec,
    ControllerMode,
    ControllerParameters,
    RecorderParameters,
    SimulatorParameters,
    allowed,
    build,
    choices,
    parse,
)

FIELDS = [(kind, field) for kind in KINDS.values() for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=lambda value: getattr(value, "name", None))
def test_every_parameter_refuses_what_it_does_not_allow(kind, field):
    assert getattr(build(kind, {}), field.name) == field.default
    wrong = [None, [], object()]
    if isinstance(field.default, Choice):
        assert choices(field) and all(isinstance(member, str) for member in type(field.default))
        wrong += ["", "no", 3]
    elif isinstance(field.default, bool):
        wrong += ["true", 1]
    elif isinstance(field.default, float):
        wrong += [float("nan"), float("inf"), True, "1"]
        wrong += [field.metadata["min"] - 1] if "min" in field.metadata else []
    elif isinstance(field.default, int):
        wrong += [1.5, True, "1"]
        wrong += [field.metadata["min"] - 1] if "min" in field.metadata else []
    for value in wrong:
        with pytest.raises(ParameterError, match=f"parameter {field.name} = .*: allowed is .") as caught:
            build(kind, {field.name: value})
        assert allowed(field) in str(caught.value) or not isinstance(value, str | float)


def test_all_wrong_parameters_are_told_at_once():
    with pytest.raises(ParameterError) as caught:
        build(ControllerParameters, {"rate_hz": 1000.0, "mode": "fly", "armed": "yes"})
    told = str(caught.value)
    assert "rate_hz = 1000.0: allowed is at least 50.0 and at most 500.0" in told
    assert "mode = 'fly': allowed is one of drive, dry_run, shadow, row_pass_through" in told
    assert "armed = 'yes': allowed is true or false" in told


def test_a_choice_is_its_text_everywhere(tmp_path):
    parameters = build(RecorderParameters, {"codec": "av1"})
    assert parameters.codec is Codec.AV1 and f"{parameters.codec}" == str(parameters.codec) == "av1"
    assert {"av1": 1}[parameters.codec] == 1
    file = NodeSpec("controller", {"mode": ControllerMode.SHADOW}).write_arguments(tmp_path)
    assert yaml.safe_load(file.read_text())["/**/**"]["ros__parameters"] == {"mode": "shadow"}
    assert [mode for mode in ControllerMode if mode.sends_commands] == [ControllerMode.DRIVE]
    assert not ControllerMode.SHADOW.needs_arming and ControllerMode.DRY_RUN.needs_arming


def test_what_is_typed_becomes_the_parameter():
    fields = SimulatorParameters.__dataclass_fields__
    assert parse(fields["seed"], "7") == 7 and parse(fields["lock_step"], "True") is True
    assert parse(fields["renderer"], "egl") is RendererName.EGL and parse(fields["patience_s"], "2") == 2.0
    for name, text in (
        ("seed", "-1"),
        ("seed", "x"),
        ("lock_step", "maybe"),
        ("renderer", ""),
        ("patience_s", "nan"),
    ):
        with pytest.raises(ParameterError, match=f"parameter {name} = .*allowed is"):
            parse(fields[name], text)


@pytest.mark.parametrize(("arguments", "make"), [(BRINGUP, node_list), (RECORD, recording_nodes)])
def test_launch_arguments_have_the_defaults_and_choices_of_the_parameters(arguments, make):
    values = read_arguments(arguments, {name: argument.default for name, argument in arguments.items()})
    nodes = make(**values)
    assert [node.kind for node in nodes if node.kind == "simulator"] == ["simulator"]
    for name, argument in arguments.items():
        assert argument.text
        for kind in (KINDS[node.kind] for node in nodes):
            field = kind.__dataclass_fields__.get(name)
            if field is not None and name in ("mode", "renderer", "device", "checkpoint", "on_fail", "seed"):
                assert values[name] == field.default and argument.choices == choices(field)
    for node in nodes:  # ROS gets plain values
        assert yaml.safe_load(yaml.safe_dump(node.parameters)) == node.parameters


def test_wrong_launch_arguments_are_all_named():
    texts = {name: argument.default for name, argument in BRINGUP.items()}
    with pytest.raises(ParameterError) as caught:
        read_arguments(BRINGUP, texts | {"seed": "-3", "simulate": "maybe", "mode": "fly"})
    told = str(caught.value)
    assert "seed = -3: allowed is at least 0" in told and "mode = 'fly': allowed is one of drive" in told
    assert "simulate = 'maybe': allowed is one of true, false" in told
