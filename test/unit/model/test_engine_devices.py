"""Graph capture belongs to the network's GPU and is checked: the emulated-device test.

The GPU is an emulation (see `emulated_gpu.py`): all tensors count as lying on cuda:1 while cuda:0 is the
current device, as with `device: cuda:1`. `test_engine.py` has the tests on a real GPU.
"""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vla_adapter_ros import errors
from vla_adapter_ros.model import InferenceEngine, VlaAdapterPolicy
from vla_adapter_ros.model.engine.graphs import check_recording, full_float32

from .emulated_gpu import EmulatedGpu
from .official_sample import official_policy
from .test_engine import VARIANTS, build, observation, plain

PACKAGE = Path(__file__).resolve().parents[3] / "vla_adapter_ros"


@pytest.mark.parametrize("warmed_up", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", ["official", "base", "llama", pytest.param("dit", marks=pytest.mark.slow), "tiny"]
)
def test_graphs_on_another_device_than_the_current_one(name: str, warmed_up: bool) -> None:
    network, gpu = build(VARIANTS[name]), EmulatedGpu(1)
    inputs = [observation(network.config, prompt) for prompt in (5, 7, 30, 5)]
    inputs += [(~images, ids, -proprio) for images, ids, proprio in inputs]
    expected = [plain(network, *each) for each in inputs]
    assert (expected[0] - expected[4]).abs().max() > 1e-3  # a stale chunk would show
    with gpu.installed():
        engine = InferenceEngine(network)
        engine.warm_up((5, 30) if warmed_up else ())
        before = len(gpu.graphs)
        for each, actions in zip(inputs, expected, strict=True):
            torch.testing.assert_close(engine.predict(*each), actions, rtol=0, atol=2e-5)
    assert gpu.graphs and all(graph.nodes for graph in gpu.graphs)
    if warmed_up:
        assert len(gpu.graphs) == before
    calls = {what for what, _ in gpu.calls}
    assert calls == {"stream", "current stream", "capture", "replay", "pinned memory"}
    assert [(what, index) for what, index in gpu.calls if index != 1] == [] and gpu.current == 0


@pytest.mark.parametrize("capture", range(3), ids=["vision", "language", "head"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("empty", "holds no kernels"),
        ("elsewhere", "holds no kernels"),
        ("stale", "gives another result than its stage on new input"),
    ],
)
def test_a_graph_that_does_not_do_its_stage_is_refused(capture: int, fault: str, message: str) -> None:
    network, gpu = build(VARIANTS["official"]), EmulatedGpu(1)
    gpu.faults[capture] = fault
    inputs = observation(network.config)
    name = ("vision stage", "language stage of 32 tokens", "head")[capture]
    with gpu.installed():
        with pytest.raises(errors.GraphError, match=f"graph of the {name} on cuda:1 {message}.*graphs=False"):
            InferenceEngine(network).predict(*inputs)
        without = InferenceEngine(network, graphs=False).predict(*inputs)
    torch.testing.assert_close(without, plain(network, *inputs), rtol=0, atol=2e-5)


CONVOLUTIONS = {"convolution", "conv2d"}
PRODUCTS = {"linear", "mm", "addmm", "bmm", "baddbmm", "matmul"}


class Precision(TorchDispatchMode):
    """Notes what torch allows while products and convolutions are issued."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, str, str]] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.split("::")[1]
        if name in CONVOLUTIONS | PRODUCTS:
            self.seen.add((name, *precisions()))
        return function(*args, **(kwargs or {}))


def precisions() -> tuple[str, str]:
    """Of convolutions and of products: `ieee`, `tf32`, or `none`, which is torch's default."""
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


@pytest.mark.parametrize("name", ["official", "tiny"])
def test_fp32_is_computed_without_tf32_and_the_process_keeps_its_setting(name: str) -> None:
    network, gpu = build(VARIANTS[name]), EmulatedGpu(1)
    inputs = observation(network.config)
    before, allowed = precisions(), torch.backends.cudnn.allow_tf32
    assert "ieee" not in before and allowed  # torch's default for convolutions
    with gpu.installed():
        engine = InferenceEngine(network)
        with Precision() as precision:
            engine.predict(*inputs)
    assert {kind for _, *kinds in precision.seen for kind in kinds} == {"ieee"}
    seen = {name for name, *_ in precision.seen}
    assert seen & CONVOLUTIONS and seen & PRODUCTS
    assert precisions() == before and torch.backends.cudnn.allow_tf32 == allowed
    with pytest.raises(RuntimeError), full_float32(torch.device("cuda", 1)):
        assert precisions() == ("ieee", "ieee")
        raise RuntimeError
    assert precisions() == before and torch.backends.cudnn.allow_tf32 == allowed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_is_no_disagreement(dtype: torch.dtype) -> None:
    """A result off by a quarter of what is allowed passes, one off by four times as much does not."""

    @dataclasses.dataclass
    class OffBy:
        part: float
        arguments: tuple[torch.Tensor, ...]
        result: torch.Tensor
        device: str = "cuda:1"

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return self.result.copy_(2 * x.double() * (1 + self.part))

    x = torch.linspace(-1, 1, 400, dtype=dtype)
    allowed = torch.finfo(dtype).eps ** 0.5
    check_recording("a stage", OffBy(allowed / 4, (x,), x.clone()), lambda x: 2 * x, (), dtype)
    with pytest.raises(errors.GraphError, match="of its size"):
        check_recording("a stage", OffBy(allowed * 4, (x,), x.clone()), lambda x: 2 * x, (), dtype)
    lost = x.clone()
    check_recording("a stage", OffBy(0.0, (lost.fill_(torch.nan),), x.clone()), lambda x: 2 * x, (), dtype)


def test_a_policy_can_do_without_graphs() -> None:
    policy, gpu = official_policy("base"), EmulatedGpu(1)
    images = [np.random.default_rng(i).integers(0, 256, (224, 224, 3), dtype=np.uint8) for i in range(2)]
    expected = policy.predict(images, "lift it?", np.zeros(8))
    again = VlaAdapterPolicy(policy.network, policy.config, policy.tokenizer, policy.statistics)
    with gpu.installed():
        gpu.faults[0] = "empty"
        with pytest.raises(errors.GraphError, match=r"use_graphs\(False\)"):
            again.predict(images, "lift it?", np.zeros(8))
        again.use_graphs(False)
        np.testing.assert_allclose(again.predict(images, "lift it?", np.zeros(8)), expected, atol=1e-5)
    assert len(gpu.graphs) == 1


def test_nothing_in_the_package_takes_the_current_device_without_a_word() -> None:
    """Calls of torch that fall back to the current device, or to all devices, name theirs."""
    harmless = {
        "is_available",
        "device_count",
        "get_arch_list",
        "current_device",
        "graph_pool_handle",
        "CUDAGraph",
    }
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            module, _, short = name.rpartition(".")
            if name == "torch.cuda.graph":
                good = any(keyword.arg == "stream" for keyword in node.keywords)
            elif module == "torch.cuda" or short == "fork_rng":
                good = short in harmless or bool(node.args or node.keywords)
            else:
                good = short != "cuda"
            if not good:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)}")
    assert found == []
