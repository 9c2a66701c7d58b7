"""Linear layers of the large stages on a CPU: the network's own weights, or others made from them once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_adapter_ros.choices import LinearKind
from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.engine.choosing import fastest
from vla_adapter_ros.model.engine.fused_weights import fuse

LEVELS = 127.0
"""Largest whole number of an 8-bit weight or activation; -128 is left out, so that zero is in the middle."""


class Linear:
    """x (..., K) to x W^T + b, (..., N), with an exact GELU behind where it is asked for."""

    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: bool) -> None:
        self.weight, self.bias, self.gelu = weight, bias, gelu

    def __call__(self, x: Tensor) -> Tensor:
        """Compute the layer."""
        y = F.linear(x, self.weight, self.bias)
        return F.gelu(y) if self.gelu else y

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """The layer on `x`, and the residual (..., N) added."""
        return self(x).add_(residual)


class PackedLinear(Linear):
    """The weights lie in the order in which oneDNN's kernel reads them; what follows is fused into it."""

    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: bool, rows: int) -> None:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        super().__init__(packed, bias, gelu)
        self._then: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")

    def __call__(self, x: Tensor) -> Tensor:
        """Compute the layer."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, *self._then)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """The layer on `x`, and the residual (..., N) added."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")


class Int8Linear(Linear):
    """Weights in 8 bits, a scale for each output; activations too, a scale for each token, found on the way.

    The products are sums of whole numbers; what they are multiplied with is of the layer's own type.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, gelu: bool, rows: int) -> None:
        scales = weight.float().abs().amax(dim=1).clamp_min_(1e-12) / LEVELS
        whole = (weight.float() / scales[:, None]).round_().to(torch.int8)
        packed = torch.ops.onednn.qlinear_prepack(whole, [rows, weight.shape[1]])
        super().__init__(packed, bias, gelu)
        self._scales, self._zero = scales, torch.zeros(1, dtype=torch.int32)

    def __call__(self, x: Tensor) -> Tensor:
        """Compute the layer."""
        scale = x.abs().amax(dim=-1, keepdim=True).clamp_min_(1e-12).mul_(1 / LEVELS)
        whole = (x / scale).round_().to(torch.int8)
        y = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, 0, self.weight, self._scales, self._zero, None, 1.0, 0, x.dtype, "none", [], ""
        )
        y = y.mul_(scale) if self.bias is None else torch.addcmul(self.bias, y, scale)
        return F.gelu(y) if self.gelu else y


class Linears:
    """Makes the linear layers of an engine's stages.

    Args:
        kind: `plain` computes with the network's own weights. The others replace them: the network keeps
            their shapes, but no numbers, so that no copy fills the memory. `packed` does so only where that
            was measured to be faster, once for each shape.
        device: The network's.
        may_measure: Whether stages may measure which of their ways is the fastest here.
    """

    def __init__(self, kind: LinearKind, device: torch.device, may_measure: bool = True) -> None:
        self.kind, self.device, self.may_measure = kind, device, may_measure
        self._packs: dict[tuple[object, ...], bool] = {}

    def __call__(self, layers: Sequence[nn.Linear], rows: int, gelu: bool = False) -> Linear:
        """One layer that computes several of the same input, their outputs side by side.

        Args:
            layers: Of equal input width.
            rows: Tokens that it will usually get.
            gelu: Whether an exact GELU follows.

        Raises:
            ModelConfigError: another engine has replaced the weights.
        """
        if self.device.type != "meta" and any(layer.weight.is_meta for layer in layers):
            raise ModelConfigError(
                "another engine has replaced the weights by its own (packed, int8): load the checkpoint anew"
            )
        if self.kind == LinearKind.PLAIN:
            return self._plain(layers, gelu)
        with torch.no_grad():
            weight = torch.cat([layer.weight for layer in layers])
            bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
            if self.kind == LinearKind.INT8:
                made: Linear = Int8Linear(weight, bias, gelu, rows)
            else:
                shape = (rows, *weight.shape, gelu)
                if not self._packs.get(shape, True):  # another layer of this shape was measured
                    return self._plain(layers, gelu)
                made = PackedLinear(weight, bias, gelu, rows)
                if shape not in self._packs:
                    self._packs[shape] = _is_faster(made, Linear(weight, bias, gelu), rows)
                if not self._packs[shape]:
                    return self._plain(layers, gelu)
            for layer in layers:
                layer.weight = nn.Parameter(
                    torch.empty_like(layer.weight, device="meta"), requires_grad=False
                )
        return made

    def describe(self) -> str:
        """Such as `linear packed for 10 of 12 shapes`."""
        if self.kind != LinearKind.PACKED:
            return f"linear {self.kind}"
        return f"linear packed for {sum(self._packs.values())} of {len(self._packs)} shapes"

    def _plain(self, layers: Sequence[nn.Linear], gelu: bool) -> Linear:
        if len(layers) == 1:
            return Linear(layers[0].weight, layers[0].bias, gelu)
        bias = None if layers[0].bias is None else fuse([layer.bias for layer in layers])
        return Linear(fuse([layer.weight for layer in layers]), bias, gelu)  # type: ignore[misc]


def _is_faster(made: Linear, plain: Linear, rows: int) -> bool:
    x = torch.randn(rows, plain.weight.shape[1]).to(plain.weight.dtype)
    return fastest({True: lambda: made(x), False: lambda: plain(x)})
