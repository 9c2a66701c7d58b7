"""Values go to JSON and back without loss; what a stranger writes instead is refused in a sentence."""

import base64
import json
import math
from collections import deque

import numpy as np
import pytest

from vla_adapter_ros.capsule.values import difference, from_plain, to_plain
from vla_adapter_ros.control import Chunk
from vla_adapter_ros.control.instructions import EndedBy, Ending
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.planner import Planner
from vla_adapter_ros.errors import CapsuleError

LIMITS = Limits(*(np.full(2, value) for value in (-2.0, 2.0, 1.0, 5.0, 50.0)))


def there_and_back(value):
    return from_plain(json.loads(json.dumps(to_plain(value), allow_nan=False)))


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 0.1 + 0.2, -0.0, math.inf, -math.inf, "text", [1, [2.5]], (1, (2, "a")), 
        {"a": (1.5, None)},
        np.array([[0.1, np.nan], [-np.inf, 1e-308]]), np.array([True, False]), np.zeros((0, 7)),
        Ending(EndedBy.FAULT, "why"), LIMITS,
        Chunk(1.5, np.eye(3), ("a", "b", "c"), 15.0, "s", 2, 3, "joint_position", None, 7.25, 0.5, "over"),
    ],
)  # fmt: skip
def test_values_come_back(value):
    back = there_and_back(value)
    assert type(back) is type(value) and difference(value, back) == ""


def test_not_a_number_comes_back():
    assert math.isnan(there_and_back(math.nan))


def test_deques_keep_their_length():
    back = there_and_back(deque([(0.5, 1.0)], maxlen=7))
    assert back == deque([(0.5, 1.0)]) and back.maxlen == 7


def test_a_plan_is_made_again_to_the_last_bit():
    planner = Planner(LIMITS)
    state = np.array([[0.1, -0.2], [0.7, -0.4], [0.3, 1.0]])
    target = np.array([[1.0, 0.5], [0.0, 0.0], [0.0, 0.0]])
    planner.move_joint(1, state[:, 0], target[:, 0], 0.5, 0.3)  # what was asked before leaves no trace
    for plan in (
        planner.stop(state),
        planner.move(state, target, 0.3, 0.5),
        planner.move_joint(0, state[:, 0], target[:, 0], 0.01, 1.0),
    ):
        again = there_and_back(plan)
        assert type(again) is type(plan) and again.duration == plan.duration
        for time in np.linspace(0, plan.duration, 7):
            np.testing.assert_array_equal(again.at(time), plan.at(time))


def test_an_unknown_kind_cannot_be_written():
    with pytest.raises(CapsuleError, match="a object cannot be written"):
        to_plain(object())


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({"os.system": ["true"]}, "value of kind 'os.system': allowed is one of"),
        ({"a": 1, "b": 2}, "an object of one entry"),
        ({"array": ["|O8", [1], ""]}, "array of '|O8': allowed is one of"),
        ({"array": ["<f8", [1000000000, 1000000000], base64.b64encode(bytes(8)).decode()]}, "reshape"),
        ({"array": ["<f8", [2], "no base64!"]}, "value"),
        ({"deque": [10**12, []]}, "deque of at most"),
        ({"float": "1e5"}, "allowed is nan"),
        ({"Chunk": {"stamp": 1.0}}, "missing"),
        ({"Chunk": {"__class__": 1}}, "unexpected keyword"),
        ({"Answer": {"dict": {}}}, "cannot be made again"),
        ({"SmoothRows": {"chunk": None}}, "smooth rows"),
        ({"Ending": ["sabotage", "x"]}, "sabotage"),
        ({"tuple": 5}, "not iterable"),
    ],
)
def test_what_nobody_wrote_is_refused(plain, words):
    with pytest.raises(CapsuleError, match="(?s).*" + words.replace("|", r"\|").replace("(", r"\(")):
        from_plain(plain)


def test_a_stop_that_never_ends_is_refused():
    slow = Limits(*(np.full(2, value) for value in (-2.0, 2.0, 1.0, 1e-4, 1e-4)))
    stop = Planner(slow).stop(np.array([[0.0, 0.0], [0.5, 0.5], [0.0, 0.0]]))
    with pytest.raises(CapsuleError, match=r"a plan of .* s"):
        from_plain(to_plain(stop))


def test_the_first_difference_is_told_with_both_values():
    one = Chunk(1.5, np.eye(3), ("a", "b", "c"), 15.0)
    other = Chunk(1.5, np.eye(3) + np.array([0, 0, 1e-16 + 1e-15]), ("a", "b", "c"), 15.0)
    text = difference(one, other, "chunk")
    assert text.startswith("chunk.rows[0, 2] is np.float64(0.0) in the capsule, ") and text.endswith(" here")
    assert difference((True, "a"), (True, "b"), "hold") == "hold[1] is 'a' in the capsule, 'b' here"
    assert difference(None, 1.0, "x") == "x is None in the capsule, 1.0 here"
