"""What changes while a training runs: weights, optimizer, moving average, losses; saved, loaded, written."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.adapters import add_lora, frozen_to_bf16, plain_copy
from vla_adapter_ros.training.distributed import Processes, whole
from vla_adapter_ros.training.ema import RunningMean
from vla_adapter_ros.training.finetune_plan import TrainingBundle
from vla_adapter_ros.training.module import TrainingModule
from vla_adapter_ros.training.optimizations import apply_training_optimizations, compile_layers
from vla_adapter_ros.training.optimizer import build_optimizer, freeze_parts
from vla_adapter_ros.training.space import bytes_needed, require_space
from vla_adapter_ros.training.state import load_state, save_state


@dataclass
class Learner:
    """What learns. All processes of a training call its methods together.

    Attributes:
        policy: Around the network that trains.
        model: The `TrainingModule` as it is called, see `Processes.prepare`.
        optimizer: Of what trains in it.
        mean: Moving average of its weights.
        processes: Those that train together.
        losses: Of the steps made so far.
        whole_copy: Where weights that are spread over processes are put together; None elsewhere.
    """

    policy: VlaAdapterPolicy
    model: nn.Module
    optimizer: torch.optim.Optimizer
    mean: RunningMean
    processes: Processes
    losses: list[float] = field(default_factory=list)
    whole_copy: TrainingModule | None = None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What trains."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def save(self, path: Path, record: dict[str, Any]) -> None:
        """Write the running training to `path`, with its record."""
        model = self.processes.inner(self.model)
        save_state(path, model, self.optimizer, self.losses, record, self.mean, write=self.processes.is_first)
        self.processes.wait()

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote.

        Raises:
            TrainingError: the file is damaged or belongs to another model.
        """
        model = self.processes.inner(self.model)
        self.losses = load_state(path, model, self.optimizer, self.mean)

    def write_checkpoint(self, folder: Path) -> None:
        """Write a checkpoint of the weights as they are validated: their moving average, if there is one."""
        if not (self.processes.is_first or self.processes.sharded):
            return
        with self.mean.in_place():
            policy = self.plain_policy()
            if policy is not None:
                largest = max(float(p.detach().abs().max()) for p in policy.network.parameters())
                fits = (
                    largest < torch.finfo(torch.float16).max and self.policy.network.dtype != torch.bfloat16
                )
                policy.save_pretrained(folder, dtype=torch.float16 if fits else torch.bfloat16)

    def plain_policy(self) -> VlaAdapterPolicy | None:
        """The policy on the CPU as it is now, without adapters; None where only a part of it was given."""
        inner = self.processes.inner(self.model)
        if self.processes.sharded:
            state = {name: whole(value.detach()).cpu() for name, value in inner.state_dict().items()}
            if self.whole_copy is None:
                return None
            self.whole_copy.load_state_dict(state)
            inner = self.whole_copy
        assert isinstance(inner, TrainingModule)
        return self.policy.replace(network=plain_copy(inner.network))


def build_learner(bundle: TrainingBundle, processes: Processes, folder: Path) -> Learner:
    """Adapters, optimizer and moving average around the bundle's policy, whose network is changed in place.

    Draws from torch's global generator.

    Args:
        bundle: What trains, and how.
        processes: Those that train together.
        folder: Of the running training; the disk that it lies on must be large enough.

    Raises:
        TrainingError: the disk is too small, or settings do not fit the network.
    """
    policy, settings = bundle.policy, bundle.settings
    weights = sum(p.numel() for p in policy.network.parameters())
    if settings.lora_rank:
        add_lora(
            policy.network, settings.lora_rank, settings.lora_alpha, settings.lora_dropout,
            settings.lora_targets,
        )  # fmt: skip
    module = TrainingModule(policy).to(processes.device)
    freeze_parts(module, settings)
    if not settings.master_weights:
        module.to(torch.bfloat16)
    elif settings.frozen_bf16:
        frozen_to_bf16(policy.network)
    if processes.is_first:
        needed = bytes_needed(
            module, weights, settings.save_total_limit, ema=settings.ema_decay > 0,
            validates=bundle.rows.is_validation,
        )  # fmt: skip
        require_space(folder.parent, needed)
    whole_copy = copy.deepcopy(module).cpu() if processes.sharded and processes.is_first else None
    apply_training_optimizations(module, processes.device)
    if settings.compile:
        compile_layers(module)
    model = processes.prepare(module)
    inner = processes.inner(model)
    return Learner(
        policy, model, build_optimizer(inner, settings), RunningMean(inner, settings.ema_decay), processes,
        whole_copy=whole_copy,
    )  # fmt: skip
