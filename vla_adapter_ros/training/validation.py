"""The validation loss: the same loss on rows that the training does not learn from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from vla_adapter_ros.training.data.batches import BatchMaker
from vla_adapter_ros.training.learner import Learner
from vla_adapter_ros.training.module import autocast
from vla_adapter_ros.training.settings import FinetuneSettings

_BATCH = 32


class ValidationResult(NamedTuple):
    """Validation loss, and the mean absolute error of each action dimension in its unit (A,), if known."""

    loss: float
    errors: np.ndarray | None


def validate(
    learner: Learner, maker: BatchMaker, rows: np.ndarray, settings: FinetuneSettings, scale: np.ndarray
) -> ValidationResult:
    """The validation loss, with the moving average of the weights if there is one.

    Every process takes its part of the rows; all call this together.

    Args:
        learner: What learns.
        maker: Makes batches of the rows.
        rows: int64 (R,), R >= 1.
        settings: Type of the products.
        scale: Unit of each normalized action dimension, float64 (A,).
    """
    processes = learner.processes
    count, device = processes.count, processes.device
    order = np.arange(-(-len(rows) // count) * count)[processes.rank :: count]
    own, is_real = rows[order % len(rows)], order < len(rows)  # the last rows may be there to fill up
    sums = torch.zeros(2 + len(scale), dtype=torch.float64)
    learner.model.eval()
    with learner.mean.in_place(), torch.no_grad(), autocast(settings, device):
        for start in range(0, len(own), _BATCH):
            weight = torch.from_numpy(is_real[start : start + _BATCH]).double()
            batch = maker.make_tensors(maker.prepare_arrays(own[start : start + _BATCH]), device)
            loss, _, errors = learner.model(*batch.inputs, None, None)
            if errors.numel():
                by_row = errors.mean(dim=1).double().cpu()
                sums[0] += (by_row.mean(dim=1) * weight).sum()
                sums[2:] += (by_row * weight[:, None]).sum(dim=0)
            else:
                sums[0] += loss.item() * weight.sum()
            sums[1] += weight.sum()
    learner.model.train()
    if count > 1:
        sums = processes.sum(sums.float().to(device)).cpu().double()
    known = learner.policy.network.action_head.kind.is_bridge
    return ValidationResult(float(sums[0] / sums[1]), (sums[2:] / sums[1]).numpy() * scale if known else None)
