"""What to try when memory ran out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.training.memory_presets import MEMORIES, recomputes, samples_at_once
from vla_adapter_ros.training.settings import FinetuneSettings


def what_needs_less(settings: FinetuneSettings, processes: int = 1) -> str:
    """What to try when memory ran out: the next smaller preset, or the setting that is left.

    More parts and activations computed again can be given with `resume`: the step stays the same.
    """
    steps = settings.gradient_accumulation_steps
    part = settings.batch_size // (steps * processes)
    advice = []
    already = settings.gradient_checkpointing
    smaller = [m for m in MEMORIES if samples_at_once(m) < part or (recomputes(m) and not already)]
    if settings.lora_rank and smaller:
        advice.append(f"--memory {max(smaller)} (the next smaller preset)")
    if part > 1:
        divisors = [n for n in range(2, part + 1) if part % n == 0]
        advice.append(f"--gradient-accumulation-steps {steps * divisors[0]} (now {steps})")
    if not already:
        advice.append("--gradient-checkpointing")
    if not settings.lora_rank:
        advice.append("--lora-rank 64")
    elif not settings.frozen_bf16:
        advice.append("--frozen-bf16")
    return ", or ".join(advice) or "a smaller model or LoRA rank: no smaller preset is left"


@contextmanager
def advise_on_memory(
    settings: FinetuneSettings, processes: int, steps_made: Callable[[], int]
) -> Iterator[None]:
    """Inside, running out of memory becomes an error that says what to try.

    Args:
        settings: Of the training.
        processes: How many train together.
        steps_made: Number of steps made so far.

    Raises:
        TrainingError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        part = settings.batch_size // (settings.gradient_accumulation_steps * processes)
        raise TrainingError(
            f"out of memory at step {steps_made()} with {part} samples at once: try "
            f"{what_needs_less(settings, processes)}; what was saved before can be resumed"
        ) from error


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether this is a lack of memory, of the GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
