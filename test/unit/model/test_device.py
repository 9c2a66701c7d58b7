"""Where torch computes: the same rule on machines with and without GPUs."""

from __future__ import annotations

import pytest
import torch

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.model.device import describe_device, resolve_device


@pytest.fixture
def gpus(monkeypatch):
    """Let torch see so many GPUs."""

    def see(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")

    return see


def test_a_gpu_is_used_where_there_is_one(gpus):
    gpus(0)
    assert resolve_device() == resolve_device("cpu") == torch.device("cpu")
    assert describe_device(resolve_device()) == "on the CPU: no GPU found"
    gpus(2)
    assert resolve_device() == resolve_device("cuda") == torch.device("cuda:0")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    assert describe_device(resolve_device("cuda:1")) == "on cuda:1, NVIDIA H200"
    assert describe_device(resolve_device("cpu")) == "on the CPU"


@pytest.mark.parametrize("name", ["", "gpu", "cuda:2", "cuda:-1", "cuda:x", "meta", "CPU"])
@pytest.mark.parametrize("count", [0, 2])
def test_other_names_are_refused_with_what_is_allowed(gpus, name, count):
    gpus(count)
    allowed = "auto, cpu, cuda, cuda:0 to cuda:1" if count else "auto or cpu, as torch sees no GPU"
    with pytest.raises(ParameterError, match=f"^device = '{name}': allowed is {allowed}$"):
        resolve_device(name)
