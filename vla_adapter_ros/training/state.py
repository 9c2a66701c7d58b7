"""A running training on disk: one safetensors file that is either complete or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vla_adapter_ros.errors import TrainingError

_PARTS = ("step", "exp_avg", "exp_avg_sq")


def save_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: list[float],
    settings: dict[str, Any],
) -> None:
    """Write weights, optimiser moments, the losses so far and the settings.

    The order of samples and all noise follow from the seed and the step, so no generator is stored.
    """
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        if parameter in optimizer.state:
            tensors |= {f"{part}.{name}": optimizer.state[parameter][part] for part in _PARTS}
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, temporary, metadata={"settings": json.dumps(settings)})
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_settings(path: Path) -> dict[str, Any]:
    """Settings of the training saved at `path`.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads(file.metadata()["settings"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path}: no saved training: {error}") from error


def load_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    """Put weights and moments back in place.

    Returns:
        The losses of all steps so far; the next step has their number.

    Raises:
        TrainingError: the file is damaged or belongs to another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        losses = tensors["losses"].tolist()
        weights = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        model.load_state_dict(weights)
        for name, parameter in model.named_parameters():
            if f"exp_avg.{name}" in tensors:
                parts = {part: tensors[f"{part}.{name}"].to(parameter.device) for part in _PARTS}
                optimizer.state[parameter] = parts
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        raise TrainingError(f"{path}: saved training does not fit: {error}") from error
    return losses
