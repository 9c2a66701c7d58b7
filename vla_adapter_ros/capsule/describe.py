"""What is in a capsule, in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from vla_adapter_ros.capsule.contents import MACHINE, Capsule
from vla_adapter_ros.capsule.folder import Half

_SHOWN = ("instruction", "checkpoint", "checkpoint_path", "session", "state", "reason")
_LONGEST = 300


def summary(capsule: Capsule) -> dict[str, Any]:
    """Halves, times, facts and sizes of a capsule, as what JSON can hold."""
    file = capsule.file
    return {
        "file": str(capsule.path),
        "bytes": file.size,
        "begin": file.begin_ns * 1e-9,
        "end": file.end_ns * 1e-9,
        "halves": {str(half): dict(facts) for half, facts in capsule.facts.items()},
        "topics": {
            name: {
                "type": topic.schema.name,
                "messages": file.counts[name],
                "bytes": file.bytes[name],
            }
            for name, topic in file.topics.items()
        },
    }


def describe(capsule: Capsule) -> str:
    """A capsule as a person wants to know it: what happened when, with what, and what is inside."""
    file, halves = capsule.file, capsule.facts
    newest = halves.get(Half.CONTROLLER) or next(iter(halves.values()))
    by = "after a fault" if newest.get("by") == "fault" else "by hand"
    lines = [
        f"{capsule.path.name}: {file.size / 1e6:.1f} MB, of {' and '.join(halves)}",
        _line("saved", f"{newest.get('saved', 'unknown')}, {by}"),
        _line("cause", newest.get("cause", "")),
        _line("time", _span(file.begin_ns, file.end_ns)),
    ]
    for name in _SHOWN:
        texts = [facts[name] for facts in halves.values() if facts.get(name)]
        lines += [_line(name, text) for text in dict.fromkeys(texts)]
    for half, facts in halves.items():
        lines.append(_line(str(half), _facts(facts, MACHINE)))
    lines.append("topics:")
    for name, topic in sorted(file.topics.items()):
        size = file.bytes[name] / 1e6
        kind = printable(topic.schema.name)
        lines.append(f"  {printable(name)}  {kind}  {file.counts[name]}  {size:.2f} MB")
    if not capsule.has_images:
        lines.append("no pictures")
    return "\n".join(lines)


def other_machine(recorded: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Which facts that decide about equal results differ, one sentence each."""
    return [
        f"{name.removeprefix(MACHINE)} is {printable(text)} in the capsule, {here[name]} here"
        for name, text in recorded.items()
        if name.startswith(MACHINE) and name in here and here[name] != text
    ]


def printable(text: str) -> str:
    """A stranger's text for a terminal: on one line, without anything that a terminal would obey."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[: _LONGEST + 1])
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def _line(name: str, text: str) -> str:
    return f"{name + ':':17}{printable(text)}"


def _facts(facts: Mapping[str, str], prefix: str) -> str:
    found = (f"{k.removeprefix(prefix)} {v}" for k, v in facts.items() if k.startswith(prefix) and v)
    return ", ".join(found)


def _span(begin_ns: int, end_ns: int) -> str:
    """Length, and both ends: dates, or seconds of a simulated clock."""
    begin, end = begin_ns * 1e-9, end_ns * 1e-9
    length = f"{end - begin:.1f} s"
    if begin < 1e9:  # a simulated clock begins at 0
        return f"{length}, from {begin:.2f} to {end:.2f} s"
    first, last = (datetime.fromtimestamp(t, timezone.utc) for t in (begin, end))
    return f"{length}, {first:%Y-%m-%d %H:%M:%S} to {last:%H:%M:%S} UTC"
