"""All commands of the command line, for tests of each."""

from __future__ import annotations

import argparse

from vla_adapter_ros.cli.main import _parser
from vla_adapter_ros.cli.parser import leaves

COMMANDS = dict(leaves(_parser()))
"""Words of every command without sub-commands -> its parser."""


def needed(parser: argparse.ArgumentParser) -> list[str]:
    """Words for what a command cannot do without."""
    words = []
    for action in parser._actions:
        value = str(next(iter(action.choices))) if action.choices else "1"
        if not action.option_strings:
            words.append(value)
        elif action.required:
            words += [action.option_strings[0], value]
    return words
