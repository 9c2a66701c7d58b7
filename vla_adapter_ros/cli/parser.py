"""The parsers of the command line: each command shows its own usage, its defaults and its examples."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples, and ends the help of every option with its default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, default = action.help, action.default
        unsaid = default is None or isinstance(default, bool) or default in ("", argparse.SUPPRESS, [])
        if not text or unsaid or "default" in text or not action.option_strings:
            return text
        return f"{text} (default: %(default)s)"


class CommandParser(argparse.ArgumentParser):
    """The parser of a command.

    A wrong argument ends with the usage of the command that it was typed for. The parsed options hold the
    parser of their command as `parser`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("formatter_class", _HelpFormatter)
        super().__init__(*arguments, **options)
        self.set_defaults(parser=self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but an unknown argument ends with the usage of this command."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

    def describe_error(self, text: str) -> str:
        """Usage and error, as `error` prints them."""
        return f"{self.format_usage()}{self.prog}: error: {text}\n(see `{self.prog} --help`)\n"

    def error(self, message: str) -> Any:
        """End with status 2, the usage of this command and what was wrong."""
        self.exit(2, self.describe_error(message))


class MainParser(CommandParser):
    """The parser of `vla-adapter`, which lists its commands in groups.

    Args:
        groups: Title -> names of commands.
        options: Of argparse.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]], **options: Any) -> None:
        super().__init__(**options)
        self._command_groups = groups
        self.commands = self.add_subparsers(
            dest="command", required=True, metavar="COMMAND", parser_class=CommandParser
        )

    def format_help(self) -> str:
        """Usage, description, commands by group, options, and the epilog."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        shown = {action.dest: action for action in self.commands._choices_actions}
        for title, names in self._command_groups.items():
            formatter.start_section(title)
            formatter.add_arguments([shown[name] for name in names])
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments([action for action in self._actions if action.option_strings])
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()


def leaves(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command without sub-commands: its words and its parser."""
    kinds = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in kinds:
        for name, child in action.choices.items():
            yield from leaves(child, (*words, name))
    if not kinds:
        yield words, parser


def add_descriptions(
    parser: argparse.ArgumentParser, examples: Mapping[tuple[str, ...], Sequence[str]]
) -> None:
    """Give each command its help as a description, and its examples.

    Args:
        parser: With all commands.
        examples: Words of a command -> what to type, without `vla-adapter`.
    """
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {shown.dest: shown.help for shown in action._choices_actions}
            for name, child in action.choices.items():
                text = texts.get(name) or ""
                child.description = child.description or f"{text[:1].upper()}{text[1:]}."
                add_descriptions(child, {})
    for words, child in leaves(parser):
        if words in examples:
            lines = "\n".join(f"  vla-adapter {example}" for example in examples[words])
            text = f"example{'s' * (len(examples[words]) > 1)}:\n{lines}"
            child.epilog = f"{child.epilog}\n\n{text}" if child.epilog else text
