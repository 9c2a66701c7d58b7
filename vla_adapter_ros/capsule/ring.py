"""The newest entries of a process in memory, bounded in time and bytes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

S = TypeVar("S")
E = TypeVar("E")


@dataclass
class Segment(Generic[S, E]):
    """Entries in the order in which they came, and the state before the first of them."""

    state: S
    begun: float
    entries: list[E] = field(default_factory=list)
    size: int = 0


class SegmentRing(Generic[S, E]):
    """Segments of entries; the oldest ones go as a whole, so that the first state that is left fits.

    Adding takes constant time. It is not safe to use from several threads at once.

    Args:
        kept_s: Entries of at least so long are kept, where the bytes permit [s].
        segment_s: Length of a segment [s].
        most_bytes: That all entries may take.
    """

    def __init__(self, kept_s: float, segment_s: float, most_bytes: int) -> None:
        self._segments: deque[Segment[S, E]] = deque()
        self._segment_s, self._most_bytes = segment_s, most_bytes
        self._most = round(kept_s / segment_s) + 1
        self._size = 0

    def due(self, now: float) -> bool:
        """Whether a new segment is to be begun at `now` [s]."""
        if not self._segments:
            return True
        newest = self._segments[-1]
        full = newest.size >= self._most_bytes // self._most
        return full or not 0.0 <= now - newest.begun < self._segment_s

    def begin(self, state: S, now: float) -> None:
        """Begin a segment at `now` [s]; what is too old goes."""
        self._segments.append(Segment(state, now))
        while len(self._segments) > self._most or (len(self._segments) > 1 and self._size > self._most_bytes):
            self._size -= self._segments.popleft().size

    def add(self, entry: E, size: int) -> None:
        """Add an entry of about `size` bytes, unless no segment has begun.

        A flood that no new segment ends clears the ring: with a gap in it the state would fit no more.
        """
        if not self._segments:
            return
        newest = self._segments[-1]
        newest.entries.append(entry)
        newest.size += size
        self._size += size
        if self._size > 2 * self._most_bytes:
            self._segments.clear()
            self._size = 0

    def contents(self) -> tuple[S, list[E]] | None:
        """The state before the oldest entry, and all entries; None before the first segment."""
        if not self._segments:
            return None
        entries: list[E] = []
        for segment in self._segments:
            entries += segment.entries
        return self._segments[0].state, entries


class NewestEntries(Generic[E]):
    """Entries of the last seconds, the newest of which fit into some bytes. Not safe for several threads.

    Args:
        kept_s: Older entries go [s].
        most_bytes: The oldest entries go while all of them take more.
    """

    def __init__(self, kept_s: float, most_bytes: int) -> None:
        self._kept_s, self._most_bytes = kept_s, most_bytes
        self._entries: deque[tuple[float, int, E]] = deque()
        self._size = 0

    def add(self, entry: E, now: float, size: int) -> None:
        """Add an entry of `size` bytes at `now` [s]. What is later than that was before the clock was set."""
        self._entries.append((now, size, entry))
        self._size += size
        while self._size > self._most_bytes or not 0.0 <= now - self._entries[0][0] <= self._kept_s:
            self._size -= self._entries.popleft()[1]
            if not self._entries:
                break

    def contents(self) -> list[E]:
        """All entries, the oldest first."""
        return [entry for _, _, entry in self._entries]
