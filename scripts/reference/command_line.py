"""The command `vla-adapter` and the launch files as Markdown, from their own parsers and declarations."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path
from typing import Any

from vla_adapter_ros.cli.main import _parser
from vla_adapter_ros.nodes.launch_arguments import BOOLEAN, BRINGUP, RECORD

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
LAUNCH_FILES = {"bringup.launch.py": BRINGUP, "record.launch.py": RECORD}


def command_section() -> str:
    """Every command with its options."""
    return "\n".join(_command(parser, words, text) for words, parser, text in commands(_parser()))


def commands(parser: argparse.ArgumentParser, words: str = "vla-adapter") -> list[tuple[str, Any, str]]:
    """All commands that do something: (words, parser, help), in the order of the help."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, child in action.choices.items():
                inner = commands(child, f"{words} {name}")
                found += inner or [(f"{words} {name}", child, texts.get(name, ""))]
    return found


def _command(parser: argparse.ArgumentParser, words: str, text: str) -> str:
    lines = [f"### {words}\n", f"{text[:1].upper()}{text[1:]}.", ""]
    rows = [
        _option(action, group.title or "")
        for group in parser._action_groups
        for action in group._group_actions
        if not isinstance(action, argparse._HelpAction)
    ]
    if rows:
        lines += ["| option | value | default | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _option(action: argparse.Action, group: str) -> str:
    name = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.dest.upper()}`"
    if isinstance(action.metavar, str) and not action.option_strings:
        name = f"`{action.metavar}`"
    if action.choices:
        value = ", ".join(f"`{choice}`" for choice in action.choices)
    elif action.nargs == 0 or not action.option_strings:
        value = ""
    else:
        value = f"`{action.metavar or action.dest.upper()}`"
    turns_off = action.const is False  # such a flag is not given by default, though its value is true
    given = action.option_strings and not action.required and not turns_off
    default = _default(action.default) if given else ""
    said = (action.help or "").replace("%(default)s", str(action.default)).replace("|", "or")
    required = "Required. " if action.required and action.option_strings else ""
    return f"| {name} | {value} | {default} | {required}{said[:1].upper()}{said[1:]} |"


def _default(value: Any) -> str:
    if value is None or value is False or value in ("", argparse.SUPPRESS, []):
        return ""
    return "on" if value is True else f"`{value}`"


def launch_arguments() -> str:
    """The arguments of every launch file."""
    parts = []
    for file, arguments in LAUNCH_FILES.items():
        docstring = ast.get_docstring(ast.parse((LAUNCH / file).read_text(encoding="utf-8"))) or ""
        rows = [
            f"| `{name}` | `{argument.default or chr(34) * 2}` | {argument.text}"
            + (" (true or false)" if argument.choices == BOOLEAN else "")
            + " |"
            for name, argument in arguments.items()
        ]
        head = ["| argument | default | meaning |", "|---|---|---|"]
        parts.append("\n".join([f"## {file}\n", docstring, "", *head, *rows, ""]))
    return "\n".join(parts)
