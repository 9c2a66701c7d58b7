"""Keeps a process from holding on to memory that it no longer uses."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of glibc's malloc.h
_LARGE_BYTES = 256 * 1024


def return_large_blocks() -> bool:
    """Let freed images go back to the system at once; False where the C library is not glibc.

    glibc raises its threshold for such blocks by itself, after which freed images stay in the heaps of
    the threads that made them, and every new encoder thread has a heap of its own.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES) and mallopt(_M_ARENA_MAX, 2))
