"""The command line explains itself: groups, defaults, units, examples, and the usage of what was wrong."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest
from command_parsers import COMMANDS, needed
from page_commands import ROOT

import vla_adapter_ros
from vla_adapter_ros.choices import RendererName
from vla_adapter_ros.cli.examples import EXAMPLES, GROUPS
from vla_adapter_ros.cli.main import _parser, main
from vla_adapter_ros.cli.parser import leaves
from vla_adapter_ros.nodes.launch_arguments import BRINGUP, RECORD
from vla_adapter_ros.nodes.parameter_rules import parameters_of
from vla_adapter_ros.nodes.parameters import (
    ControllerMode,
    ControllerParameters,
    PolicyParameters,
    RecorderParameters,
    SimulatorParameters,
)

OURS = ("demo", "record", "collect-demos", "bringup", "instruct", "call", "checkpoint", "pretrain-grounding")
EXPLAINED = {words: parser for words, parser in COMMANDS.items() if words[0] in OURS}
UNITS = re.compile(r"\[(s|Hz|ms|m|rad)\]")


def name(words) -> str:
    return "-".join(words)


def shown(words, capsys) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert caught.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_every_command_is_in_one_group(capsys):
    grouped = [command for names in GROUPS.values() for command in names]
    assert sorted(grouped) == sorted(_parser().commands.choices)
    told = shown([], capsys)
    for title, names in GROUPS.items():
        assert f"{title}: {names[0]} " in told
    assert list(GROUPS) == ["try", "data", "train", "robot", "operate", "maintainers"]


def test_the_page_of_the_command_line_has_the_same_groups():
    page = (ROOT / "docs" / "reference" / "command_line.md").read_text()
    for title, names in GROUPS.items():
        assert f"| {title} | {', '.join(f'`{name}`' for name in names)} |" in page


def test_nobody_reads_on(monkeypatch, capsys):
    monkeypatch.setattr("vla_adapter_ros.cli.main._parser", lambda: ClosedPipe())
    assert main([]) == 1 and capsys.readouterr().err == ""


class ClosedPipe:
    """Parses nothing; its command prints where nobody reads any more."""

    def parse_args(self, arguments):
        def run(options):
            raise BrokenPipeError

        return argparse.Namespace(run=run, simulate=False)


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"vla-adapter {vla_adapter_ros.__version__}\n"


@pytest.mark.parametrize("words", COMMANDS, ids=name)
def test_every_command_has_a_sentence_and_examples_that_it_takes(words, capsys):
    told = shown(words, capsys)
    for example in EXAMPLES.get(words, []):
        options = _parser().parse_args(shlex.split(example))
        assert options.parser.prog == " ".join(["vla-adapter", *words])
        assert f"vla-adapter {example}" in told
    if words in EXPLAINED:
        assert EXAMPLES[words], f"{words}: add an example to cli/examples.py"
        assert COMMANDS[words].description.endswith(".")


def test_examples_are_of_commands_that_exist():
    assert set(EXAMPLES) <= set(dict(leaves(_parser())))


@pytest.mark.parametrize("words", EXPLAINED, ids=name)
def test_every_option_says_what_it_is_its_default_and_its_unit(words, capsys):
    told = shown(words, capsys)
    for action in COMMANDS[words]._actions:
        what = f"{words} {action.dest}"
        assert action.help, what
        if isinstance(action, argparse._HelpAction):
            continue
        takes_value = action.option_strings and action.nargs != 0
        if takes_value and not action.required and action.default != []:
            assert "default" in action.help or action.default not in (None, ""), what
            if action.default not in (None, "") and "default" not in action.help:
                assert f"(default: {action.default})" in told, what
        if isinstance(action.default, float):
            assert UNITS.search(action.help) or "fraction" in action.help.lower(), what


@pytest.mark.parametrize("words", COMMANDS, ids=name)
def test_a_wrong_option_shows_the_usage_of_its_own_command(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*words, *needed(COMMANDS[words]), "--no-such-option"])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    prog = " ".join(["vla-adapter", *words])
    assert told.startswith(f"usage: {prog} ")
    assert f"{prog}: error: unrecognized arguments: --no-such-option\n(see `{prog} --help`)" in told


def test_options_that_do_not_fit_together_show_the_usage_too(capsys):
    assert (
        main(["checkpoint", "convert", "x", "y", "--platform", "libero", "--contract", "z", "--set", "a"])
        == 2
    )
    told = capsys.readouterr().err
    assert told.startswith("usage: vla-adapter checkpoint convert ")
    assert "vla-adapter checkpoint convert: error: --set a: KEY=VALUE is needed" in told


def test_the_robot_is_simulated_by_default_everywhere():
    for words in ("bringup", "record --dataset x"):
        assert _parser().parse_args(words.split()).simulate is True
        for real in ("--robot", "--no-simulate"):
            assert _parser().parse_args([*words.split(), real]).simulate is False
        assert _parser().parse_args([*words.split(), "--simulate"]).simulate is True
        with pytest.raises(SystemExit):
            _parser().parse_args([*words.split(), "--robot", "--simulate"])
    assert BRINGUP["simulate"].default == RECORD["simulate"].default == "true"


def test_choices_are_those_of_the_parameters():
    found = {
        (action.dest, tuple(action.choices))
        for parser in EXPLAINED.values()
        for action in parser._actions
        if action.dest in ("renderer", "mode")
    }
    assert found == {("renderer", tuple(RendererName)), ("mode", tuple(ControllerMode))}


def test_options_that_are_node_parameters_say_what_the_parameters_say():
    found = 0
    for words, kinds in {
        ("bringup",): (SimulatorParameters, PolicyParameters, ControllerParameters),
        ("record",): (SimulatorParameters,),
        ("dataset", "import-bag"): (RecorderParameters,),
    }.items():
        known = {name: p for kind in kinds for name, p in parameters_of(kind).items()}
        for action in COMMANDS[words]._actions:
            shared = action.dest in known and action.dest not in ("instruction", "lock_step")
            if shared and not (
                words[0] == "dataset" and action.dest == "contract"
            ):  # it has no default there
                parameter = known[action.dest]
                assert action.default == parameter.default
                assert action.help.lower().startswith(parameter.text.lower().removesuffix("."))
                assert tuple(action.choices or ()) == parameter.choices
                found += 1
    assert found == 12
