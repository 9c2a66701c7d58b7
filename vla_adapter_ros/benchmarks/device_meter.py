"""What a device reaches and holds: peak speed, peak memory, and waiting for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

_PRODUCT = {"cpu": 2048, "cuda": 8192}  # side of the square matrices
_COPY = {"cpu": 256 << 20, "cuda": 2 << 30}  # bytes
_REPEATS = 5


def synchronize(device: torch.device) -> None:
    """Wait until the device has done everything asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_peaks(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """What a large product of matrices and a large copy reach here and now.

    Returns:
        `flop_per_s` in this type, and `bytes_per_s`, read and written together.
    """
    n = _PRODUCT[device.type]
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    source = torch.ones(_COPY[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    with torch.inference_mode():
        product = _shortest(lambda: a @ b, device)
        copy = _shortest(lambda: target.copy_(source), device)
    return {"flop_per_s": 2 * n**3 / product, "bytes_per_s": 2 * source.numel() / copy}


def _shortest(work: Any, device: torch.device) -> float:
    work()
    times = []
    for _ in range(_REPEATS):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of `peak_memory_bytes`, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass  # then the peak is that of the whole process so far


def peak_memory_bytes(device: torch.device) -> int:
    """Largest memory in use since the last reset: of the GPU by tensors, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # psutil does not give the peak.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
