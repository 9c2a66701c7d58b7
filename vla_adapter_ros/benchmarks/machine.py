"""The machine that a measurement was made on: its names, its peaks, and memory in use."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

import torch

from vla_adapter_ros.benchmarks.host import processor

_PRODUCT = {"cpu": 2048, "cuda": 8192}  # side of the square matrices
_COPY = {"cpu": 256 << 20, "cuda": 2 << 30}  # bytes
_REPEATS = 5


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Names and versions that belong beside every figure."""
    facts: dict[str, Any] = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": properties.name,
            "gpu_memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "driver": _driver(),
        }
    return facts


def _driver() -> str:
    try:
        first = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return "unknown"
    return next((word for word in first.split() if word[:1].isdigit()), first)


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
        product = _best(lambda: a @ b, device)
        copy = _best(lambda: target.copy_(source), device)
    return {"flop_per_s": 2 * n**3 / product, "bytes_per_s": 2 * source.numel() / copy}


def _best(work: Any, device: torch.device) -> float:
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
    """Most memory in use since the last reset: of the GPU by tensors, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
