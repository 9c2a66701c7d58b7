"""Texts as people type them: sentences that say something, and lists separated by commas."""

from __future__ import annotations

import unicodedata

_UNSEEN = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols by their class, yet blank on every screen


def visible(text: str) -> str:
    """A sentence without blanks and invisible characters at its ends; empty if nothing in it can be seen.

    Marks count only together with what they stand on.
    """
    if not any(unicodedata.category(c)[0] in "LNPS" and c not in _UNSEEN for c in text):
        return ""
    first, last = (next(n for n, c in enumerate(side) if _shows(c)) for side in (text, text[::-1]))
    return text[first : len(text) - last]


def comma_list(text: str) -> list[str]:
    """Entries of a list such as `a, b`, without the blanks around them; none of a text without any."""
    return [entry.strip() for entry in text.split(",")] if text.strip() else []


def _shows(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CZ" and character not in _UNSEEN
