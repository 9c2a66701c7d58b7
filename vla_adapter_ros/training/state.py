"""A running training on disk: one safetensors file that is either complete or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.files import write_file
from vla_adapter_ros.training.distributed import placed_like, whole
from vla_adapter_ros.training.ema import RunningMean
from vla_adapter_ros.training.old_records import rename_old_keys

STATE_FILE = "state.safetensors"
"""Name of the running training's state in its folder."""
_PARTS = ("step", "exp_avg", "exp_avg_sq")


def collect_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, mean: RunningMean | None = None
) -> dict[str, Tensor]:
    """What a training has learned: weights that train, optimizer moments, their running mean.

    Weights that do not train follow from the start and the seed; so do the order of samples and all noise.
    If the weights are spread over processes, all of them must call this.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            tensors[f"model.{name}"] = parameter
            for part in _PARTS if parameter in optimizer.state else ():
                tensors[f"{part}.{name}"] = optimizer.state[parameter][part]
    if mean is not None:
        tensors |= {f"mean.{name}": value for name, value in mean.means.items()}
    return {name: whole(value.detach()).cpu().contiguous() for name, value in tensors.items()}


def save_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: list[float],
    settings: dict[str, Any],
    mean: RunningMean | None = None,
    *,
    write: bool = True,
) -> None:
    """Write `collect_state`, the losses so far and the settings.

    Args:
        path: The file; an older one is replaced at once.
        model, optimizer, mean: What trains.
        losses: Of all steps so far.
        settings: Stored beside, see `read_settings`.
        write: False in processes that only give their part.
    """
    tensors = collect_state(model, optimizer, mean)
    if not write:
        return
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    write_file(path, lambda to: save_file(tensors, to, metadata={"settings": json.dumps(settings)}))


def read_settings(path: Path) -> dict[str, Any]:
    """Settings of the training saved at `path`, under the names of this version.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return rename_old_keys("settings", json.loads(file.metadata()["settings"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path}: no saved training: {error}") from error


def load_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, mean: RunningMean | None = None
) -> list[float]:
    """Put weights, moments and running mean back in place.

    Returns:
        The losses of all steps so far; the next step has their number.

    Raises:
        TrainingError: the file is damaged or belongs to another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        losses = tensors["losses"].tolist()
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        stored = {name.removeprefix("model.") for name in tensors if name.startswith("model.")}
        if stored != set(parameters):
            raise KeyError(f"other weights: {sorted(stored ^ set(parameters))[:5]}")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(placed_like(tensors[f"model.{name}"], parameter))
                if f"exp_avg.{name}" in tensors:
                    optimizer.state[parameter] = _moments(tensors, name, parameter)
            for name, value in (mean.means if mean is not None else {}).items():
                value.copy_(placed_like(tensors[f"mean.{name}"], value))
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        raise TrainingError(f"{path}: saved training does not fit: {error}") from error
    return losses


def _moments(tensors: dict[str, Tensor], name: str, parameter: nn.Parameter) -> dict[str, Tensor]:
    """The step count is a plain number; the moments lie as the parameter does."""
    moments = {part: placed_like(tensors[f"{part}.{name}"], parameter) for part in _PARTS[1:]}
    return {"step": tensors[f"step.{name}"].to(parameter.device), **moments}
