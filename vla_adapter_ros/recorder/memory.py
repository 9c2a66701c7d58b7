"""Keeps the memory of a process that handles many images small and warm.

With glibc; elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_LARGEST_IN_HEAP = 32 * 2**20  # [byte], the most that glibc takes
_KEPT_BYTES = 64 * 2**20  # free memory at the heap's end that is not given back


def share_one_heap() -> bool:
    """Let all threads take images from one heap that keeps its pages; False where libc is not glibc.

    By itself glibc gives each thread a heap of its own, and every new encoder thread leaves one behind.
    Were images mapped one by one instead, the system would have to clear every page anew: that took
    more than half of the time needed to receive them.
    """
    mallopt = _glibc("mallopt")
    options = (_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _LARGEST_IN_HEAP), (_M_TRIM_THRESHOLD, _KEPT_BYTES)
    return mallopt is not None and all([mallopt(option, value) for option, value in options])


def give_back_memory() -> None:
    """Give free memory back to the system, wherever it lies; takes some milliseconds.

    A heap does so only at its end, and what an episode leaves free would else add up between blocks
    that stay.
    """
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


@functools.cache
def _glibc(name: str) -> Any:
    """One of glibc's own functions, or None where there is none."""
    try:
        return getattr(ctypes.CDLL(None), name) if sys.platform.startswith("linux") else None
    except (OSError, AttributeError):
        return None
