"""One full optimisation step against the published code: loss, gradients, parameters after it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vla_adapter_ros.model import VlaAdapterPolicy

from .golden import GOLDEN, Golden

pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="no golden data: set VLA_ADAPTER_SHARED to the folder that holds golden/"
)


def official_name(name: str) -> str:
    """Our parameter name as the fixture writes it."""
    for part, prefix in (("action_head.", "head."), ("proprio_projector.", "proprio.")):
        if name.startswith(part):
            return prefix + name.removeprefix(part)
    return f"vla.{name}"


@pytest.mark.parametrize("name", ["base", "pro"])
def test_one_full_training_step(name: str) -> None:
    golden = Golden(name)
    arrays = np.load(GOLDEN / name / "train_full.npz")
    info = json.loads((GOLDEN / name / "train_full.json").read_text())
    policy = VlaAdapterPolicy.from_pretrained(golden.checkpoint, platform="libero")
    network = policy.network.train()
    # The published collator pads on the right, ours on the left; the result must not depend on it.
    ids, mask = policy.tokenize([golden.info["samples"][i]["task"] for i in (0, 1)])
    pixels = torch.stack([policy.pixel_values(np.stack(golden.images(i, "cropped"))) for i in (0, 1)])
    proprio, noise = (torch.from_numpy(arrays[key]) for key in ("batch/proprio", "perturbation"))
    targets = torch.from_numpy(arrays["batch/actions"])

    def loss_and_actions() -> tuple[torch.Tensor, torch.Tensor]:
        actions = network(ids, mask, pixels, proprio, noise)
        return (actions - targets).abs().mean(), actions

    optimizer = torch.optim.AdamW(
        network.parameters(), lr=info["lr"], betas=info["betas"], eps=info["eps"],
        weight_decay=info["weight_decay"],
    )  # fmt: skip
    loss, actions = loss_and_actions()
    loss.backward()
    assert loss.item() == pytest.approx(info["loss"], rel=1e-5)
    np.testing.assert_allclose(actions.detach().numpy(), arrays["predicted_actions"], rtol=0, atol=1e-4)

    parameters = {official_name(key): value for key, value in network.named_parameters()}
    norms = info["grad_norms"]
    expected = {key for key in norms if key in parameters}
    assert expected == set(parameters), set(parameters) ^ expected
    for key, parameter in parameters.items():
        ours = None if parameter.grad is None else parameter.grad.norm().item()
        if norms[key] is None:
            assert not ours, key
        else:
            assert ours == pytest.approx(norms[key], rel=1e-3, abs=1e-7), key
    assert parameters["vla.action_queries.weight"].grad[-1].abs().max() == 0
    gradients = {key.removeprefix("grad/") for key in arrays.files if key.startswith("grad/")}
    for key in gradients:
        reference = arrays[f"grad/{key}"]
        np.testing.assert_allclose(
            parameters[key].grad.numpy(),
            reference,
            rtol=1e-3,
            atol=1e-3 * np.abs(reference).max(),
            err_msg=key,
        )
    optimizer.step()
    for key in gradients:
        if f"after/{key}" in arrays.files:
            clear = np.abs(arrays[f"grad/{key}"]) > 1e-6  # near zero, AdamW's first step is a coin toss
            after = parameters[key].detach().numpy()
            np.testing.assert_allclose(after[clear], arrays[f"after/{key}"][clear], rtol=0, atol=2e-6)
    with torch.no_grad():
        assert loss_and_actions()[0].item() == pytest.approx(info["loss_after_step"], rel=1e-3)
