"""The optimizer of a fine-tuning run and its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from vla_adapter_ros.training.settings import FinetuneSettings

HEAD = ("action_head", "proprio_projector", "waypoint")
QUERIES = "action_queries"
_BETA1 = 0.9


def freeze_parts(model: nn.Module, settings: FinetuneSettings) -> None:
    """Freeze what the settings exclude, and what no loss reaches; changes the model in place.

    A backbone whose factor is 0 is frozen; the action queries then belong to the policy.
    """
    frozen = settings.backbone_lr_factor == 0
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        backbone = frozen and not _in_head(parts, frozen)
        unreached = "waypoint" in parts and settings.waypoint_weight == 0
        if backbone or unreached or any(part in settings.freeze for part in parts):
            parameter.requires_grad_(False)


def build_optimizer(model: nn.Module, settings: FinetuneSettings) -> torch.optim.AdamW:
    """AdamW in four groups: policy and backbone, of each what has weight decay and what has none.

    What requires no gradient is in no group (see `freeze_parts` and `training.adapters`). Each group keeps
    its largest learning rate as `peak`.
    """
    freeze_parts(model, settings)
    frozen = settings.backbone_lr_factor == 0
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 or not settings.decay_matrices_only
            key = (_in_head(name.split("."), frozen), decays)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": settings.weight_decay if decays else 0.0,
                "peak": settings.lr * (1.0 if in_head else settings.backbone_lr_factor),
            }
            for (in_head, decays), parameters in groups.items()
        ],
        lr=settings.lr,
        betas=(_BETA1, settings.adam_beta2),
        fused=True,
    )


def _in_head(parts: list[str], frozen: bool) -> bool:
    """Whether a parameter learns with the policy head; on a frozen backbone the queries do."""
    return any(part in HEAD for part in parts) or (frozen and QUERIES in parts)


def learning_rate_factor(step: int, settings: FinetuneSettings) -> float:
    """Learning rate of step number `step` (from 0), relative to the largest one.

    transformers' schedules give these rates only with warm-up and length shifted by one step, each kind by
    another shift, so that using them would take more code than this.
    """
    warmup_steps = min(settings.warmup_steps, settings.steps // 2)  # a short run still reaches the full rate
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if settings.schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, settings.steps - warmup_steps)
    return settings.final_lr + (1 - settings.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
