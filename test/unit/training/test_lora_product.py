"""An adapted layer in one step gives what the library gives in several."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from vla_adapter_ros.training.lora_product import FusedLora, LoraProduct, fuse


def adapted(bias: bool = True, dropout: float = 0.0) -> nn.Sequential:
    """A layer from 12 to 20 with an adapter of rank 3 that is not zero."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(12, 20, bias=bias))
    settings = LoraConfig(r=3, lora_alpha=5, lora_dropout=dropout, target_modules=["0"])
    inject_adapter_in_model(settings, model)
    nn.init.normal_(model[0].lora_B["default"].weight)
    return model


def gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Output and gradients of input and adapter."""
    x = x.clone().requires_grad_()
    out = model(x)
    out.float().square().sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    found = [out.detach(), x.grad, *(p.grad for p in trained)]
    model.zero_grad(set_to_none=True)
    return found


def test_gradients_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    sizes = (2, 3, 4), (5, 4), (5,), (2, 4), (5, 2)
    x, w, bias, a, b = (torch.randn(size, dtype=torch.float64) for size in sizes)
    for part in (x, a, b):
        part.requires_grad_()
    assert torch.autograd.gradcheck(lambda *parts: LoraProduct.apply(*parts, 1.7), (x, w, bias, a, b))
    plain = x @ w.T + bias + 1.7 * (x @ a.T) @ b.T
    torch.testing.assert_close(LoraProduct.apply(x, w, bias, a, b, 1.7), plain)


@pytest.mark.parametrize("bias", [True, False])
def test_same_as_the_library_in_float32(bias: bool) -> None:
    model, x = adapted(bias), torch.randn(2, 7, 12)
    before = gradients(model, x)
    assert type(fuse(model)[0]) is FusedLora
    for ours, theirs in zip(gradients(model, x), before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max()))


def test_same_as_the_library_with_products_in_bf16() -> None:
    model, x = adapted(), torch.randn(2, 7, 12)
    model[0].base_layer.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        before = gradients(model, x)
        after = gradients(fuse(model), x)
    assert [v.dtype for v in after] == [v.dtype for v in before]
    for ours, theirs in zip(after, before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.03, atol=0.03 * float(theirs.abs().max()))


def test_no_gradient_for_an_input_that_wants_none() -> None:
    model = fuse(adapted())
    model(torch.randn(4, 12)).sum().backward()
    assert model[0].lora_A["default"].weight.grad.abs().sum() > 0


def test_dropout_and_switched_off_adapters_are_left_to_the_library() -> None:
    x = torch.randn(64, 12)
    dropping = fuse(adapted(dropout=0.5)).train()
    assert not torch.equal(dropping(x), dropping(x))
    model = fuse(adapted())
    model[0].enable_adapters(False)
    torch.testing.assert_close(model(x), model[0].base_layer(x))
