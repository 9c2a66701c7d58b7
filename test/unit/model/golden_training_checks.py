"""One optimization step of the published code against ours, as functions that give distances."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vla_adapter_ros.model import VlaAdapter, VlaAdapterPolicy
from vla_adapter_ros.training.adapters import add_lora

from .golden import Golden
from .golden_checks import Check, distance

ADAPTER = "base_model.model."
CLEAR = 1e-6  # below this gradient AdamW's first step is a coin toss
LEVELS = [0, 1, 12, 24]


class Step:
    """The reference step of one fixture: `full` or `lora`."""

    def __init__(self, golden: Golden, kind: str) -> None:
        self.arrays = np.load(golden.folder / f"train_{kind}.npz")
        self.info: dict[str, Any] = json.loads((golden.folder / f"train_{kind}.json").read_text())
        self.prefix = ADAPTER if kind == "lora" else ""
        # Our network has no word head; officially its adapter gets no gradient, so AdamW skips it.
        self.norms = {name: v for name, v in self.info["grad_norms"].items() if ".lm_head." not in name}

    def name(self, ours: str) -> str:
        """Our parameter name as the fixture writes it."""
        for part, prefix in (("action_head.", "head."), ("proprio_projector.", "proprio.")):
            if ours.startswith(part):
                return prefix + ours.removeprefix(part)
        return f"vla.{self.prefix}{ours}"

    def stored(self, kind: str) -> dict[str, np.ndarray]:
        """Arrays of one kind (`grad`, `after`, ...) by parameter."""
        keys = [key for key in self.arrays.files if key.startswith(f"{kind}/")]
        return {key.removeprefix(f"{kind}/"): self.arrays[key] for key in keys}


def with_golden_lora(network: VlaAdapter, step: Step, **changes: Any) -> VlaAdapter:
    """Put in adapters with the reference's matrices; B is not zero there."""
    lora = step.info["lora"]
    add_lora(network, **{"rank": lora["r"], "alpha": lora["alpha"], **changes})
    start = {n.removeprefix(ADAPTER): torch.from_numpy(v) for n, v in step.stored("lora_init").items()}
    own = {name for name in network.state_dict() if ".lora_" in name}
    network.load_state_dict({name: start[name] for name in own}, strict=False)
    return network


def training_step(policy: VlaAdapterPolicy, golden: Golden, step: Step) -> list[Check]:
    """Loss, gradients and parameters of one AdamW step on samples 0 and 1.

    Which parameters train is up to the caller; those that do not are left out of the comparison.
    """
    network, info, arrays = policy.network.train(), step.info, step.arrays
    # The published collator pads on the right, ours on the left; the result must not depend on it.
    ids, mask = policy.tokenize([golden.info["samples"][i]["task"] for i in (0, 1)])
    pixels = torch.stack([policy.pixel_values(np.stack(golden.images(i, "cropped"))) for i in (0, 1)])
    proprio, noise = (torch.from_numpy(arrays[key]) for key in ("batch/proprio", "perturbation"))
    target = torch.from_numpy(arrays["batch/actions"])
    parameters = {step.name(n): p for n, p in network.named_parameters() if p.requires_grad}
    before = step.stored("before")
    checks = [Check("before", distance(parameters[n], v), 0) for n, v in before.items() if n in parameters]

    conditions = network.conditions(ids, mask, pixels)
    loss = network.head_loss(conditions, proprio, target, noise)
    loss.backward()
    with torch.no_grad():
        actions = network.head_actions(conditions, proprio, noise)
    states = conditions.action[:, arrays["hidden_states_levels"] if golden.trimmed else LEVELS]
    checks += [
        Check("loss, relative", abs(loss.item() / info["loss"] - 1), 1e-5),
        Check("actions", distance(actions, arrays["predicted_actions"]), 1e-4),
        Check("hidden states", distance(states, arrays["hidden_states_action_slice"]), 2e-3),
        *gradient_checks(parameters, step),
    ]
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=info["lr"], betas=info["betas"], eps=info["eps"],
        weight_decay=info["weight_decay"],
    )  # fmt: skip
    optimizer.step()
    after, gradients = step.stored("after"), step.stored("grad")
    worst = [
        distance(parameters[n].detach().numpy()[clear], v[clear])
        for n, v in after.items()
        if n in parameters and (clear := np.abs(gradients[n]) > CLEAR).any()
    ]
    checks.append(Check("after the step", max(worst), 2e-6))
    if set(parameters) == set(step.norms):
        with torch.no_grad():
            again = network.loss(ids, mask, pixels, proprio, target, noise).item()
        checks.append(Check("loss after the step", abs(again / info["loss_after_step"] - 1), 1e-3))
    return checks


def gradient_checks(parameters: dict[str, Tensor], step: Step) -> list[Check]:
    """Which parameters get a gradient, how large it is, and its values where they are stored."""
    unknown = set(parameters) - set(step.norms)
    reached = {n for n, p in parameters.items() if p.grad is not None and bool(p.grad.any())}
    expected = {n for n in parameters if step.norms.get(n)}
    both = sorted(reached & expected)
    norms = [abs(parameters[n].grad.norm().item() - step.norms[n]) / (step.norms[n] + 1e-4) for n in both]
    values = [
        distance(parameters[n].grad, v) / np.abs(v).max()
        for n, v in step.stored("grad").items()
        if n in parameters and parameters[n].grad is not None
    ]
    last_query = parameters[step.name("action_queries.weight")].grad[-1]
    return [
        Check("parameters unknown to the reference", len(unknown), 0),
        Check("parameters with a gradient", len(reached ^ expected), 0),
        Check("gradient norms, relative", max(norms), 1e-3),
        Check("gradients, relative", max(values), 1e-3),
        Check("gradient of the last query", last_query.abs().max().item(), 0),
    ]
