"""An emulation of what the engine uses of `torch.cuda`, for machines without a GPU.

No CUDA runs here. All tensors lie in the CPU's memory and count as lying on one GPU, the home. Emulated is
what decides what a graph holds: each operation is issued to the current stream of the home, whatever device
is the current one, and a capture records what is issued to its own stream. A replay runs the recorded
operations again, on the same memory.

Unlike on a GPU, what is recorded also runs at once, everything is synchronous, and there is one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from vla_adapter_ros.model import VlaAdapter


class Stream:
    """A queue of one device. `wait_stream` has nothing to do where everything is synchronous."""

    def __init__(self, index: int) -> None:
        self.index = index

    def wait_stream(self, other: Stream) -> None:
        assert other.index == self.index, "streams of two devices"


class Graph:
    """Recorded operations.

    Attributes:
        nodes: Function, arguments, named arguments and the tensors that came out.
        first: What they held at the capture.
        fault: See `EmulatedGpu.faults`; empty: none.
    """

    def __init__(self) -> None:
        self.nodes: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.first: list[list[Tensor]] = []
        self.fault = ""


class EmulatedGpu:
    """Install with `with gpu.installed(): ...`; the network is then built as on a CPU.

    Args:
        home: Index of the GPU on which all tensors lie.

    Attributes:
        current: Index of the current device; 0 at first, as in every new thread.
        calls: What was asked for, with the current device at that moment.
        graphs: All graphs, in the order of their capture.
        faults: Number of a capture to what goes wrong: `empty` (nothing is recorded), `elsewhere` (the
            captured stream is of another device), `stale` (a replay gives what came out at the capture).
    """

    def __init__(self, home: int) -> None:
        self.home, self.current = torch.device("cuda", home), 0
        self.calls: list[tuple[str, int]] = []
        self.graphs: list[Graph] = []
        self.faults: dict[int, str] = {}
        self._streams: dict[int, Stream] = {}
        self._captured: tuple[Graph, Stream] | None = None
        self._capture_stream: Stream | None = None  # of the process, as in torch.cuda.graph

    def _note(self, what: str) -> None:
        self.calls.append((what, self.current))

    def _index(self, device: torch.device | int | None) -> int:
        index = device.index if isinstance(device, torch.device) else device
        return self.current if index is None else index

    @contextmanager
    def device(self, device: torch.device | int | None) -> Iterator[None]:
        before, self.current = self.current, self._index(device)
        try:
            yield
        finally:
            self.current = before

    def new_stream(self, device: torch.device | int | None = None) -> Stream:
        self._note("stream")
        return Stream(self._index(device))

    def current_stream(self, device: torch.device | int | None = None) -> Stream:
        self._note("current stream")
        index = self._index(device)
        return self._streams.setdefault(index, Stream(index))

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before = self._streams.get(stream.index)
        with self.device(stream.index):
            self._streams[stream.index] = stream
            try:
                yield
            finally:
                self._streams[stream.index] = before or Stream(stream.index)

    @contextmanager
    def capture(self, graph: Any, pool: Any = None, stream: Stream | None = None) -> Iterator[None]:
        self._note("capture")
        if stream is None:
            self._capture_stream = self._capture_stream or self.new_stream()
            stream = self._capture_stream
        recorded = graph.emulated
        recorded.fault = self.faults.get(len(self.graphs), "")
        self.graphs.append(recorded)
        if recorded.fault == "elsewhere":
            stream = Stream(1 - self.home.index)
        with self.stream(stream):
            self._captured = recorded, stream
            try:
                yield
            finally:
                self._captured = None

    def issue(self, function: Any, arguments: Any, named: Any, out: Any) -> None:
        """Record an operation, if its stream is captured."""
        if self._captured is None:
            return
        graph, stream = self._captured
        if self._streams.get(self.home.index) is stream and graph.fault != "empty":
            tensors = [value for value in tree_flatten(out)[0] if isinstance(value, Tensor)]
            graph.nodes.append((function, arguments, named, tensors))
            graph.first.append([tensor.clone() for tensor in tensors])

    def replay(self, graph: Graph) -> None:
        self._note("replay")
        for (function, arguments, named, places), first in zip(graph.nodes, graph.first, strict=True):
            again = function(*arguments, **named)
            values = [value for value in tree_flatten(again)[0] if isinstance(value, Tensor)]
            for place, value in zip(places, first if graph.fault == "stale" else values, strict=True):
                # Views and what was changed in place are where they should be.
                if place.data_ptr() != value.data_ptr() and 0 not in place.stride():
                    place.copy_(value)

    def pin_memory(self, tensor: Tensor) -> Tensor:
        self._note("pinned memory")
        return tensor

    @contextmanager
    def installed(self) -> Iterator[EmulatedGpu]:
        gpu = self

        class CudaGraph:
            def __init__(self) -> None:
                self.emulated = Graph()

            def replay(self) -> None:
                gpu.replay(self.emulated)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(VlaAdapter, "device", property(lambda network: gpu.home))
            patch.setattr(torch.cuda, "device", gpu.device)
            patch.setattr(torch.cuda, "Stream", gpu.new_stream)
            patch.setattr(torch.cuda, "stream", gpu.stream)
            patch.setattr(torch.cuda, "current_stream", gpu.current_stream)
            patch.setattr(torch.cuda, "CUDAGraph", CudaGraph)
            patch.setattr(torch.cuda, "graph", gpu.capture)
            patch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
            with _OnTheCpu(gpu), _Issued(gpu):
                yield gpu


class _OnTheCpu(TorchFunctionMode):
    """What is asked for on a GPU is made on the CPU."""

    def __init__(self, gpu: EmulatedGpu) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is Tensor.pin_memory:
            return self._gpu.pin_memory(*args)
        return function(*tree_map(_on_the_cpu, args), **tree_map(_on_the_cpu, kwargs or {}))


def _on_the_cpu(value: Any) -> Any:
    on_a_gpu = isinstance(value, torch.device) and value.type == "cuda"
    return torch.device("cpu") if on_a_gpu else value


class _Issued(TorchDispatchMode):
    """Tells the emulation of each operation."""

    def __init__(self, gpu: EmulatedGpu) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        self._gpu.issue(function, args, kwargs or {}, out)
        return out
