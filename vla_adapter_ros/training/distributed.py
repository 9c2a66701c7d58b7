"""One process or several: DDP and FSDP through accelerate, the same training either way.

The batch of a step is that of all processes together; each takes its part of the rows. What is drawn for a
row does not depend on the process, so the number of processes changes rounding only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model.device import resolve_device
from vla_adapter_ros.training.optimizations import repeated_layers


def several_processes() -> bool:
    """Whether this process was started as one of several, by `accelerate launch` or torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first_process() -> bool:
    """Whether this process is the first of those that were started, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


class Processes:
    """The processes of a run, as `accelerate launch` (or torchrun) started them; a plain start has one.

    With `--use_fsdp` the weights are spread over the processes, one block at a time is whole; otherwise
    each process has them all (DDP). Both are torch's own, so both run on CPUs too.

    Args:
        device: See `resolve_device`. With several processes a GPU is each one's own.

    Attributes:
        rank: Number of this process, from 0.
        count: How many there are.
        device: Of this process.
        sharded: Whether each process holds a part of the weights only.

    Raises:
        ParameterError: there is no such device.
        TrainingError: accelerate was asked for several processes and started one.
    """

    def __init__(self, device: str = "auto") -> None:
        self.rank, self.count, self.device, self.sharded = 0, 1, resolve_device(device), False
        if not several_processes():
            _refuse_lonely_launch()
            return
        from accelerate import PartialState

        state = PartialState(cpu=self.device.type == "cpu")
        self.rank, self.count, self.device = state.process_index, state.num_processes, state.device
        self.sharded = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model as it is to be called; with one process it comes back as it is.

        Make the optimizer afterwards, from the parameters of `inner`: they may have been cut up.

        Raises:
            TrainingError: weights of several types cannot be spread.
        """
        if self.count == 1:
            return model
        if self.sharded:
            if len({parameter.dtype for parameter in model.parameters()}) > 1:
                raise TrainingError("frozen_bf16 = True: allowed is False where weights are spread (FSDP)")
            from torch.distributed.fsdp import fully_shard

            for layer in repeated_layers(model):
                fully_shard(layer)
            sharded: nn.Module = fully_shard(model)  # type: ignore[assignment]
            return sharded
        places = [self.device.index] if self.device.type == "cuda" else None
        # Published towers have a last block that nothing reads, so its gradients never come.
        return DistributedDataParallel(model, device_ids=places, find_unused_parameters=True)

    def inner(self, model: nn.Module) -> nn.Module:
        """The model without what `prepare` put around it."""
        return model.module if isinstance(model, DistributedDataParallel) else model

    @contextmanager
    def without_sync(self, model: nn.Module) -> Iterator[None]:
        """Inside, gradients are added up in each process alone."""
        if isinstance(model, DistributedDataParallel):
            with model.no_sync():
                yield
        elif self.sharded:
            sharded: Any = model
            sharded.set_requires_gradient_sync(False)
            try:
                yield
            finally:
                sharded.set_requires_gradient_sync(True)
        else:
            yield

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.count > 1:
            values = values.clone()
            torch.distributed.all_reduce(values)
        return values

    def clip_gradients(self, parameters: list[nn.Parameter], largest: float) -> float:
        """Scale all gradients so that their joint norm is at most `largest`; gives the norm before.

        With 0 they stay as they are.
        """
        norm = nn.utils.clip_grad_norm_(parameters, largest or math.inf)
        return float(whole(norm))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            torch.distributed.barrier()

    def split_batch(self, size: int, parts: int) -> list[slice]:
        """This process's part of a batch, cut into parts that are computed one after the other.

        Raises:
            TrainingError: the batch cannot be divided.
        """
        if size % (self.count * parts):
            raise TrainingError(
                f"batch_size = {size} over {self.count} processes in {parts} parts each: "
                f"allowed is a multiple of {self.count * parts}"
            )
        width = size // (self.count * parts)
        first = self.rank * parts
        return [slice(width * (first + i), width * (first + i + 1)) for i in range(parts)]


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process may hold a part; all must ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def placed_like(tensor: Tensor, example: Tensor) -> Tensor:
    """Bring a whole tensor to the device of another one, cut up as that is."""
    tensor = tensor.to(example.device, example.dtype)
    if not hasattr(example, "full_tensor"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(example, DTensor)
    return distribute_tensor(tensor, example.device_mesh, example.placements)


def _refuse_lonely_launch() -> None:
    """With --cpu, accelerate leaves starting the processes to MPI, and says nothing if there is none."""
    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_ADDR" in os.environ
    if asked and "WORLD_SIZE" not in os.environ and not any("_RANK" in name for name in os.environ):
        raise TrainingError(
            "accelerate launch --cpu started one process only: for several on CPUs use "
            "accelerate launch --multi_gpu --num_processes N ... --device cpu, or torchrun"
        )
