"""CUDA graphs: a stage's kernels are recorded once and then launched as one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # runs before recording, in which libraries choose kernels and allocate


class Recorded:
    """A function of tensors of fixed shapes, recorded. Arguments and result lie in fixed places.

    Args:
        function: Works on GPU tensors without waiting for the GPU.
        arguments: Tensors of the right shapes; recorded are copies of them.
        pool: Memory pool that recordings which never run at once share.
    """

    def __init__(self, function: Callable[..., Tensor], arguments: tuple[Tensor, ...], pool: object) -> None:
        self.arguments = tuple(argument.clone() for argument in arguments)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(*self.arguments)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self.result = function(*self.arguments)

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Run on these arguments; the result is overwritten by the next call."""
        for place, argument in zip(self.arguments, arguments, strict=True):
            if place is not argument:
                place.copy_(argument, non_blocking=True)
        self.graph.replay()
        return self.result
