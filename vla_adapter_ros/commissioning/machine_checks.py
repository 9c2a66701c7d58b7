"""Checks of a computer: Python, torch, GPU, the checkpoint's speed, processor, memory, clock, disk."""

from __future__ import annotations

import math

import numpy as np

from vla_adapter_ros.commissioning.machine import ChunkSpeed, DiskState, MachineFacts
from vla_adapter_ros.commissioning.results import Results
from vla_adapter_ros.commissioning.ros_checks import check_ros
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.pacing import budget_complaint
from vla_adapter_ros.recorder.disk import usual_speed

PYTHONS = ((3, 10), (3, 13))  # oldest and newest that are tested
OLDEST_TORCH = (2, 4)
BF16_SINCE = (8, 0)  # compute capability
LITTLE_MEMORY, TOO_LITTLE_MEMORY = 4e9, 1e9  # free [byte]: the shipped checkpoint's graph needs about 2 GB
FEW_CORES = 4  # policy, controller, recorder and the cameras' drivers share them
SLOW_DISK = 20e6  # [byte/s]; several encoders and the log write at once
ROOM_FACTOR = 10.0  # times the recorded video that a disk should be able to write
FEW_MINUTES = 30.0


def check_machine(facts: MachineFacts, contract: Contract | None = None) -> Results:
    """What of a computer is well, and what is to be done about the rest.

    Args:
        facts: What was found out.
        contract: Of the robot that it is to drive or record; None: no robot in particular.
    """
    results = Results()
    _python(facts, results)
    _torch(facts, results)
    _gpu(facts, results)
    _speed(facts, results)
    check_ros(facts, contract, results)
    _processor(facts, results)
    _real_time(facts, results)
    _memory(facts, results)
    _clock(facts, results)
    _disk(facts.disk, contract, results)
    return results


def _python(facts: MachineFacts, results: Results) -> None:
    oldest, newest = (".".join(map(str, version)) for version in PYTHONS)
    said, allowed = ".".join(map(str, facts.python)), f"{oldest} to {newest}"
    if facts.python < PYTHONS[0]:
        results.note_failure("Python", f"{said} is too old", f"Allowed is {allowed}: use that of your ROS 2")
    elif facts.python > PYTHONS[1]:
        results.note_warning("Python", f"{said} is untested", f"Tested is {allowed}")
    else:
        results.note_pass("Python", said)


def _torch(facts: MachineFacts, results: Results) -> None:
    torch = facts.torch
    if torch is None:
        note = results.note_failure if facts.checkpoint_named else results.note_warning
        note(
            "torch", f"it cannot be used ({facts.no_torch})",
            "A policy needs it: `pip install 'vla_adapter_ros[policy]'`; controller, recorder and "
            "teleoperation do not",
        )  # fmt: skip
        return
    wanted = ".".join(map(str, OLDEST_TORCH))
    if _version(torch.version) < OLDEST_TORCH:
        results.note_failure("torch", f"{torch.version} is too old", f"Allowed is {wanted} or newer")
    else:
        results.note_pass("torch", torch.version)


def _version(text: str) -> tuple[int, ...]:
    """Major and minor number of a version such as 2.13.0+cpu."""
    numbers = text.partition("+")[0].split(".")[:2]
    return tuple(int("".join(filter(str.isdigit, number)) or 0) for number in numbers)


def _gpu(facts: MachineFacts, results: Results) -> None:
    torch = facts.torch
    if torch is None:
        return
    for gpu in torch.gpus:
        capability = ".".join(map(str, gpu.capability))
        said = f"{gpu.name}, {gpu.memory / 1e9:.0f} GB, compute capability {capability}"
        if not gpu.has_kernels:
            results.note_failure(
                "GPU", f"{said}: this torch was not built for it",
                "Install a torch for its architecture (https://pytorch.org), or use `--device cpu`",
            )  # fmt: skip
        elif gpu.capability < BF16_SINCE:
            results.note_warning(
                "GPU", f"{said}: it has no bf16, so `auto` takes fp32, which is slower", "Use a newer GPU"
            )
        else:
            results.note_pass("GPU", said)
    if torch.gpus:
        return
    slow = ""
    if facts.speed is not None:
        slow = f": {facts.speed.checkpoint} takes {_p50(facts.speed):.0f} ms per chunk without"
    if facts.nvidia_driver:
        results.note_warning(
            "GPU", f"a driver of NVIDIA ({facts.nvidia_driver}) is loaded, but torch sees no GPU{slow}",
            "Install a torch with CUDA (https://pytorch.org)" if not torch.cuda else
            "Look at `nvidia-smi`: the driver may be too old for this torch, or the GPU not passed to a "
            "container",
        )  # fmt: skip
    else:
        results.note_warning(
            "GPU", f"none{slow}",
            "The tiny checkpoints run on a CPU; one of 0.5b or larger takes seconds per chunk there: use a "
            "GPU, or let the policy run on another computer (docs/how-to/two_computers.md)",
        )  # fmt: skip


def _p50(speed: ChunkSpeed) -> float:
    """Median time of a chunk [ms]."""
    return 1e3 * float(np.median(speed.times))


def _speed(facts: MachineFacts, results: Results) -> None:
    speed = facts.speed
    if speed is None:
        if not facts.no_speed:
            results.note_pass("checkpoint", "none for this robot was named, so none was timed")
            return
        note = results.note_failure if facts.checkpoint_named else results.note_warning
        note("checkpoint", f"it cannot be timed: {facts.no_speed}", "Give one that works by --checkpoint")
        return
    p99 = float(np.percentile(speed.times, 99))
    said = (
        f"{speed.checkpoint}: a chunk takes {_p50(speed):.1f} ms (99th percentile {1e3 * p99:.1f} ms) "
        f"{speed.device}, {speed.dtype}"
    )
    problem = budget_complaint(speed.rate_hz, speed.rows, speed.execution_horizon, p99)
    if problem:
        what, _, advice = problem.rpartition(": ")
        results.note_failure("checkpoint", f"{said}; {what}", f"{advice[:1].upper()}{advice[1:]}")
        return
    room = speed.execution_horizon / speed.rate_hz
    results.note_pass("checkpoint", f"{said}; one is due every {1e3 * room:.0f} ms")


def _processor(facts: MachineFacts, results: Results) -> None:
    said = f"{facts.cores} cores, load {facts.load:.1f}"
    if facts.cores < FEW_CORES:
        results.note_warning(
            "processor", said,
            f"{FEW_CORES} or more are better: policy, controller, recorder and drivers share them",
        )  # fmt: skip
    elif facts.load > facts.cores:
        results.note_warning(
            "processor", f"{said}: others use it", "End what is not needed: `top` shows what runs"
        )
    else:
        results.note_pass("processor", said)
    slowing = [governor for governor in facts.governors if governor != "performance"]
    if slowing:
        results.note_warning(
            "processor", f"the frequency governor is {' and '.join(slowing)}: ticks after a rest are late",
            "`sudo cpupower frequency-set -g performance`",
        )  # fmt: skip


def _real_time(facts: MachineFacts, results: Results) -> None:
    real_time = facts.real_time
    if real_time.refused:
        results.note_warning(
            "real time", f"SCHED_FIFO is refused ({real_time.refused}): the control thread has ordinary "
            "scheduling, and ticks are late on a busy computer",
            "A line `@realtime - rtprio 90` in /etc/security/limits.conf and membership of that group, a new "
            "login, then `realtime_priority` of the controller node",
        )  # fmt: skip
        return
    most = f" up to {real_time.highest}" if real_time.highest else ""
    results.note_pass("real time", f"SCHED_FIFO is granted{most}; `realtime_priority` of the controller node")


def _memory(facts: MachineFacts, results: Results) -> None:
    said = f"{facts.memory_free / 1e9:.1f} of {facts.memory / 1e9:.1f} GB free"
    if facts.memory_free < TOO_LITTLE_MEMORY:
        results.note_failure(
            "memory", said, f"End what is not needed: at least {TOO_LITTLE_MEMORY / 1e9:g} GB must be free"
        )
    elif facts.memory_free < LITTLE_MEMORY:
        results.note_warning("memory", said, "Policy and recorder want some GB: end what is not needed")
    else:
        results.note_pass("memory", said)


def _clock(facts: MachineFacts, results: Results) -> None:
    clock, names = facts.clock, " and ".join(facts.clock.daemons)
    advice = (
        "With cameras or a robot on another computer both clocks must agree to some milliseconds: "
        "`sudo apt install chrony`, and see docs/how-to/two_computers.md"
    )
    if clock.synchronized:
        by = f" by {names}" if names else ""
        results.note_pass("clock", f"kept in step{by}, to {1e3 * clock.error_s:.0f} ms by its own reckoning")
    elif clock.synchronized is None:
        results.note_warning("clock", "the system does not say whether it is in step", advice)
    elif names:
        results.note_warning(
            "clock",
            f"{names} runs, but the clock is not in step",
            "`chronyc tracking` or `timedatectl` say why",
        )
    else:
        results.note_warning("clock", "nobody keeps it in step", advice)


def _disk(disk: DiskState, contract: Contract | None, results: Results) -> None:
    where = f"disk of {disk.folder}"
    if disk.problem:
        results.note_failure(where, f"nothing can be written: {disk.problem}", "Choose another by --dataset")
        return
    room = disk.free - disk.reserve
    if room <= 0:
        results.note_failure(
            where, f"{disk.free / 1e9:.2f} GB free, the recorder leaves {disk.reserve / 1e9:g} GB free",
            "Make room, or choose another disk by --dataset",
        )  # fmt: skip
        return
    video = usual_speed(contract) if contract is not None else 0.0
    said = f"{disk.free / 1e9:.1f} GB free, {disk.speed / 1e6:.0f} MB/s"
    if disk.speed < video:
        results.note_failure(
            where, f"{said}, the cameras of {contract.name if contract else ''} need {video / 1e6:.1f} MB/s",
            "Record onto a faster disk by --dataset",
        )  # fmt: skip
    elif disk.speed < max(SLOW_DISK, ROOM_FACTOR * video):
        results.note_warning(
            where, f"{said} is slow", "Record onto a disk of this computer, no network drive or SD card"
        )
    else:
        results.note_pass(where, said)
    minutes = room / video / 60 if video > 0 else math.inf
    if minutes < FEW_MINUTES:
        results.note_warning(where, f"room for {minutes:.0f} minutes of recording", "Make room")
    elif minutes < math.inf:
        results.note_pass(where, f"room for {minutes / 60:.0f} hours of recording")
