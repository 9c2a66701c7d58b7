import os

import pytest

from vla_adapter_ros.capsule import folder as rules
from vla_adapter_ros.capsule.folder import Half, Occasions, SavedBy, capsules, make_room, reserve_path
from vla_adapter_ros.errors import CapsuleError
from vla_adapter_ros.files import temporary_path, write_file


def fill(folder, count, by, size=1000):
    for n in range(count):
        write_file(reserve_path(folder, by, 1e9 + n), lambda path: path.write_bytes(bytes(size)))


def test_names_sort_by_time_and_are_never_taken_twice(tmp_path):
    assert reserve_path(tmp_path, SavedBy.FAULT, 1e9).name == "capsule_20010909T014640_fault.mcap"
    assert reserve_path(tmp_path, SavedBy.FAULT, 1e9).name == "capsule_20010909T014640_fault-2.mcap"
    assert capsules(tmp_path) == []  # nobody sees them before they are complete
    for _ in range(3):
        path = reserve_path(tmp_path, SavedBy.HAND, 1e9, Half.POLICY)
        write_file(path, lambda path: path.write_bytes(b"x"))
    assert [path.name for path in capsules(tmp_path)] == [
        "capsule_20010909T014640_hand_policy-2.mcap",
        "capsule_20010909T014640_hand_policy-3.mcap",
        "capsule_20010909T014640_hand_policy.mcap",
    ]


def test_the_oldest_capsules_of_faults_make_room(tmp_path):
    fill(tmp_path, 5, SavedBy.FAULT)
    fill(tmp_path, 2, SavedBy.HAND)
    (tmp_path / "notes.mcap").write_bytes(bytes(10_000))  # somebody's own file neither counts nor goes
    make_room(tmp_path, 1500, 6000)
    left = [path.name for path in capsules(tmp_path)]
    assert left == sorted(left) and sum("hand" in name for name in left) == 2
    assert [name for name in left if "fault" in name] == [
        "capsule_20010909T014643_fault.mcap",
        "capsule_20010909T014644_fault.mcap",
    ]
    assert (tmp_path / "notes.mcap").exists()


def test_those_saved_by_hand_stay_and_the_new_one_is_refused(tmp_path):
    fill(tmp_path, 3, SavedBy.HAND, 2_000_000)
    with pytest.raises(
        CapsuleError, match=r"3 capsules saved by hand take 6 MB.*allowed are 5 .capsule_quota_gb"
    ):
        make_room(tmp_path, 1_000_000, 5_000_000)
    assert len(capsules(tmp_path)) == 3


def test_what_a_killed_node_left_behind_goes(tmp_path):
    old, new = (temporary_path(reserve_path(tmp_path, SavedBy.HAND, 1e9)) for _ in range(2))
    os.utime(old, (1e9, 1e9))
    make_room(tmp_path, 1, 1000)
    assert not old.exists() and new.exists()


def test_a_disk_that_is_nearly_full_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "LEFT_BYTES", 10**18)
    with pytest.raises(CapsuleError, match="GB free: needed are"):
        make_room(tmp_path / "new", 1, 10**9)


def test_one_capsule_per_kind_of_fault_and_minute():
    occasions = Occasions()
    assert occasions.begins("joint1 is 0.31 away from its command", 100.0)
    assert not occasions.begins("joint1 is 0.47 away from its command", 159.9)
    assert occasions.begins("no action chunk in time", 110.0)
    assert occasions.begins("joint1 is 0.31 away from its command", 160.0)
    for n in range(1000):
        occasions.begins("x" * n, 200.0)
    assert len(occasions._newest) <= 64


def test_ros_home_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    assert rules.default_folder() == tmp_path / "capsules"
