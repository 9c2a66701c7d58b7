"""The engine's stages on a GPU that is not there: tensors without memory, with a device and a shape.

Every operator that a stage issues is seen. What needs the GPU's numbers on the host, or mixes devices, fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vla_adapter_ros.model import InferenceEngine, VlaAdapter, VlaAdapterConfig

HOME = torch.device("cuda", 7)  # of a number that no real one here has: tables are kept by device
VIEWS = {
    "alias", "as_strided", "detach", "diagonal", "expand", "permute", "select", "slice", "split",
    "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view", "_unsafe_view",
    "_reshape_alias", "unfold", "lift_fresh",
}  # fmt: skip
NO_KERNEL = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "resize_"}


class HostSynchronization(Exception):
    """A stage waits for the GPU, which no recorded graph can."""


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
        tags = function.tags
        if torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags:
            raise HostSynchronization(f"{function}: its result decides on the host")
        out = function(*args, **(kwargs or {}))
        given, made = (
            {t.device.type for t in tree_leaves(v) if isinstance(t, Tensor)} for v in ((args, kwargs), out)
        )
        if given | made >= {"cpu", "cuda"} and not _are_numbers(args):
            raise HostSynchronization(f"{function}: from {sorted(given)} to {sorted(made)}")
        if "cuda" in made and name not in VIEWS | NO_KERNEL:
            self.names.append(name)
        return out


def _are_numbers(args: Any) -> bool:
    """Whether what comes from the host are single numbers, which are arguments of a kernel."""
    host = [t for t in tree_leaves(args) if isinstance(t, Tensor) and t.device.type == "cpu"]
    return bool(host) and all(t.ndim == 0 for t in host)


class OneAttention(TorchFunctionMode):
    """Attention counts as one kernel, as on a GPU; torch writes it out for tensors without memory."""

    def __init__(self, issued: Issued) -> None:
        super().__init__()
        self._issued = issued

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.nn.functional.scaled_dot_product_attention:
            q, _, v = args[:3]
            self._issued.names.append("scaled_dot_product_attention")
            # As the fused kernels leave it: the heads of a token side by side.
            return q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[-1]).transpose(1, 2)
        return function(*args, **(kwargs or {}))


class FakeEngine:
    """An engine whose network lies on a GPU without memory.

    Args:
        config: Of any size.
        dtype: Of the weights.
    """

    def __init__(self, config: VlaAdapterConfig, dtype: torch.dtype = torch.bfloat16) -> None:
        self.config = config
        with torch.device(HOME):
            network = VlaAdapter(config).to(dtype).eval()
        self.engine = InferenceEngine(network, graphs=False)

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
                with OneAttention(seen), seen:
                    out = work()
            issued[stage] = seen.names
            assert out.device == HOME
            return out

        patches = run("vision", lambda: engine.vision(images, fit=camera is not None))
        run("language", lambda: engine.language(patches, prompt))
        run("head", lambda: engine.head(proprio))
        return issued


@contextmanager
def gpu_without_memory() -> Iterator[None]:
    """Inside, tensors on a GPU can be made, without numbers."""
    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True):
        patch.setattr(torch.cuda, "device", lambda device: nullcontext())
        yield
