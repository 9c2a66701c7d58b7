"""A linear layer with its low-rank adapter in one step, in place of seven.

The library peft casts the layer's input to the adapter's type, multiplies twice, scales, adds and casts back,
each with a new array of the size of the output, and keeps several of them for the backward pass. Here the
update is added to the output where it lies. The sums are the same up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class LoraProduct(torch.autograd.Function):
    """x W^T + bias + scale * (x A^T) B^T, for frozen W and bias; all of one type."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        """Map x (..., in), by weight (out, in), bias (out,), a (rank, in), b (out, rank), to (..., out)."""
        flat = x.reshape(-1, x.shape[-1])
        inner = flat @ a.T
        out = F.linear(flat, weight, bias).addmm_(inner, b.T, alpha=scale)
        ctx.save_for_backward(flat, inner, weight, a, b)
        ctx.scale = scale
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, a and b."""
        flat, inner, weight, a, b = ctx.saved_tensors
        back = grad.reshape(-1, grad.shape[-1])
        inner_back = (back @ b).mul_(ctx.scale)
        x_back = None
        if ctx.needs_input_grad[0]:
            x_back = (back @ weight).addmm_(inner_back, a).view(*grad.shape[:-1], -1)
        return x_back, None, None, inner_back.T @ flat, (back.T @ inner).mul_(ctx.scale), None


class FusedLora(Linear):
    """peft's adapted linear layer with `LoraProduct` as its forward pass.

    Where that does not apply (dropout, a merged or switched-off adapter, trained weights) it is peft's own.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map x (..., in) to (..., out), in the type of the products."""
        name, base = self.active_adapters[0], self.base_layer
        assert isinstance(base, nn.Linear)
        if args or kwargs or not self._is_plain(name):
            return super().forward(x, *args, **kwargs)
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else base.weight.dtype
        a, b = self.lora_A[name].weight, self.lora_B[name].weight
        assert isinstance(a, Tensor) and isinstance(b, Tensor)
        parts = (x, base.weight, base.bias, a, b)
        with torch.autocast(kind, enabled=False):
            cast = [None if part is None else part.to(dtype) for part in parts]
            out: Tensor = LoraProduct.apply(*cast, self.scaling[name])  # type: ignore[no-untyped-call]
            return out

    def _is_plain(self, name: str) -> bool:
        return (
            len(self.active_adapters) == 1
            and not (self.disable_adapters or self.merged)
            and isinstance(self.lora_dropout[name], nn.Identity)
            and not self.base_layer.weight.requires_grad
        )


def fuse(network: nn.Module) -> nn.Module:
    """Let the adapted linear layers of a network take one step; changes it in place and returns it."""
    for module in network.modules():
        if type(module) is Linear:
            module.__class__ = FusedLora
    return network
