"""On a GPU: no tensor on another device, no waiting for the GPU within a stage, few kernels.

No GPU is needed: see `issued_operators.py`.
"""

from __future__ import annotations

import pytest
import torch

from vla_adapter_ros.model import preset
from vla_adapter_ros.model.engine import language_stage

from .issued_operators import FakeEngine, HostSynchronization, gpu_without_memory
from .test_engine import VARIANTS

# Operators that launch kernels with the published sizes, two images and 56 tokens. Fewer is better: lower the
# number with the code. More needs a reason.
BUDGET = {
    "pro": {"vision": 562, "language": 421, "head": 430},
    "base": {"vision": 562, "language": 421, "head": 430},
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_stage_leaves_the_gpu_or_waits_for_it(name: str, dtype: torch.dtype) -> None:
    with gpu_without_memory():
        engine = FakeEngine(VARIANTS[name], dtype)
        for prompt, camera in ((5, None), (30, (48, 64))):
            assert all(names for names in engine.operators(prompt, camera).values())


@pytest.mark.parametrize("head", BUDGET)
def test_operators_stay_within_their_budget(head: str) -> None:
    with gpu_without_memory():
        issued = FakeEngine(preset("0.5b", head=head)).operators(56, (480, 640))
    assert {stage: len(names) for stage, names in issued.items()} == BUDGET[head]


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: bool(x.any()),
        lambda x: x.index_select(0, torch.tensor([0])),
        lambda x: torch.tensor([0, 1], device=x.device),
    ],
    ids=["item", "where", "cpu", "bool", "index on the CPU", "upload"],
)
def test_waiting_is_noticed(monkeypatch: pytest.MonkeyPatch, wait: object) -> None:
    additive = language_stage._additive

    def broken(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        wait(visible)
        return additive(visible, dtype)

    monkeypatch.setattr(language_stage, "_additive", broken)
    with gpu_without_memory():
        engine = FakeEngine(VARIANTS["llama"])
        with pytest.raises(Exception) as caught:
            engine.operators(5)
    kinds = (HostSynchronization, *_FAKE_ERRORS)
    assert isinstance(caught.value, kinds), caught.value


_FAKE_ERRORS = (
    torch._subclasses.fake_tensor.DataDependentOutputException,
    torch._subclasses.fake_tensor.DynamicOutputShapeException,
    RuntimeError,  # tensors of two devices
)
