"""Where torch computes, and in which type: one rule for every command and node."""

from __future__ import annotations

import torch

from vla_adapter_ros.choices import WeightType
from vla_adapter_ros.errors import ParameterError

BF16_SINCE = (8, 0)
"""Compute capability of GPUs."""


def resolve_device(name: str = "auto") -> torch.device:
    """The torch device of a name; `auto` is the first GPU where there is one, else the CPU.

    Args:
        name: auto, cpu, cuda (the current GPU) or cuda:N.

    Raises:
        ParameterError: another name, or a GPU that torch does not see.
    """
    gpus = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if gpus and name in ("auto", "cuda"):
        return torch.device("cuda", torch.cuda.current_device())
    kind, _, number = name.partition(":")
    if kind == "cuda" and number.isdecimal() and int(number) < gpus:
        return torch.device("cuda", int(number))
    allowed = f"auto, cpu, cuda, cuda:0 to cuda:{gpus - 1}" if gpus else "auto or cpu, as torch sees no GPU"
    raise ParameterError(f"device = {name!r}: allowed is {allowed}")


def describe_device(device: torch.device) -> str:
    """Such as `on cuda:0, NVIDIA H200` or `on the CPU: no GPU found`."""
    if device.type == "cuda":
        return f"on {device}, {torch.cuda.get_device_name(device)}"
    return "on the CPU" if torch.cuda.is_available() else "on the CPU: no GPU found"


def torch_type(kind: WeightType) -> torch.dtype | None:
    """The type that a word stands for; None for `auto`, see `fastest_dtype`."""
    return {
        WeightType.AUTO: None, WeightType.FP32: torch.float32, WeightType.BF16: torch.bfloat16,
    }[kind]  # fmt: skip


def fastest_dtype(device: torch.device, weights: int) -> torch.dtype:
    """bf16 on a GPU or a CPU that has units for it (there for large models); else float32."""
    large = weights > 100_000_000  # small ones gain nothing on a CPU
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= BF16_SINCE
    else:
        fast = large and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
