"""The commands that README and docs/ show, and what the real parsers say of them."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from vla_adapter_ros.cli.main import _parser
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.launch_arguments import BRINGUP, RECORD, read_arguments

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?:^<!-- run(?P<slow>: slow)? -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.M | re.S)
SPAN = re.compile(r"`((?:vla-adapter|make|ros2 launch|ros2 run|ros2 service call) [^`]+)`")
OPTION = re.compile(r"`(--[a-z][\w-]*)(?![\w.-])[^`]*`")
OTHERS = {"--show-args", "--multi_gpu", "--use_fsdp", "--cpu", "--num_processes", "--no-deps", "--rename_map"}
"""Options of other programs that pages name."""
TOOLS = ("vla-adapter", "make", "ros2", "accelerate")
LAUNCH_FILES = {"bringup.launch.py": BRINGUP, "record.launch.py": RECORD}
NODES = [f"{kind}_node" for kind in ("policy", "controller", "recorder", "simulator", "teleop", "console")]


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Attributes:
        page: Path below the repository.
        text: As written, lines joined.
        whole: Whether it stands in a block and can be typed as it is; else its options may be incomplete.
    """

    page: str
    text: str
    whole: bool


@dataclass(frozen=True)
class Block:
    """A block of code of a page: its language, its text, and whether it is to be run, and slowly."""

    page: str
    kind: str
    text: str
    run: bool
    slow: bool


def pages() -> list[Path]:
    """Every page that users read."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    return sorted([*found, *(ROOT / "benchmarks").glob("*.md")])


def blocks() -> Iterator[Block]:
    """All blocks of code, page by page."""
    for page in pages():
        name = str(page.relative_to(ROOT))
        for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
            run = found[0].startswith("<!--")
            yield Block(name, found["kind"], found["text"], run, found["slow"] is not None)


def commands() -> Iterator[Command]:
    """All commands: lines of blocks, and spans of code in sentences."""
    for block in blocks():
        if block.kind in ("", "sh", "bash"):
            for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
                for part in re.split(r"\s(?:&&|\|\|)\s", line):
                    if part.strip().startswith(TOOLS):
                        synopsis = re.search(r"\s\[|\.\.\.|[A-Z]\|", part) is not None
                        yield Command(block.page, part.strip(), not synopsis)
    for page in pages():
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        for found in SPAN.finditer(text):
            yield Command(str(page.relative_to(ROOT)), " ".join(found[1].split()), False)


def run(chosen: list[Block], folder: Path) -> None:
    """Run the blocks of a page, one after the other in one folder, as a reader would type them.

    Raises:
        AssertionError: a command failed; with its last words.
    """
    command = f'vla-adapter() {{ "{sys.executable}" -m vla_adapter_ros.cli.main "$@"; }}\n'
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for block in chosen:
        done = subprocess.run(
            ["bash", "-euc", command + block.text], cwd=folder, env=environment,
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block.text}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"


def named_options() -> Iterator[tuple[str, str]]:
    """Options that sentences name without their command: (page, option)."""
    for page in pages():
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        yield from ((str(page.relative_to(ROOT)), found) for found in OPTION.findall(text))


def all_options() -> set[str]:
    """Every option of every command of `vla-adapter`, and those of other programs that pages name."""
    return {option for parser in _all([_parser()]) for option in parser._option_string_actions} | OTHERS


def problem(command: Command) -> str:
    """Why a command cannot be typed as it stands; empty if it can."""
    try:
        words = shlex.split(command.text, comments=True)
    except ValueError:
        words = command.text.split()
    if words[0] == "accelerate":
        words = ["vla-adapter", *words[words.index("vla_adapter_ros.cli.main") + 1 :]]
    if words[0] == "vla-adapter":
        return _parsed(words[1:]) if command.whole else _known(words[1:])
    if words[0] == "make":
        return _make(words[1:])
    return _ros2(words[1:])


def _parsed(words: list[str]) -> str:
    try:
        _quiet(_parser()).parse_args(words)
    except argparse.ArgumentError as error:
        return str(error)
    except SystemExit as end:
        return "" if end.code == 0 else f"ends with {end.code}"
    return ""


def _quiet(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same, with its refusals as errors instead of an end of the process."""

    def refuse(message: str) -> None:
        raise argparse.ArgumentError(None, message)

    parser.error = refuse
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _quiet(child)
    return parser


def _known(words: list[str]) -> str:
    """Whether sub-commands and options exist, where values or further options are left out."""
    found = [_parser()]
    for word in words:
        children = [_children(parser) for parser in found]
        if word.startswith("-") or not any(children):
            break
        if word.strip("[]().").upper() == word.strip("[]()."):  # COMMAND, ...
            break
        missing = [name for name in word.split("|") if not any(name in child for child in children)]
        if missing:
            return f"no command {missing[0]!r}"
        found = [child[name] for child in children for name in word.split("|") if name in child]
    options = {option for parser in _all(found) for option in parser._option_string_actions}
    for word in words:
        name = word.strip("[](),.").split("=")[0]
        if name.startswith("--") and name not in options | {"--"}:
            return f"no option {name}"
    return ""


def _all(parsers: list[argparse.ArgumentParser]) -> Iterator[argparse.ArgumentParser]:
    for parser in parsers:
        yield parser
        yield from _all(list(_children(parser).values()))


def _children(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _make(words: list[str]) -> str:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w.-]*(?: [a-z][\w.-]*)*):(?!=)", text, re.M))
    targets = {name for names in targets for name in names.split()}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            if word not in targets:
                return f"no target {word}"
        elif f"$({name})" not in text:
            return f"no variable {name}"
        elif name == "DEMO_ARGS":
            return _parsed(["demo", *shlex.split(value)])
        elif name == "RECORD_ARGS":
            return _parsed(["collect-demos", *shlex.split(value)])
    return ""


def _ros2(words: list[str]) -> str:
    if words[:2] == ["launch", "vla_adapter_ros"]:
        arguments = LAUNCH_FILES.get(words[2], {} if words[2].isupper() else None)
        if arguments is None:
            return f"no launch file {words[2]}"
        given = dict(word.split(":=", 1) for word in words[3:] if ":=" in word)
        if strangers := given.keys() - arguments.keys():
            return f"no argument {sorted(strangers)}"
        given.pop("params_file", None)  # the reader's own
        try:
            read_arguments(arguments, {name: entry.default for name, entry in arguments.items()} | given)
        except ParameterError as error:
            return str(error)
    elif words[:2] == ["run", "vla_adapter_ros"]:
        return "" if words[2] in NODES else f"no executable {words[2]}"
    elif words[:2] == ["service", "call"] and len(words) > 3 and words[3].startswith("vla_adapter_ros/srv/"):
        file = ROOT / "srv" / f"{words[3].rsplit('/', 1)[1]}.srv"
        fields = re.findall(r"^\S+ +(\w+)", file.read_text(encoding="utf-8").split("---")[0], re.M)
        given = yaml.safe_load(words[4]) if len(words) > 4 else {}
        return f"no field {sorted(given.keys() - set(fields))}" if given.keys() - set(fields) else ""
    return ""


assert NodeSpec("policy").name in NODES
