"""Recorded graphs without a GPU: `make_fx` traces a stage, and what is no argument becomes a constant.

As with a CUDA graph, all shapes are those of the recording, tensors that the stage found elsewhere keep
their places, and whatever Python decided while it was recorded stays decided.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from vla_adapter_ros.model import InferenceEngine, VlaAdapter


class FxRecorder:
    """Stands in for `graphs.Recorder`.

    Attributes:
        names: Of what was recorded, in order.
    """

    def __init__(self) -> None:
        self.names: list[str] = []

    def record(
        self,
        name: str,
        function: Callable[..., Tensor],
        arguments: tuple[Tensor, ...],
        reads: tuple[Tensor, ...] = (),
    ) -> Callable[..., Tensor]:
        self.names.append(name)
        places = tuple(argument.clone() for argument in arguments)
        graph = make_fx(function)(*places)

        def replay(*arguments: Tensor) -> Tensor:
            for place, argument in zip(places, arguments, strict=True):
                assert place.shape == argument.shape and place.dtype == argument.dtype
                place.copy_(argument)
            return graph(*places)

        return replay


def recording_engine(network: VlaAdapter) -> tuple[InferenceEngine, FxRecorder]:
    """An engine on the CPU that records its stages as it does on a GPU."""
    engine, recorder = InferenceEngine(network), FxRecorder()
    engine.graphs, engine._recorder = True, recorder
    return engine, recorder
