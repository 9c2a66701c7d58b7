"""Keeps the tests of this folder on one core."""

from one_core import one_thread  # noqa: F401
