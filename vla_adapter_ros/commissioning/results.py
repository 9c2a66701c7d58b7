"""What a check of a contract found: a line each, with what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vla_adapter_ros.dataset.quality.findings import Level


@dataclass(frozen=True)
class Result:
    """One line of a check.

    Attributes:
        level: pass, warn or fail.
        subject: What was looked at: a key of the contract, a topic.
        text: What was found, in a sentence without a full stop.
        advice: What to do about it; empty where all is well.
    """

    level: Level
    subject: str
    text: str
    advice: str = ""

    @property
    def line(self) -> str:
        """The result as one line of text."""
        return f"{self.level:<4}  {self.subject}: {self.text}" + (f". {self.advice}" if self.advice else "")

    def as_json(self) -> dict[str, str]:
        """Plain data."""
        return {
            "level": str(self.level),
            "subject": self.subject,
            "text": self.text,
            "advice": self.advice,
        }


class Results(list[Result]):
    """Results in the order in which they were found."""

    def note_pass(self, subject: str, text: str) -> None:
        """All is well."""
        self.append(Result(Level.PASS, subject, text))

    def note_warning(self, subject: str, text: str, advice: str) -> None:
        """It may be well."""
        self.append(Result(Level.WARN, subject, text, advice))

    def note_failure(self, subject: str, text: str, advice: str) -> None:
        """It will not work."""
        self.append(Result(Level.FAIL, subject, text, advice))


def worst(results: Iterable[Result]) -> Level:
    """The worst level; pass where there are no results."""
    return max((result.level for result in results), key=lambda level: level.rank, default=Level.PASS)


def summary(results: Iterable[Result]) -> str:
    """How many results are of each level, the worst first."""
    levels = [result.level for result in results]
    words = {Level.FAIL: "failed", Level.WARN: "warnings", Level.PASS: "passed"}
    return ", ".join(f"{levels.count(level)} {word}" for level, word in words.items())


def nearest(name: str, names: Iterable[str]) -> str:
    """How names that are there go on in a sentence: those like `name` first, at most six."""
    import difflib

    names = list(names)
    alike = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    shown = [*alike, *(other for other in names if other not in alike)][:6]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") if shown else "none"
