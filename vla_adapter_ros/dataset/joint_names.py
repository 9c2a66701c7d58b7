"""What names of joints and values say, whatever robot they are of."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_INSIDE = ("grip", "finger", "knuckle", "thumb")  # unmistakable, also without a separator: leftgripper
_WORDS = {
    "jaw", "jaws", "claw", "claws", "hand", "pinky", "palm", "suction", "vacuum",
    "proximal", "distal",  # bones of fingers
    "ffj", "mfj", "rfj", "lfj", "thj",  # of the Shadow hand
}  # fmt: skip
_FINGERS = {"index", "middle", "ring", "little"}  # also mean other things, unless a side is named
_SIDES = {"left", "right", "l", "r", "lh", "rh"}
_COMPONENTS = {"x", "y", "z", "w", *(f"q{axis}" for axis in "xyzw")}


def tokens(name: str) -> list[str]:
    """Words and numbers of a name, in lower case: `leftWrist_2.pos` gives left, wrist, 2, pos."""
    return [token.lower() for token in _TOKEN.findall(name)]


def is_gripper(name: str) -> bool:
    """Whether a name says that a value moves with a gripper or a hand, and not with the arm.

    A component of a pose, such as `gripper_x` or `left_hand_qw`, does not: it says where the tool is.
    """
    found = tokens(name)
    words = [token for token in found if not token.isdigit()]
    if words and words[-1] in _COMPONENTS:
        return False
    if any(part in token for token in words for part in _INSIDE) or not _WORDS.isdisjoint(words):
        return True
    return not _FINGERS.isdisjoint(words) and not _SIDES.isdisjoint(words)
