"""Finds out what this computer is like; nothing that is missing or broken ends it."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from vla_adapter_ros.commissioning.machine import (
    TIME_DAEMONS,
    ChunkSpeed,
    ClockState,
    DiskState,
    MachineFacts,
    RealTime,
    RosInstallation,
    SharedMemory,
)
from vla_adapter_ros.system_info import TorchBuild, describe_torch_build, driver_version, raise_priority

PACKAGES = ("av", "control_msgs", "controller_manager_msgs", "cv_bridge", "mujoco", "pinocchio", "pyarrow")
VARIABLES = ("ROS_", "RMW_", "FASTDDS_", "FASTRTPS_", "CYCLONEDDS_")  # beginnings of their names
WRITTEN_BYTES, WRITTEN_S = 64 * 2**20, 1.0  # the disk's speed is measured on at most so much
_BLOCK = 2**20
_SHARED = Path("/dev/shm")
_UNSYNCHRONIZED = 0x40  # STA_UNSYNC of adjtimex(2)
_LOWEST_PRIORITY = 1


def collect_facts(
    folder: Path,
    reserve: float,
    environment: Mapping[str, str],
    ros: RosInstallation,
    speed: ChunkSpeed | str,
    checkpoint_named: bool,
) -> MachineFacts:
    """Look at this computer; takes a second or two.

    Args:
        folder: Where data sets are to be recorded; it need not be there yet.
        reserve: What the recorder leaves free on its disk [byte].
        environment: The variables of the terminal, before a command has added its own.
        ros: The installation of ROS.
        speed: Measured speed of the checkpoint, or why there is none.
        checkpoint_named: Whether the person asked for that checkpoint.
    """
    torch, no_torch = _find_torch()
    memory = psutil.virtual_memory()
    return MachineFacts(
        python=sys.version_info[:2],
        torch=torch,
        no_torch=no_torch,
        nvidia_driver=driver_version(),
        speed=None if isinstance(speed, str) else speed,
        no_speed=speed if isinstance(speed, str) else "",
        checkpoint_named=checkpoint_named,
        ros=ros,
        packages={name: importlib.util.find_spec(name) is not None for name in PACKAGES},
        environment={name: value for name, value in environment.items() if name.startswith(VARIABLES)},
        shared_memory=look_at_shared_memory(_SHARED, Path("/proc/locks")) if _SHARED.is_dir() else None,
        real_time=_try_real_time(),
        clock=_look_at_clock(),
        disk=measure_disk(folder, reserve),
        memory=memory.total,
        memory_free=memory.available,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=psutil.getloadavg()[0],
        governors=_read_governors(Path("/sys/devices/system/cpu")),
    )


def broken(error: BaseException) -> str:
    """What a part that does not work said, in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def look_at_shared_memory(folder: Path, locks: Path) -> SharedMemory:
    """Size of shared memory, and what Fast DDS left there: a segment whose lock file nobody holds.

    Args:
        folder: Such as /dev/shm.
        locks: The kernel's list of locks, /proc/locks.
    """
    usage = shutil.disk_usage(folder)
    try:
        held = {int(line.split()[5].rpartition(":")[2]) for line in locks.read_text("utf-8").splitlines()}
    except (OSError, ValueError, IndexError):
        return SharedMemory(usage.total, usage.free)
    sizes = []
    for lock in [*folder.glob("fastdds_*_el"), *folder.glob("fastrtps_*_el")]:
        segment = lock.with_name(lock.name.removesuffix("_el"))
        try:
            if lock.stat().st_ino not in held and "port" not in lock.name:
                sizes.append(segment.stat().st_size)
        except OSError:  # its process has just ended and removed it
            continue
    return SharedMemory(usage.total, usage.free, len(sizes), sum(sizes))


def measure_disk(folder: Path, reserve: float) -> DiskState:
    """Free space where a folder is or would be, and the speed of a short write that is flushed."""
    nearest = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
    block, written = os.urandom(_BLOCK), 0
    try:
        free = float(shutil.disk_usage(nearest).free)
        most = min(WRITTEN_BYTES, max(free - reserve, 0.0))
        with tempfile.TemporaryFile(dir=nearest) as file:
            started = time.monotonic()
            while written + _BLOCK <= most and time.monotonic() - started < WRITTEN_S:
                written += file.write(block)
            file.flush()
            os.fsync(file.fileno())
            lasted = time.monotonic() - started
    except OSError as error:
        return DiskState(str(nearest), 0.0, reserve, 0.0, error.strerror or broken(error))
    return DiskState(str(nearest), free, reserve, written / max(lasted, 1e-6))


def _find_torch() -> tuple[TorchBuild | None, str]:
    try:
        return describe_torch_build(), ""
    except Exception as error:  # an installation can be broken in any way
        return None, broken(error)


def _try_real_time() -> RealTime:
    """Ask for SCHED_FIFO in a thread that ends at once; nothing else of this process gets it."""
    answer = ["no answer"]

    def ask() -> None:
        answer[0] = raise_priority(_LOWEST_PRIORITY)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[1] if hasattr(resource, "RLIMIT_RTPRIO") else 0
    return RealTime(answer[0], 99 if limit == resource.RLIM_INFINITY else limit)


class _Timex(ctypes.Structure):
    """The beginning of `struct timex` of adjtimex(2), and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),  # 0: nothing is changed
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("largest_error", ctypes.c_long),  # [us]
        ("estimated_error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    )


def _look_at_clock() -> ClockState:
    running = set()
    for process in psutil.process_iter(["name"]):
        name = process.info["name"] or ""
        running |= {daemon for daemon in TIME_DAEMONS if name and daemon[:15] == name[:15]}
    answer = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(answer))
    except (OSError, AttributeError):
        state = -1
    if state < 0:
        return ClockState(None, tuple(sorted(running)))
    synchronized = not answer.status & _UNSYNCHRONIZED
    return ClockState(synchronized, tuple(sorted(running)), answer.largest_error * 1e-6)


def _read_governors(folder: Path) -> tuple[str, ...]:
    found = set()
    for file in folder.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        try:
            found.add(file.read_text(encoding="utf-8").strip())
        except OSError:
            continue
    return tuple(sorted(found))
