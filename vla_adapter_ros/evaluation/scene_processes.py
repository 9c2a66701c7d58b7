"""Runs scenes one after the other, or in several processes beside each other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

import torch

from vla_adapter_ros.errors import SimulationError

T = TypeVar("T")


class SceneLoop(Protocol[T]):
    """Policy and robot, made once in each process."""

    def run(self, seed: int) -> list[T]:
        """What came of the scene of this seed."""

    def close(self) -> None:
        """Let go of the robot."""


def run_scenes(
    make: Callable[[], SceneLoop[T]], seeds: Sequence[int], jobs: int
) -> Generator[list[T], None, None]:
    """Results of all scenes, in order; one thread computes in each process.

    Args:
        make: Makes what runs a scene; can be pickled.
        seeds: Of the scenes, or numbers of episodes.
        jobs: Processes; 1: this one.

    Raises:
        SimulationError: a process ended early.
        VlaAdapterError: what `make` raises.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        loop = make()  # also with several jobs, so that what is wrong is said here
        if jobs == 1:
            yield from map(loop.run, seeds)
            return
        loop.close()
        with ProcessPoolExecutor(jobs, get_context("spawn"), _prepare, (make,)) as pool:
            yield from pool.map(_run, seeds)
    except BrokenProcessPool as error:
        raise SimulationError(f"one of {jobs} processes ended early ({error}): try fewer") from error
    finally:
        torch.set_num_threads(threads)


_loop: SceneLoop[Any] | None = None  # of a worker process


def _prepare(make: Callable[[], SceneLoop[Any]]) -> None:
    global _loop
    torch.set_num_threads(1)
    _loop = make()


def _run(seed: int) -> list[Any]:
    assert _loop is not None
    return _loop.run(seed)
