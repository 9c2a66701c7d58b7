"""The parent's side: a world in a process of its own, asked over pipes; pictures come in shared memory."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.worlds.serving import Sizes, memory_size, views

LONGEST_ANSWER_S = 300.0
"""Longer than loading a world takes on a busy machine."""
_PACKAGES = Path(__file__).resolve().parents[3]
# The folder comes last in the path: what it holds beside our package must not hide the world's own libraries.
_START = (
    "import sys; from importlib import import_module; sys.path.append(sys.argv.pop(1)); "
    "import_module(sys.argv.pop(1)).main()"
)
_TAIL = 600  # characters of what a child said last


@dataclass(frozen=True)
class WorldState:
    """What is known of a world.

    Attributes:
        state: Measured proprioception, float64 (S,).
        success: Whether the task is done.
        over: Whether the episode has ended.
        taken: Simulator steps of the request that were made: fewer than asked for where the episode ended.
        facts: All of the child's answer.
    """

    state: np.ndarray
    success: bool
    over: bool
    taken: int
    facts: Mapping[str, Any]


class WorldProcess:
    """A world that runs in a child process, with the libraries of that process's environment.

    The child ends when this object is closed or its process ends.

    Args:
        python: Interpreter of the environment.
        module: Of this package; its `main` serves the world, see `serving.serve`.
        sizes: Width and height of the pictures, by the cameras' names in that world.
        renderer: What draws in it, as `MUJOCO_GL` says: egl or osmesa.
        longest_answer_s: A child that is silent for longer is given up [s].
    """

    def __init__(
        self,
        python: Path,
        module: str,
        sizes: Sizes,
        *,
        renderer: str = "egl",
        longest_answer_s: float = LONGEST_ANSWER_S,
    ) -> None:
        self._module, self._longest_s = module, longest_answer_s
        self._said = tempfile.TemporaryFile()
        with tempfile.TemporaryFile() as shared, contextlib.ExitStack() as ours:
            shared.truncate(memory_size(sizes))
            self._memory = mmap.mmap(shared.fileno(), memory_size(sizes))
            self._pictures = views(self._memory, sizes)
            read, asked = os.pipe()
            self._replies, write = os.pipe()
            self._requests = os.fdopen(asked, "wb")
            for descriptor in (read, write):
                ours.callback(os.close, descriptor)
            handed = (read, write, shared.fileno())
            self._child = subprocess.Popen(
                [python, "-I", "-c", _START, _PACKAGES, module, *map(str, handed), json.dumps(dict(sizes))],
                pass_fds=handed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                env=os.environ | {"MUJOCO_GL": renderer, "LP_NUM_THREADS": "1"},
            )
        self._buffer = b""

    def __enter__(self) -> WorldProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reset(self, task: str, seed: int) -> WorldState:
        """Begin an episode; the same task and seed begin the same one.

        Raises:
            SimulationError: no such task, or the child has ended; so of every request.
        """
        return _state_of(self._ask("reset", task=task, seed=seed))

    def step(self, actions: np.ndarray | Sequence[np.ndarray] | Sequence[Sequence[float]]) -> WorldState:
        """Let one step of the simulator pass per action (N, A), at most until the episode ends."""
        return _state_of(self._ask("step", actions=np.asarray(actions, np.float64).tolist()))

    def expert(self) -> np.ndarray:
        """What the world's scripted expert would do now, float64 (A,)."""
        return np.array(self._ask("expert"))

    def physics(self) -> np.ndarray:
        """The whole state of the simulator, float64 (N,): equal states are equal bit by bit."""
        return np.array(self._ask("physics"))

    def look(self, cameras: Sequence[str]) -> list[np.ndarray]:
        """What cameras see now: uint8 (height, width, 3) each."""
        self._ask("look", cameras=list(cameras))
        return [self._pictures[name].copy() for name in cameras]

    def close(self) -> None:
        """End the child."""
        with contextlib.suppress(OSError):
            self._requests.close()
        try:
            self._child.wait(5.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        with contextlib.suppress(OSError):
            os.close(self._replies)
        self._pictures = {}
        with contextlib.suppress(BufferError):  # somebody still holds a view
            self._memory.close()
        self._said.close()

    def _ask(self, what: str, **more: Any) -> Any:
        try:
            self._requests.write(json.dumps({"do": what, **more}).encode() + b"\n")
            self._requests.flush()
            answer = json.loads(self._read_line())
        except (BrokenPipeError, ValueError) as error:
            raise SimulationError(f"{self._module} gave no answer to {what}: {self._last_words()}") from error
        if "error" in answer:
            raise SimulationError(f"{self._module}, {what}: {answer['error']}")
        return answer["result"]

    def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            if not select.select([self._replies], [], [], self._longest_s)[0]:
                self._child.kill()
                raise SimulationError(f"{self._module} was silent for {self._longest_s:g} s: it was ended")
            part = os.read(self._replies, 65536)
            if not part:
                raise BrokenPipeError
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(5.0)
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        return said[-_TAIL:] or f"it ended with status {self._child.poll()}"


def _state_of(answer: Mapping[str, Any]) -> WorldState:
    return WorldState(
        np.array(answer["state"], np.float64),
        bool(answer.get("success", False)),
        bool(answer.get("over", False)),
        int(answer.get("taken", 0)),
        answer,
    )
