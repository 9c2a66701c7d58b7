"""One process or several: DDP and FSDP through accelerate, the same training either way.

The batch of a step is that of all processes together; each takes its share of the rows. What is drawn for a
row does not depend on the process, so the number of processes changes rounding only.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vla_adapter_ros.errors import TrainingError

_WRAPPED = "VitBlock,Qwen2DecoderLayer,LlamaDecoderLayer,BridgeBlock,DitBlock"


class Processes:
    """The processes of a run, as `accelerate launch` started them; a plain start has one.

    Args:
        device: Where to train, in torch's words. With several processes `cuda` is each one's own GPU.

    Attributes:
        rank: Number of this process, from 0.
        count: How many there are.
        device: Of this process.

    Raises:
        TrainingError: started for a kind of distribution that is not supported.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.rank, self.count, self.device = 0, 1, torch.device(device)
        self._accelerator: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return
        os.environ.setdefault("FSDP_TRANSFORMER_CLS_TO_WRAP", _WRAPPED)
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs

        unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # unread last blocks, for one
        self._accelerator = Accelerator(
            cpu=self.device.type == "cpu", mixed_precision="no", kwargs_handlers=[unused]
        )
        self.rank, self.count = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device
        kind = str(self._accelerator.distributed_type).rpartition(".")[2]
        if kind not in ("MULTI_CPU", "MULTI_GPU", "FSDP"):
            raise TrainingError(f"accelerate distributes by {kind}: allowed are DDP and FSDP")
        if kind == "FSDP" and getattr(self._accelerator.state.fsdp_plugin, "fsdp_version", 1) != 2:
            raise TrainingError("FSDP version 1: allowed is --fsdp_version 2")
        self.sharded = kind == "FSDP"

    sharded = False
    """Whether each process holds a part of the weights only."""

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def prepare(self, model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        """Model and optimiser as they are to be called; with one process they come back as they are."""
        if self._accelerator is None:
            return model, optimizer
        return self._accelerator.prepare(model, optimizer)

    def inner(self, model: nn.Module) -> nn.Module:
        """The model without what `prepare` put around it."""
        return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model

    def apart(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Inside, gradients are added up in each process alone."""
        return nullcontext() if self._accelerator is None else self._accelerator.no_sync(model)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        return values if self._accelerator is None else self._accelerator.reduce(values, reduction="sum")

    def clip(self, parameters: list[nn.Parameter], largest: float) -> float:
        """Scale all gradients so that their joint norm is at most `largest`; gives the norm before."""
        norm = nn.utils.clip_grad_norm_(parameters, largest)
        return float(whole(norm))

    def wait(self) -> None:
        """Until all processes are here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()

    def share(self, size: int, parts: int) -> list[slice]:
        """This process's share of a batch, in parts.

        Raises:
            TrainingError: the batch cannot be divided.
        """
        if size % (self.count * parts):
            raise TrainingError(
                f"batch = {size} over {self.count} processes in {parts} parts each: allowed is a multiple of "
                f"{self.count * parts}"
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
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, example.device_mesh, example.placements)
