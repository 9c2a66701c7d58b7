"""The child's side: serves one world over two pipes, and puts its pictures into shared memory.

It runs in the world's own environment, so it imports nothing but numpy and the standard library.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

Sizes = Mapping[str, tuple[int, int]]
"""Width and height of each camera's picture, by name."""


class World(Protocol):
    """What a child serves. Every answer is a mapping that JSON can hold."""

    def reset(self, task: str, seed: int) -> Mapping[str, Any]:
        """Begin an episode; the same task and seed begin the same one, whatever went before.

        Returns:
            `state`, the measured proprioception (S,), and what else is known of the world.
        """

    def step(self, action: np.ndarray) -> Mapping[str, Any]:
        """Let one step of the simulator pass.

        Args:
            action: As the world takes it (A,).

        Returns:
            As `reset`, with `success`, whether the task is done, and `over`, whether the episode has ended.
        """

    def expert(self) -> np.ndarray:
        """What the world's scripted expert would do now (A,)."""

    def physics(self) -> np.ndarray:
        """The whole state of the simulator, to be compared."""

    def draw(self, camera: str, width: int, height: int) -> np.ndarray:
        """What a camera sees now, uint8 (height, width, 3) RGB."""


def views(memory: mmap.mmap, sizes: Sizes) -> dict[str, np.ndarray]:
    """The pictures of shared memory: uint8 (height, width, 3) by camera."""
    found, start = {}, 0
    for name, (width, height) in sizes.items():
        count = 3 * width * height
        found[name] = np.frombuffer(memory, np.uint8, count, start).reshape(height, width, 3)
        start += count
    return found


def memory_size(sizes: Sizes) -> int:
    """Bytes of shared memory for these pictures."""
    return max(1, sum(3 * width * height for width, height in sizes.values()))


def serve(world: World, requests: int, replies: int, memory: int, sizes: Sizes) -> None:
    """Answer requests until the parent closes its pipe.

    Args:
        world: What is asked.
        requests: File descriptor to read lines of JSON from.
        replies: File descriptor to write one line of JSON to per request.
        memory: File descriptor of the shared memory.
        sizes: Of the pictures in it.
    """
    pictures = views(mmap.mmap(memory, memory_size(sizes)), sizes)
    with os.fdopen(requests, "r", encoding="utf-8") as incoming, os.fdopen(replies, "w") as outgoing:
        for line in incoming:
            try:
                answer = {"result": _answer(world, json.loads(line), pictures)}
            except Exception as error:
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"}
            outgoing.write(json.dumps(answer) + "\n")
            outgoing.flush()


def _answer(world: World, request: Mapping[str, Any], pictures: Mapping[str, np.ndarray]) -> Any:
    match request["do"]:
        case "reset":
            return world.reset(request["task"], request["seed"])
        case "step":
            known: Mapping[str, Any] = {}
            for taken, action in enumerate(request["actions"], start=1):
                known = {**world.step(np.array(action)), "taken": taken}
                if known["over"]:
                    break
            return known
        case "expert":
            return world.expert().tolist()
        case "physics":
            return world.physics().tolist()
        case "look":
            for name in request["cameras"]:
                picture = pictures[name]
                picture[:] = world.draw(name, picture.shape[1], picture.shape[0])
            return None
        case unknown:
            raise ValueError(f"request {unknown!r}: allowed are reset, step, expert, physics and look")


def arguments() -> tuple[int, int, int, dict[str, tuple[int, int]]]:
    """File descriptors and picture sizes of the child's command line, as `serve` takes them.

    What the world's libraries print goes to the error stream.
    """
    requests, replies, memory, sizes = sys.argv[1:5]
    os.dup2(2, 1)
    return int(requests), int(replies), int(memory), {k: tuple(v) for k, v in json.loads(sizes).items()}
