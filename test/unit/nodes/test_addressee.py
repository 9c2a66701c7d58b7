"""Whom a command speaks to: the one of the namespace that was named, or nobody."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from vla_adapter_ros.errors import ServiceError
from vla_adapter_ros.nodes.addressee import the_one_of


def test_only_the_namespace_that_was_named_counts():
    found = {"/left/instruct": "/left", "/right/instruct": "/right", "/right/cell/instruct": "/right/cell"}
    assert the_one_of(found, "/left") == "/left/instruct"
    assert the_one_of(found, "/right") == "/right/instruct"
    assert the_one_of(found, "/") == the_one_of({}, "/left") == ""


def test_of_two_in_one_namespace_none_is_chosen():
    with pytest.raises(ServiceError, match="/a/arm and /b/arm are both in namespace /: stop one"):
        the_one_of({"/b/arm": "/", "/a/arm": "/"}, "/")
