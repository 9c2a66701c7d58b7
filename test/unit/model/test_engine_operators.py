"""What the stages issue to a GPU: nothing from another device, no waiting, few kernels. No GPU is needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vla_adapter_ros.model import preset
from vla_adapter_ros.model.engine import language_stage

from .issued_operators import EngineWithoutMemory, HostSynchronization
from .test_engine import VARIANTS

# Operators that launch kernels with the published sizes, two images of 640x480 and 56 tokens. Fewer is
# better: lower the number with the code. More needs a reason.
BUDGET = {
    "pro": {"vision": 533, "language": 364, "head": 309},
    "base": {"vision": 533, "language": 364, "head": 231},
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_stage_leaves_its_device_or_waits_for_it(name: str, dtype: torch.dtype) -> None:
    engine = EngineWithoutMemory(VARIANTS[name], dtype)
    for prompt, camera in ((5, None), (30, (48, 64))):
        assert all(names for names in engine.operators(prompt, camera).values())


@pytest.mark.parametrize("head", BUDGET)
def test_operators_stay_within_their_budget(head: str) -> None:
    issued = EngineWithoutMemory(preset("0.5b", head=head)).operators(56, (480, 640))
    assert {stage: len(names) for stage, names in issued.items()} == BUDGET[head]


WAITS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool(x.any()),
    "where": lambda x: x[x],
    "copy to the CPU": lambda x: x.cpu(),
    "index on the CPU": lambda x: x.index_select(0, torch.zeros(1, dtype=torch.long)),
    "upload": lambda x: torch.tensor([0, 1], device=x.device),
    "copy from the CPU": lambda x: torch.zeros(3).to(x.device),
}


@pytest.mark.parametrize("name", WAITS)
def test_waiting_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    engine, additive = EngineWithoutMemory(VARIANTS["llama"]), language_stage._additive
    engine.operators(5)
    calls: list[str] = []

    def waiting(visible: Tensor, dtype: torch.dtype) -> Tensor:
        calls.append(name)
        if len(calls) > 1:  # the first run is for what is done once
            WAITS[name](visible)
        return additive(visible, dtype)

    monkeypatch.setattr(language_stage, "_additive", waiting)
    with pytest.raises((HostSynchronization, RuntimeError, NotImplementedError)):
        engine.operators(5)
    assert len(calls) == 2
