"""What a check says: its level, its number, and one line for people."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.choices import Choice


class Level(Choice):
    """How bad it is, from harmless to bad; `skip` means that nothing is known."""

    SKIP = "skip"
    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        """0 for `skip` to 3 for `fail`."""
        return list(Level).index(self)


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        name: The check, as the list has it.
        level: pass, warn, fail or skip.
        value: The number that was compared; NaN if there is none.
        text: The number in words and what is allowed, without a line break.
        episodes: Which episodes are concerned, where a check looks at several at once.
    """

    name: str
    level: Level
    value: float
    text: str
    episodes: tuple[int, ...] = ()

    @property
    def line(self) -> str:
        """One line for people: level, name, text."""
        return f"{self.level} {self.name}: {self.text}"

    def as_json(self) -> dict[str, Any]:
        """Plain values; a number that is none becomes null."""
        value = self.value if math.isfinite(self.value) else None
        plain = {"name": self.name, "level": self.level.value, "value": value, "text": self.text}
        return plain | ({"episodes": list(self.episodes)} if self.episodes else {})


@dataclass(frozen=True)
class QualityReport:
    """All findings about an episode, or about whatever else was checked."""

    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The worst level: pass, warn or fail."""
        return worst(finding.level for finding in self.findings)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line per finding."""
        return tuple(finding.line for finding in self.findings)

    @property
    def issues(self) -> tuple[str, ...]:
        """The lines that warn or fail, failures first."""
        return tuple(f.line for level in (Level.FAIL, Level.WARN) for f in self.findings if f.level is level)

    def __getitem__(self, name: str) -> Finding:
        return next(finding for finding in self.findings if finding.name == name)


def worst(levels: Iterable[Level]) -> Level:
    """The worst of several levels, `pass` if all are `skip`."""
    return max(
        (level for level in levels if level is not Level.SKIP), key=lambda v: v.rank, default=Level.PASS
    )


def skip(name: str, why: str) -> Finding:
    """A check that could not be made."""
    return Finding(name, Level.SKIP, math.nan, why)


def listed(names: Iterable[object], maximum: int = 8) -> str:
    """The first few names in brackets, with a space before; empty if there are none."""
    texts = [str(name) for name in names]
    more = ", ..." if len(texts) > maximum else ""
    return f" ({', '.join(texts[:maximum])}{more})" if texts else ""
