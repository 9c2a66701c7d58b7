"""The computer that a measurement was made on, without torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def processor() -> str:
    """Name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def describe_host() -> dict[str, Any]:
    """Processor, cores that this process may use, versions, and the load average of the last minute."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


class CpuUse:
    """How much of all cores is in use from now to `result`; zeros where the system does not say."""

    def __init__(self) -> None:
        self._before = _cpu_times()

    def result(self) -> dict[str, float]:
        """`cores_in_use` by all processes, and `cores_stolen`: what the hypervisor gave to others."""
        spent = [after - before for after, before in zip(_cpu_times(), self._before, strict=True)]
        share = (os.cpu_count() or 1) / max(sum(spent), 1)
        user, nice, system, _, _, irq, softirq, steal = spent
        return {
            "cores_in_use": round((user + nice + system + irq + softirq) * share, 2),
            "cores_stolen": round(steal * share, 3),
        }


def _cpu_times() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal of all cores together [clock ticks]."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return [0] * 8
    return [int(word) for word in line.split()[1:9]]
