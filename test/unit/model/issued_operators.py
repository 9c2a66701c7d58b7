"""The engine's stages on a device without memory, in place of a GPU: tensors have shapes, but no numbers.

Every operator that a stage issues is seen. What needs numbers on the host, or mixes devices, fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vla_adapter_ros.model import InferenceEngine, VlaAdapter, VlaAdapterConfig

HOME = torch.device("meta")
NO_KERNEL = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "resize_"}
UPLOADS = (torch.tensor, torch.as_tensor, torch.from_numpy)


class HostSynchronization(Exception):
    """A stage waits for the GPU, or copies from the host, which no recorded graph can."""


class Issued(TorchDispatchMode):
    """Collects the operators that launch kernels, and refuses those that wait for them.

    Attributes:
        names: In order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.split("::")[1]
        if {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(function.tags):
            raise HostSynchronization(f"{function}: its result decides on the host")
        out = function(*args, **(kwargs or {}))
        tensors = [value for value in tree_leaves((args, kwargs, out)) if isinstance(value, Tensor)]
        # Single numbers of the host are arguments of a kernel.
        if any(tensor.device != HOME and tensor.ndim for tensor in tensors):
            raise HostSynchronization(f"{function}: tensors on {[str(tensor.device) for tensor in tensors]}")
        if name not in NO_KERNEL and (function._schema.is_mutable or _is_new(out, (args, kwargs))):
            self.names.append(name)
        return out


def _is_new(out: Any, given: Any) -> bool:
    """Whether the result is no view of an argument."""
    places, known = (
        {v.untyped_storage()._cdata for v in tree_leaves(values) if isinstance(v, Tensor)}
        for values in (out, given)
    )
    return bool(places - known)


class Called(TorchFunctionMode):
    """Attention counts as one kernel, as on a GPU; torch writes it out elsewhere. No uploads."""

    def __init__(self, issued: Issued) -> None:
        super().__init__()
        self._issued = issued

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in UPLOADS and not isinstance(args[0], Tensor):
            raise HostSynchronization(f"{function.__name__}: a copy from the host")
        if function is torch.nn.functional.scaled_dot_product_attention:
            q, _, v = args[:3]
            self._issued.names.append("scaled_dot_product_attention")
            # As the fused kernels leave it: the heads of a token side by side.
            return q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[-1]).transpose(1, 2)
        return function(*args, **(kwargs or {}))


class EngineWithoutMemory:
    """An engine whose network lies on that device.

    Args:
        config: Of any size.
        dtype: Of the weights.
    """

    def __init__(self, config: VlaAdapterConfig, dtype: torch.dtype = torch.bfloat16) -> None:
        self.config = config
        with HOME:
            network = VlaAdapter(config).to(dtype).eval()
        self.engine = InferenceEngine(network)

    def operators(self, prompt_tokens: int, camera: tuple[int, int] | None = None) -> dict[str, list[str]]:
        """Run the stages; gives the operators of each that launch kernels.

        Args:
            prompt_tokens: Length of the prompt.
            camera: Height and width of images that the vision stage is to resize; None: they are resized.
        """
        config, engine = self.config, self.engine
        size = config.preprocessing.size
        height, width = camera or (size, size)
        images = torch.zeros(config.num_images, height, width, 3, dtype=torch.uint8, device=HOME)
        proprio = torch.zeros(config.state_width, device=HOME)
        prompt = engine.prompt(torch.zeros(prompt_tokens, dtype=torch.long))
        issued: dict[str, list[str]] = {}

        def run(stage: str, work: Callable[[], Tensor]) -> Tensor:
            with torch.inference_mode():
                work()  # what is done once, such as tables
                seen = Issued()
                with Called(seen), seen:
                    out = work()
            issued[stage] = seen.names
            assert out.device == HOME
            return out

        patches = run("vision", lambda: engine.vision(images, fit=camera is not None))
        run("language", lambda: engine.language(patches, prompt))
        run("head", lambda: engine.head(proprio))
        return issued
