"""CUDA graphs: a stage's kernels are recorded once and then launched as one.

A recording is not trusted before it was compared with the function itself on other input: one that holds no
kernels, or reads something else than its arguments, would replay the first chunk for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from vla_adapter_ros.errors import GraphError

WARM_UP = 3  # runs before recording, in which libraries choose kernels and allocate
_ADVICE = (
    "do without recorded graphs: VlaAdapterPolicy.use_graphs(False), or InferenceEngine(..., graphs=False)"
)


def on_device(device: torch.device) -> AbstractContextManager[None]:
    """Inside, a GPU is the current one; a CPU changes nothing.

    Streams, graphs and pinned memory belong to the current device. That is GPU 0 in every thread until
    somebody says otherwise, wherever the tensors are.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Inside, products and convolutions of float32 on a GPU are exact to float32.

    cuDNN rounds the inputs of convolutions to TF32, 10 bits, unless it is told otherwise. The settings are
    the process's; whoever calls finds them as they were.
    """
    before: list[tuple[Any, str, Any]] = []
    if device.type == "cuda":
        for owner, name, value in _float32_settings():
            before.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _float32_settings() -> list[tuple[Any, str, Any]]:
    """Owner, name and exact value of torch's settings; newer versions must not be told by the older names."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, "conv"):
        return [(cudnn.conv, "fp32_precision", "ieee"), (matmul, "fp32_precision", "ieee")]
    return [(cudnn, "allow_tf32", False), (matmul, "allow_tf32", False)]


def compiling() -> AbstractContextManager[None]:
    """Inside, torch.compile takes any number of shapes: beyond eight it would no longer compile, silently."""
    config: Any = torch._dynamo.config
    most = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    return config.patch({most: 1 << 16, f"accumulated_{most}": 1 << 16})


class Recorder:
    """Records functions on one GPU. Its recordings share streams and memory, so they must not run at once.

    Args:
        device: The GPU, with its index.
        dtype: Type in which the functions compute; it decides what counts as rounding, see `check_recording`.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        with on_device(device):
            # torch.cuda.graph's own stream would be that of the process's first capture, on its device.
            self.warm_up, self.capture = torch.cuda.Stream(device), torch.cuda.Stream(device)
            self.pool = torch.cuda.graph_pool_handle()

    def record(
        self,
        name: str,
        function: Callable[..., Tensor],
        arguments: tuple[Tensor, ...],
        reads: tuple[Tensor, ...] = (),
    ) -> Recorded:
        """Record a function and check the recording on other input.

        Args:
            name: What to call it in an error.
            function: Works on tensors of this GPU without waiting for it, and gives floating numbers.
            arguments: Tensors of the right shapes, see `disturbed`; recorded are copies of them.
            reads: Floating tensors in fixed places that it reads besides; they keep their values.

        Raises:
            GraphError: the recording does not do what the function does.
        """
        with on_device(self.device):
            recorded = Recorded(function, arguments, self)
            check_recording(name, recorded, function, reads, self.dtype)
        return recorded


class Recorded:
    """A function of tensors of fixed shapes, recorded. Arguments and result lie in fixed places."""

    def __init__(
        self, function: Callable[..., Tensor], arguments: tuple[Tensor, ...], recorder: Recorder
    ) -> None:
        self.device = recorder.device
        self.arguments = tuple(argument.clone() for argument in arguments)
        stream = recorder.warm_up
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(*self.arguments)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=recorder.pool, stream=recorder.capture):
            self.result = function(*self.arguments)

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Run on these arguments; the result is overwritten by the next call."""
        with on_device(self.device):
            for place, argument in zip(self.arguments, arguments, strict=True):
                place.copy_(argument, non_blocking=True)
            self.graph.replay()
        return self.result


def check_recording(
    name: str,
    recorded: Recorded,
    function: Callable[..., Tensor],
    reads: tuple[Tensor, ...],
    dtype: torch.dtype,
) -> None:
    """Replay once on other input and compare with the function itself, which waits for the GPU.

    The result's place is filled with NaN before the replay, so what no kernel writes shows. The norm of the
    difference may be sqrt(epsilon of `dtype`) of the result's: 0.09 in bf16, 0.03 in fp16, 0.0003 in fp32.
    What is not finite in both counts as equal: that is the policy's to report.

    Raises:
        GraphError: nothing was written, or something else.
    """
    generator = torch.Generator().manual_seed(0)
    kept = [place.clone() for place in reads]
    for place in reads:
        place.copy_(disturbed(place, generator))
    other = [disturbed(place, generator) for place in recorded.arguments]
    expected = function(*other).clone()  # its place may be that of the recorded result
    recorded.result.fill_(torch.nan)
    replayed = recorded(*other)
    untouched = bool(replayed.isnan().all()) and not bool(expected.isnan().all())
    equal = (replayed == expected) | (replayed.isnan() & expected.isnan())
    error = float(torch.where(equal, 0.0, replayed.float() - expected.float()).norm())
    size = float(expected.float().nan_to_num(0.0, 0.0, 0.0).norm())
    for place, values in zip(reads, kept, strict=True):
        place.copy_(values)
    if untouched:
        raise GraphError(f"the recorded graph of {name} on {recorded.device} holds no kernels: {_ADVICE}")
    allowed = torch.finfo(dtype).eps ** 0.5
    if not error <= allowed * size:
        raise GraphError(
            f"the recorded graph of {name} on {recorded.device} gives another result than its stage on new "
            f"input: off by {error / (size or 1.0):.2g} of its size, allowed is {allowed:.2g}; {_ADVICE}"
        )


def disturbed(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Another value that is as valid, on the same device.

    Bytes (pixels) are drawn anew, floating numbers get noise of their own size, and whole numbers (places in
    a sequence, of which each occurs once) come in reverse order.
    """
    if tensor.dtype == torch.uint8:
        drawn = torch.randint(0, 256, tensor.shape, dtype=torch.uint8, generator=generator)
        return drawn.to(tensor.device)
    if not tensor.is_floating_point():
        return tensor.flip(0)
    size = tensor.float().square().mean().sqrt()
    noise = torch.randn(tensor.shape, generator=generator).to(tensor.device)
    return tensor + (noise * torch.where(size > 0, size, 1.0)).to(tensor.dtype)
