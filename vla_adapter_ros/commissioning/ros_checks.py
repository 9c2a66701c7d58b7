"""Checks of a computer's ROS 2: middleware, messages, packages, shared memory, who is found."""

from __future__ import annotations

import os

from vla_adapter_ros.commissioning.machine import MachineFacts
from vla_adapter_ros.commissioning.results import Results
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import GripperCommandType

TESTED_MIDDLEWARE = "rmw_fastrtps_cpp"
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")
DOMAINS = (0, 232)  # Fast DDS has no ports for others; on Linux those above 101 meet ports of other programs
SAFE_DOMAIN = 101
SEGMENT = 18 * 2**20  # shared memory of a process with our profile [byte], as measured
FEW_SEGMENTS, MANY_SEGMENTS = 5, 16  # four nodes and a driver; a robot with several cameras and tools
MUCH_STALE = 100e6  # [byte]


def check_ros(facts: MachineFacts, contract: Contract | None, results: Results) -> None:
    """Note what of ROS 2 works here."""
    _installation(facts, results)
    _packages(facts, contract, results)
    if not facts.ros.problem and "fastrtps" in facts.ros.middleware:
        _profile(facts, results)
        _shared_memory(facts, results)
    _reach(facts, results)


def _installation(facts: MachineFacts, results: Results) -> None:
    ros = facts.ros
    if ros.problem:
        results.note_failure(
            "ROS 2", f"rclpy cannot be used ({ros.problem})",
            "`source /opt/ros/DISTRO/setup.bash` in this terminal, or `make setup` "
            "(docs/how-to/ros_installation.md); training needs no ROS",
        )  # fmt: skip
        return
    results.note_pass(
        "ROS 2", f"{ros.distribution or 'from wheels'}, rclpy {ros.rclpy or 'of unknown version'}"
    )
    if ros.middleware == TESTED_MIDDLEWARE:
        results.note_pass("middleware", ros.middleware)
    else:
        results.note_warning(
            "middleware", f"{ros.middleware} is untested, and takes no profile for shared memory",
            f"`export RMW_IMPLEMENTATION={TESTED_MIDDLEWARE}` for every process, drivers included",
        )  # fmt: skip
    if ros.messages_problem:
        results.note_failure(
            "messages", f"those of vla_adapter_ros cannot be used ({ros.messages_problem})",
            "`colcon build`, then `source install/setup.bash` in this terminal; without colcon `make setup`",
        )  # fmt: skip
    else:
        results.note_pass("messages", "those of vla_adapter_ros work")


def _packages(facts: MachineFacts, contract: Contract | None, results: Results) -> None:
    """Note packages that are missing for what the contract asks for, or for recording."""
    distribution = facts.ros.distribution or "DISTRO"
    missing = [name for name, there in facts.packages.items() if not there]
    fails: list[tuple[str, str]] = []
    warns: list[tuple[str, str]] = []
    if contract is not None:
        kinds = {gripper.type for gripper in contract.grippers}
        if GripperCommandType.GRIPPER_COMMAND in kinds and "control_msgs" in missing:
            fails.append(("control_msgs", f"grippers of type gripper_command need it: `apt install "
                          f"ros-{distribution}-control-msgs`, or another type"))  # fmt: skip
        if contract.kinematics is not None and "pinocchio" in missing:
            needed = contract.action.space.is_cartesian or contract.workspace is not None
            advice = "kinematics need it: `pip install 'vla_adapter_ros[cartesian]'`"
            (fails if needed or contract.command.type.is_cartesian else warns).append(("pinocchio", advice))
    for name in ("av", "pyarrow"):
        if name in missing:
            warns.append((name, "recording needs it: `pip install 'vla_adapter_ros[train]'`"))
    for name, advice in fails:
        results.note_failure("packages", f"{name} is not installed", _capital(advice))
    for name, advice in warns:
        results.note_warning("packages", f"{name} is not installed", _capital(advice))
    if not fails and not warns:
        whose = f"that {contract.name} needs" if contract is not None else "for recording"
        results.note_pass("packages", f"all are there {whose}")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _profile(facts: MachineFacts, results: Results) -> None:
    """Note which transports Fast DDS uses here."""
    name = next((name for name in PROFILE_VARIABLES if facts.environment.get(name)), "")
    if not name and facts.environment.get("FASTDDS_BUILTIN_TRANSPORTS"):
        results.note_pass("shared memory", "FASTDDS_BUILTIN_TRANSPORTS is set: no profile of ours is used")
    elif not name:
        results.note_pass(
            "shared memory",
            "our nodes use config/fastdds_shm.xml; drivers of cameras need it too where images do not arrive",
        )
    elif not os.path.isfile(facts.environment[name]):
        results.note_failure(
            "shared memory", f"{name} names {facts.environment[name]}, which is no file",
            f"`unset {name}`, or name config/fastdds_shm.xml of this package",
        )  # fmt: skip
    else:
        results.note_pass("shared memory", f"{name} names {facts.environment[name]}")


def _shared_memory(facts: MachineFacts, results: Results) -> None:
    """Note whether there is room for images between processes."""
    found = facts.shared_memory
    if found is None:
        return
    said = f"/dev/shm has {found.free / 1e6:.0f} of {found.total / 1e6:.0f} MB free"
    if found.free < FEW_SEGMENTS * SEGMENT:
        results.note_failure(
            "shared memory", f"{said}, each process takes {SEGMENT / 1e6:.0f}: images get lost",
            "`sudo mount -o remount,size=1G /dev/shm`; in a container `docker run --shm-size=1g`"
            + ("; `fastdds shm clean` removes what is left over" if found.stale else ""),
        )  # fmt: skip
    elif found.free < MANY_SEGMENTS * SEGMENT:
        results.note_warning(
            "shared memory", f"{said}, each process takes {SEGMENT / 1e6:.0f}",
            "`sudo mount -o remount,size=1G /dev/shm`; in a container `docker run --shm-size=1g`",
        )  # fmt: skip
    else:
        results.note_pass("shared memory", said)
    if found.stale_bytes > MUCH_STALE:
        results.note_warning(
            "shared memory", f"{found.stale} segments of processes that have died hold "
            f"{found.stale_bytes / 1e6:.0f} MB",
            "`fastdds shm clean`, or `rm /dev/shm/fastdds_*` while no ROS process runs",
        )  # fmt: skip


def _reach(facts: MachineFacts, results: Results) -> None:
    """Note who is found, and who finds us: domain and range of discovery."""
    given = facts.environment
    reach, domain = given.get("ROS_AUTOMATIC_DISCOVERY_RANGE", ""), given.get("ROS_DOMAIN_ID", "")
    alone = given.get("ROS_LOCALHOST_ONLY", "") == "1" or reach == "LOCALHOST"
    number = int(domain) if domain.isdecimal() else -1
    if reach and reach not in RANGES:
        results.note_failure(
            "discovery",
            f"ROS_AUTOMATIC_DISCOVERY_RANGE={reach} means nothing",
            f"Allowed is {', '.join(RANGES)}",
        )
    elif reach == "OFF" and not (given.get("ROS_STATIC_PEERS") or given.get("ROS_DISCOVERY_SERVER")):
        results.note_failure(
            "discovery", "ROS_AUTOMATIC_DISCOVERY_RANGE=OFF: no node finds another",
            "`unset ROS_AUTOMATIC_DISCOVERY_RANGE`, or LOCALHOST",
        )  # fmt: skip
    elif domain and not DOMAINS[0] <= number <= DOMAINS[1]:
        results.note_failure(
            "discovery", f"ROS_DOMAIN_ID={domain} is no domain", f"Allowed is {DOMAINS[0]} to {SAFE_DOMAIN}"
        )
    elif number > SAFE_DOMAIN:
        results.note_warning(
            "discovery", f"ROS_DOMAIN_ID={domain}: its ports may be those of other programs",
            f"Choose {DOMAINS[0]} to {SAFE_DOMAIN}",
        )  # fmt: skip
    elif alone:
        results.note_pass("discovery", f"this computer alone, domain {domain or '0'}")
    elif not domain:
        results.note_warning(
            "discovery", "ROS_DOMAIN_ID is not set: all of the network find this robot, and can move it",
            "`export ROS_DOMAIN_ID=` with a number of your own on each computer of the robot, or "
            "`export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST` where it has only one",
        )  # fmt: skip
    else:
        results.note_pass("discovery", f"domain {domain}, {reach or 'SUBNET'}")
