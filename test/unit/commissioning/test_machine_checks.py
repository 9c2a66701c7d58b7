"""A computer that is well passes; each broken one is named, with what to do."""

from __future__ import annotations

import dataclasses

import pytest

from vla_adapter_ros.commissioning.machine import (
    ChunkSpeed,
    ClockState,
    DiskState,
    MachineFacts,
    RealTime,
    RosInstallation,
    SharedMemory,
)
from vla_adapter_ros.commissioning.machine_checks import check_machine
from vla_adapter_ros.commissioning.results import worst
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.dataset.quality.findings import Level
from vla_adapter_ros.system_info import Gpu, TorchBuild

CONTRACT = read_contract("franka_sim")
PANDA = read_contract("panda")  # its gripper is of type gripper_command
FAST = ChunkSpeed("tiny", "on the CPU: no GPU found", "float32", (0.05,) * 9 + (0.06,), 10.0, 8, 4)
TORCH = TorchBuild("2.13.0+cu130", "13.0", (Gpu("NVIDIA H200", int(150e9), (9, 0)),))
ROS = RosInstallation("jazzy", "7.1.4", "rmw_fastrtps_cpp")
DISK = DiskState("/data", 500e9, 1e9, 400e6)
WELL = MachineFacts(
    python=(3, 12),
    torch=TORCH,
    nvidia_driver="580.1",
    speed=FAST,
    ros=ROS,
    shared_memory=SharedMemory(int(8e9), int(7e9), 2, int(30e6)),
    real_time=RealTime("", 90),
    clock=ClockState(True, ("chronyd",), 0.002),
    disk=DISK,
    memory=int(32e9),
    memory_free=int(20e9),
    cores=16,
    load=1.0,
    packages=dict.fromkeys(("av", "control_msgs", "cv_bridge", "pinocchio", "pyarrow"), True),
    environment={"ROS_DOMAIN_ID": "7"},
    governors=("performance",),
)
NO_GPU = TorchBuild("2.13.0+cpu")
OLD_GPU = Gpu("GTX 1080", int(8e9), (6, 1))


def lines(facts: MachineFacts, level: Level, contract=CONTRACT) -> list[str]:
    return [r.line for r in check_machine(facts, contract) if r.level is level]


def speed(seconds: float, **changes) -> ChunkSpeed:
    return dataclasses.replace(FAST, times=(seconds,) * 10, **changes)


def without(*names: str) -> dict[str, bool]:
    return {name: name not in names for name in WELL.packages}


def test_a_computer_that_is_well_passes_and_says_what_it_has():
    assert worst(check_machine(WELL, CONTRACT)) is Level.PASS
    passed = "\n".join(lines(WELL, Level.PASS))
    for words in (
        "Python: 3.12", "NVIDIA H200, 150 GB, compute capability 9.0", "50.0 ms (99th percentile 59.1 ms)",
        "one is due every 400 ms", "jazzy, rclpy 7.1.4", "domain 7, SUBNET", "up to 90",
        "by chronyd, to 2 ms", "16 cores", "20.0 of 32.0 GB", "500.0 GB free, 400 MB/s", "hours of recording",
    ):  # fmt: skip
        assert words in passed, words
    assert worst(check_machine(WELL)) is Level.PASS  # and without a robot


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"python": (3, 9)}, Level.FAIL, ["3.9 is too old", "3.10 to 3.13"]),
        ({"python": (3, 14)}, Level.WARN, ["3.14 is untested"]),
        ({"torch": None, "no_torch": "No module named 'torch'"}, Level.WARN, ["No module", "pip install"]),
        ({"torch": None, "no_torch": "gone", "checkpoint_named": True}, Level.FAIL, ["gone", "pip install"]),
        ({"torch": TorchBuild("1.13.1")}, Level.FAIL, ["1.13.1 is too old", "2.4 or newer"]),
        ({"torch": NO_GPU, "nvidia_driver": ""}, Level.WARN,
         ["none: tiny takes 50 ms per chunk without", "another computer"]),
        ({"torch": NO_GPU}, Level.WARN, ["580.1", "sees no GPU", "torch with CUDA"]),
        ({"torch": TorchBuild("2.13.0+cu130", "13.0")}, Level.WARN, ["sees no GPU", "nvidia-smi"]),
        ({"torch": dataclasses.replace(TORCH, gpus=(dataclasses.replace(OLD_GPU, has_kernels=False),))},
         Level.FAIL, ["GTX 1080", "not built for it", "--device cpu"]),
        ({"torch": dataclasses.replace(TORCH, gpus=(OLD_GPU,))}, Level.WARN, ["no bf16", "takes fp32"]),
        ({"speed": speed(0.5)}, Level.FAIL, ["500.0 ms", "at least 11 rows, not 8. Use a GPU"]),
        ({"speed": speed(0.15, execution_horizon=1)}, Level.FAIL, ["horizon 2 to 5, not 1. Set it"]),
        ({"speed": None, "no_speed": "weights are damaged", "checkpoint_named": True}, Level.FAIL,
         ["weights are damaged", "--checkpoint"]),
        ({"ros": RosInstallation(problem="No module named 'rclpy'")}, Level.FAIL,
         ["No module named 'rclpy'", "setup.bash"]),
        ({"ros": dataclasses.replace(ROS, middleware="rmw_cyclonedds_cpp")}, Level.WARN,
         ["rmw_cyclonedds_cpp", "RMW_IMPLEMENTATION=rmw_fastrtps_cpp"]),
        ({"ros": dataclasses.replace(ROS, messages_problem="no library")}, Level.FAIL,
         ["no library", "colcon build"]),
        ({"packages": without("av")}, Level.WARN, ["av is not installed", "[train]"]),
        ({"environment": {}}, Level.WARN, ["ROS_DOMAIN_ID is not set", "export ROS_DOMAIN_ID="]),
        ({"environment": {"ROS_DOMAIN_ID": "seven"}}, Level.FAIL, ["ROS_DOMAIN_ID=seven", "0 to 101"]),
        ({"environment": {"ROS_DOMAIN_ID": "150"}}, Level.WARN, ["ports", "0 to 101"]),
        ({"environment": {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}}, Level.FAIL, ["no node finds another"]),
        ({"environment": {"ROS_AUTOMATIC_DISCOVERY_RANGE": "HOME"}}, Level.FAIL, ["HOME", "LOCALHOST"]),
        ({"environment": WELL.environment | {"FASTDDS_DEFAULT_PROFILES_FILE": "/nowhere.xml"}}, Level.FAIL,
         ["/nowhere.xml", "no file", "unset"]),
        ({"shared_memory": SharedMemory(int(67e6), int(60e6))}, Level.FAIL, ["60 of 67 MB", "--shm-size"]),
        ({"shared_memory": SharedMemory(int(268e6), int(250e6))}, Level.WARN, ["250 of 268 MB", "remount"]),
        ({"shared_memory": SharedMemory(int(8e9), int(6e9), 300, int(1.3e9))}, Level.WARN,
         ["300 segments", "1300 MB", "fastdds shm clean"]),
        ({"cores": 2}, Level.WARN, ["2 cores", "4 or more"]),
        ({"load": 30.0}, Level.WARN, ["load 30.0", "top"]),
        ({"governors": ("powersave",)}, Level.WARN, ["powersave", "cpupower"]),
        ({"real_time": RealTime("Operation not permitted")}, Level.WARN,
         ["Operation not permitted", "limits.conf"]),
        ({"memory_free": int(0.5e9)}, Level.FAIL, ["0.5 of 32.0 GB", "End what"]),
        ({"memory_free": int(2e9)}, Level.WARN, ["2.0 of 32.0 GB"]),
        ({"clock": ClockState(False)}, Level.WARN, ["nobody keeps it in step", "apt install chrony"]),
        ({"clock": ClockState(False, ("chronyd",))}, Level.WARN, ["chronyd runs", "chronyc tracking"]),
        ({"clock": ClockState(None)}, Level.WARN, ["does not say"]),
        ({"disk": dataclasses.replace(DISK, problem="Read-only file system")}, Level.FAIL, ["Read-only"]),
        ({"disk": dataclasses.replace(DISK, free=0.9e9)}, Level.FAIL, ["0.90 GB free", "Make room"]),
        ({"disk": dataclasses.replace(DISK, speed=2e3)}, Level.FAIL, ["cameras of franka_sim need"]),
        ({"disk": dataclasses.replace(DISK, speed=8e6)}, Level.WARN, ["8 MB/s is slow", "SD card"]),
        ({"disk": dataclasses.replace(DISK, free=1.001e9)}, Level.WARN, ["minutes of recording"]),
    ],
)  # fmt: skip
def test_each_broken_computer_is_named_with_what_to_do(changes, level, words):
    facts = dataclasses.replace(WELL, **changes)
    found = lines(facts, level)
    assert len(found) == 1 and worst(check_machine(facts, CONTRACT)) is level, found
    for word in words:
        assert word in found[0], found[0]
    advice = next(r.advice for r in check_machine(facts, CONTRACT) if r.level is level)
    assert advice


def test_packages_are_those_that_the_contract_needs():
    facts = dataclasses.replace(WELL, packages=without("control_msgs", "pinocchio"))
    assert not lines(facts, Level.FAIL)  # the simulated Franka needs neither
    (said,) = lines(facts, Level.FAIL, PANDA)
    assert "control_msgs is not installed. Grippers of type gripper_command need it" in said
    assert "ros-jazzy-control-msgs" in said


def test_an_address_to_look_at_makes_up_for_a_range_of_nothing():
    given = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF", "ROS_STATIC_PEERS": "10.0.0.2", "ROS_DOMAIN_ID": "3"}
    assert not lines(dataclasses.replace(WELL, environment=given), Level.FAIL)


def test_no_checkpoint_for_a_robot_is_no_fault():
    assert worst(check_machine(dataclasses.replace(WELL, speed=None), CONTRACT)) is Level.PASS
