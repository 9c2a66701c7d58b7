"""Bags of episodes beside the data set: kept, dropped, bounded, and opened by a reader of others."""

import threading

import pytest

pytest.importorskip("mcap", reason="bags need the package mcap: make setup")

from vla_adapter_ros.capsule.mcap_file import Schema, Topic
from vla_adapter_ros.observation.bag import Bag
from vla_adapter_ros.recorder.episode_bags import EpisodeBags

WORDS = Topic("/words", Schema("std_msgs/msg/String", "ros2msg", "string data\n"), "cdr")
CLOCK = Topic("/time", Schema("builtin_interfaces/msg/Time", "ros2msg", "int32 sec\nuint32 nanosec\n"), "cdr")


def text(word: str) -> bytes:
    """A std_msgs/String in CDR."""
    data = word.encode() + b"\0"
    return b"\0\1\0\0" + len(data).to_bytes(4, "little") + data


def recorded(bags, words):
    bags.begin()
    for n, word in enumerate(words):
        bags.add(WORDS, 10**9 + n, text(word))
    bags.add(CLOCK, 2 * 10**9, b"\0\1\0\0" + bytes(8))


def test_a_kept_bag_is_read_by_rosbags(tmp_path):
    bags = EpisodeBags(tmp_path / "demos")
    recorded(bags, ["a", "b", "c"])
    bags.end("episode")
    bags.add(WORDS, 5, text("between two episodes"))
    bags.keep("episode", 12)
    bags.close()
    with Bag(tmp_path / "demos_bags" / "episode_000012") as bag:
        assert bag.topics == {"/words": "std_msgs/msg/String", "/time": "builtin_interfaces/msg/Time"}
        assert [m.content.data for m in bag.messages({"/words"})] == ["a", "b", "c"]


def test_discarded_and_unfinished_bags_go(tmp_path):
    left = tmp_path / "demos_bags" / "recording_7"  # of a recorder that was killed
    left.mkdir(parents=True)
    (left / "episode_0.mcap").touch()
    bags = EpisodeBags(tmp_path / "demos")
    recorded(bags, ["running"])
    bags.drop()
    recorded(bags, ["pending"])
    bags.end("pending")
    recorded(bags, ["saved"])
    bags.end("saved")
    bags.drop("pending")
    bags.keep("saved", 0)
    recorded(bags, ["saved, then taken back"])
    bags.end("again")
    bags.keep("again", 1)
    bags.take_back(1)
    recorded(bags, ["never ended"])
    bags.close()
    assert [path.name for path in (tmp_path / "demos_bags").iterdir()] == ["episode_000000"]


def test_what_does_not_fit_into_the_memory_is_dropped_and_counted(tmp_path):
    said, going = [], threading.Event()
    bags = EpisodeBags(tmp_path / "demos", said.append, most_waiting=1000)
    bags._jobs.put(going.wait)  # a disk that stands still
    recorded(bags, ["x" * 100] * 50)
    going.set()
    bags.end("e")
    bags.keep("e", 0)
    bags.close()
    assert len(said) == 1 and said[0].endswith("41 messages were dropped: the disk was too slow")
    with Bag(tmp_path / "demos_bags" / "episode_000000") as bag:
        assert len(list(bag.messages({"/words"}))) == 9


def test_a_disk_that_refuses_costs_the_bag_alone(tmp_path):
    (tmp_path / "demos_bags").write_text("a file where the folder should be")
    said = []
    bags = EpisodeBags(tmp_path / "demos", said.append)
    recorded(bags, ["a", "b"])
    bags.end("e")
    bags.keep("e", 0)
    bags.close()
    assert len(said) == 1 and said[0].startswith("no bag of this episode: ")


def test_without_bags_nothing_happens(tmp_path):
    bags = EpisodeBags(None)
    recorded(bags, ["a"])
    bags.end("e")
    bags.keep("e", 0)
    bags.close()
    assert list(tmp_path.iterdir()) == []
