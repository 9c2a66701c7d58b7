"""What is found out about this computer, and about folders that play one."""

from __future__ import annotations

import os

from vla_adapter_ros.commissioning import machine_facts
from vla_adapter_ros.commissioning.machine import RosInstallation
from vla_adapter_ros.commissioning.machine_facts import collect_facts, look_at_shared_memory, measure_disk


def test_a_segment_whose_lock_nobody_holds_is_stale(tmp_path):
    for name, size in (("fastdds_0a", 300), ("fastrtps_0b", 500), ("fastdds_0c", 700)):
        (tmp_path / name).write_bytes(bytes(size))
        (tmp_path / f"{name}_el").touch()
    (tmp_path / "fastdds_port7411").write_bytes(bytes(50))
    (tmp_path / "fastdds_port7411_el").touch()
    (tmp_path / "fastdds_0d_el").touch()  # its process removes it just now
    held = os.stat(tmp_path / "fastdds_0c_el").st_ino
    locks = tmp_path / "locks"
    locks.write_text(f"1: FLOCK  ADVISORY  WRITE 12222 00:1b:{held} 0 EOF\n2: -> POSIX\n")
    assert look_at_shared_memory(tmp_path, locks).stale == 0  # a list that cannot be read accuses nobody
    locks.write_text(f"1: FLOCK  ADVISORY  WRITE 12222 00:1b:{held} 0 EOF\n")
    found = look_at_shared_memory(tmp_path, locks)
    assert (found.stale, found.stale_bytes) == (2, 800) and found.total >= found.free > 0


def test_the_disk_is_measured_where_the_folder_will_be(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_facts, "WRITTEN_BYTES", 2**21)
    found = measure_disk(tmp_path / "not" / "there", 0.0)
    assert found.folder == str(tmp_path) and not found.problem
    assert found.speed > 0 and found.free > 0 and list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_says_why():
    assert measure_disk(machine_facts.Path("/proc"), 0.0).problem


def test_this_computer_is_described(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_facts, "WRITTEN_BYTES", 2**20)
    given = {"ROS_DOMAIN_ID": "7", "HOME": "/home/me"}
    before = os.sched_getscheduler(0)
    facts = collect_facts(tmp_path, 1e9, given, RosInstallation(), "no checkpoint", True)
    assert facts.environment == {"ROS_DOMAIN_ID": "7"} and facts.no_speed == "no checkpoint"
    assert facts.cores >= 1 and facts.memory >= facts.memory_free > 0
    assert facts.torch is not None and facts.packages["pyarrow"]
    assert os.sched_getscheduler(0) == before  # the try of real time left nothing behind
