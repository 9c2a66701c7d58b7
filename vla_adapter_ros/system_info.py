"""The computer that a measurement was made on: its names, versions and load. Torch is imported on demand."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    import torch

_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "avx512_fp16")


def processor_name() -> str:
    """Name of the processor, as the system gives it."""
    return _of_processor("model name") or platform.processor() or platform.machine()


def instruction_sets() -> str:
    """The processor's sets of instructions that decide about products of matrices, the newest last."""
    flags = _of_processor("flags").split()
    return " ".join(name for name in _INSTRUCTION_SETS if name in flags) or platform.machine()


def _of_processor(key: str) -> str:
    """What /proc/cpuinfo says of the first processor; empty if it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def describe_system() -> dict[str, Any]:
    """Processor, cores that this process may use, versions, and the load average of the last minute."""
    return {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(psutil.getloadavg()[0], 2),
    }


def describe_torch_system(device: torch.device) -> dict[str, Any]:
    """Processor, torch with its threads, and the GPU, if `device` is one."""
    import torch

    facts: dict[str, Any] = {
        "processor": processor_name(),
        "instructions": instruction_sets(),
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
            "driver": driver_version() or "unknown",
        }
    return facts


def driver_version() -> str:
    """Version of the NVIDIA driver; empty where none is loaded."""
    try:
        first = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return ""
    return next((word for word in first.split() if word[:1].isdigit()), first)


@dataclass(frozen=True)
class Gpu:
    """A GPU that torch sees.

    Attributes:
        name: As its maker calls it.
        memory: [byte].
        capability: Compute capability, such as (9, 0).
        has_kernels: Whether the installed torch was built for it.
    """

    name: str
    memory: int
    capability: tuple[int, int]
    has_kernels: bool = True


@dataclass(frozen=True)
class TorchBuild:
    """The installed torch.

    Attributes:
        version: Of torch.
        cuda: Version of CUDA that it was built for; empty: for the CPU alone.
        gpus: That it sees.
    """

    version: str
    cuda: str = ""
    gpus: tuple[Gpu, ...] = ()


def describe_torch_build() -> TorchBuild:
    """The installed torch and the GPUs that it sees.

    Raises:
        ImportError, OSError, RuntimeError: torch is not installed, or is broken.
    """
    import torch

    built_for = torch.cuda.get_arch_list()
    gpus = []
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        # Kernels for 8.0 run on 8.6, not on another major version; PTX (compute_) runs on all newer.
        same = any(arch.startswith(f"sm_{found.major}") for arch in built_for)
        newer = any(
            arch.startswith("compute_") and int("".join(filter(str.isdigit, arch))) <= 10 * found.major
            for arch in built_for
        )
        has_kernels = same or newer or not built_for
        gpus.append(Gpu(found.name, found.total_memory, (found.major, found.minor), has_kernels))
    return TorchBuild(torch.__version__, torch.version.cuda or "", tuple(gpus))


def raise_priority(priority: int) -> str:
    """Ask for SCHED_FIFO for the calling thread alone; why not, or nothing if it was granted.

    Args:
        priority: 1 to 99.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (AttributeError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


@contextlib.contextmanager
def ordinary_scheduling() -> Iterator[None]:
    """Take real-time scheduling away from every thread that gets it inside.

    SVT-AV1 asks for it on behalf of whoever opens it as root, as in a container: its threads would keep the
    processor from the control thread.
    """
    before = _real_time_threads()
    try:
        yield
    finally:
        for thread in _real_time_threads() - before:
            with contextlib.suppress(OSError):  # it has ended
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _real_time_threads() -> set[int]:
    """Threads of this process with SCHED_FIFO or SCHED_RR; none on systems that do not tell."""
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):  # it has ended
                if os.sched_getscheduler(int(name)) in (os.SCHED_FIFO, os.SCHED_RR):
                    found.add(int(name))
    return found


class CpuUsage:
    """How much of all cores is in use from its making to `result`."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def result(self) -> dict[str, float]:
        """`cores_in_use` by all processes, and `cores_stolen`: what the hypervisor gave to others."""
        after = psutil.cpu_times()
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        spent = {name: getattr(after, name, 0.0) - getattr(self._before, name, 0.0) for name in names}
        total = sum(spent.values())
        cores = (os.cpu_count() or 1) / total if total > 0 else 0.0
        busy = total - spent["idle"] - spent["iowait"] - spent["steal"]
        return {
            "cores_in_use": round(busy * cores, 2),
            "cores_stolen": round(spent["steal"] * cores, 3),
        }
