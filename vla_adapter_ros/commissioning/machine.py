"""What a computer is like, as plain data: what `vla-adapter doctor` looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vla_adapter_ros.system_info import TorchBuild

TIME_DAEMONS = ("chronyd", "systemd-timesyncd", "ntpd", "ntpsec", "openntpd", "ptp4l", "phc2sys")


@dataclass(frozen=True)
class ChunkSpeed:
    """How fast a checkpoint predicts chunks here.

    Attributes:
        checkpoint: Name of its folder.
        device: Such as `on cuda:0, NVIDIA H200`.
        dtype: Type of the weights, such as bfloat16.
        times: Measured times of one chunk each [s].
        rate_hz: Rows per second.
        rows: Rows of a chunk.
        execution_horizon: Rows that are executed before the next chunk takes over.
    """

    checkpoint: str
    device: str
    dtype: str
    times: tuple[float, ...]
    rate_hz: float
    rows: int
    execution_horizon: int


@dataclass(frozen=True)
class RosInstallation:
    """ROS 2 as this Python finds it.

    Attributes:
        distribution: ROS_DISTRO; empty: not set.
        rclpy: Version; empty: not known.
        middleware: Such as rmw_fastrtps_cpp.
        problem: Why rclpy cannot be used; empty if it can.
        messages_problem: Why this package's messages cannot be used; empty if they can.
    """

    distribution: str = ""
    rclpy: str = ""
    middleware: str = ""
    problem: str = ""
    messages_problem: str = ""


@dataclass(frozen=True)
class SharedMemory:
    """The memory through which processes hand images to each other.

    Attributes:
        total, free: [byte].
        stale: Segments of Fast DDS that no process holds any more.
        stale_bytes: Their size [byte].
    """

    total: int
    free: int
    stale: int = 0
    stale_bytes: int = 0


@dataclass(frozen=True)
class RealTime:
    """What a control thread may ask for.

    Attributes:
        refused: Why SCHED_FIFO was refused when it was tried; empty if it was granted.
        highest: Highest priority that the limit rtprio grants, 0: none.
    """

    refused: str
    highest: int = 0


@dataclass(frozen=True)
class ClockState:
    """The system clock.

    Attributes:
        synchronized: Whether the kernel says that somebody keeps it in step; None: not known.
        daemons: Programs that run to do so.
        error_s: Largest error that the kernel reckons with [s].
    """

    synchronized: bool | None
    daemons: tuple[str, ...] = ()
    error_s: float = 0.0


@dataclass(frozen=True)
class DiskState:
    """The disk on which data sets are to be recorded.

    Attributes:
        folder: Where was looked.
        free: Free space [byte].
        reserve: What the recorder leaves free [byte].
        speed: Measured speed of writing, flushed to the disk [byte/s].
        problem: Why nothing could be written; empty if it could.
    """

    folder: str
    free: float
    reserve: float
    speed: float
    problem: str = ""


@dataclass(frozen=True)
class MachineFacts:
    """Everything about a computer that the checks look at.

    Attributes:
        python: Major and minor version.
        torch: The installed torch; None: it cannot be used, `no_torch` says why.
        nvidia_driver: Version of the driver; empty: none is loaded.
        speed: Measured speed of the checkpoint; None: not measured, `no_speed` says
            why; empty: none was named.
        checkpoint_named: Whether the person asked for that checkpoint.
        ros: The installation of ROS.
        packages: Python package -> whether it is installed.
        environment: The terminal's variables, as far as they concern ROS.
        shared_memory: None where the system has none of the kind.
        memory, memory_free: Of the computer [byte].
        cores: That this process may use.
        load: Processes that wanted a processor, over the last minute.
        governors: What sets the processors' frequency; empty: the system does not say.
    """

    python: tuple[int, int]
    torch: TorchBuild | None
    speed: ChunkSpeed | None
    ros: RosInstallation
    shared_memory: SharedMemory | None
    real_time: RealTime
    clock: ClockState
    disk: DiskState
    memory: int
    memory_free: int
    cores: int
    load: float = 0.0
    no_torch: str = ""
    no_speed: str = ""
    checkpoint_named: bool = False
    nvidia_driver: str = ""
    packages: Mapping[str, bool] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    governors: tuple[str, ...] = ()
