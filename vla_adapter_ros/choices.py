"""Closed sets of words: what settings, files, commands and nodes may choose from.

A member is a `str`, so it is written to JSON and compared with stored words as before. The sets and
ranges that the command line offers stand here, because this file imports nothing heavy and so costs no
start-up time.
"""

from __future__ import annotations

import typing
from enum import Enum

from vla_adapter_ros.untrusted import short

SLOWEST, FASTEST = 0.1, 1.0
"""At which fractions of its own speed a policy's motion may be carried out."""
FULL_PACE_ROWS = 2.5
"""So many rows may pass between an image and its chunk before rows are carried out slower."""
EXECUTION_HORIZON = 4
"""Rows of a chunk that are executed before the next one takes over, unless somebody says otherwise."""
LARGEST_STEP = 0.02
"""Of a joint whose delay is measured [rad]."""


class Choice(str, Enum):
    """Parent of all closed sets. `Kind("word")` checks a word; printing a member shows the plain word."""

    __hash__ = str.__hash__  # so that a member finds its word among the keys of a dict

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return repr(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    @classmethod
    def words(cls) -> list[str]:
        """All words of the set, in order."""
        return [member.value for member in cls]

    @classmethod
    def check(cls, name: str, value: object, error: type[Exception]) -> typing.Any:
        """The member that a word stands for.

        Args:
            name: Of the setting, for the message.
            value: The word.
            error: Kind of error to raise.

        Raises:
            error: the set has no such word; the message names the setting, the word and what is allowed.
        """
        try:
            return cls(value)
        except ValueError:
            raise error(f"{name} = {short(value)}: allowed is one of {cls.words()}") from None


class Preset(Choice):
    """Ready-made sizes of the model."""

    TINY = "tiny"
    SMALL = "small"
    PUBLISHED_05B = "0.5b"
    LLAMA2_7B = "llama2-7b"
    OPENVLA_7B = "openvla-7b"

    @property
    def is_light(self) -> bool:
        """Whether one computer without a large GPU can hold it: it can be measured and made from scratch."""
        return self.has_word_list or self is Preset.PUBLISHED_05B

    @property
    def has_word_list(self) -> bool:
        """Whether its tokenizer is a list of words, made of the instructions that it is trained on."""
        return self in (Preset.TINY, Preset.SMALL)

    @classmethod
    def light(cls) -> list[str]:
        """The words of the light ones."""
        return [preset.value for preset in cls if preset.is_light]


class HeadKind(Choice):
    """Policy heads: two published ones with an L1 loss, and a diffusion transformer."""

    BASE = "base"
    PRO = "pro"
    DIT = "dit"

    @property
    def is_bridge(self) -> bool:
        """Whether it is a published Bridge-Attention head, which predicts a chunk in one pass."""
        return self is not HeadKind.DIT

    @classmethod
    def bridge(cls) -> list[str]:
        """The words of the published ones."""
        return [kind.value for kind in cls if kind.is_bridge]


class WeightType(Choice):
    """Types of a policy's weights; `auto`: the fastest sound one of the device.

    Not fp16: states of language models exceed its largest number, 65504, and nothing would tell.
    """

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"

    @classmethod
    def fixed(cls) -> list[str]:
        """The words of single types."""
        return [kind.value for kind in cls if kind is not cls.AUTO]


class LinearKind(Choice):
    """How a CPU computes the linear layers of vision towers and language model.

    `plain`: with the weights as they are; `packed`: with weights laid out for the processor, where that was
    measured to be faster; `int8`: in 8-bit whole numbers, faster and less exact.
    """

    PLAIN = "plain"
    PACKED = "packed"
    INT8 = "int8"


class PlatformName(Choice):
    """Robots and benchmarks that official checkpoints were trained for."""

    LIBERO = "libero"
    CALVIN = "calvin"
    ALOHA = "aloha"
    BRIDGE = "bridge"


class RendererName(Choice):
    """Ways to draw the simulator's camera images."""

    AUTO = "auto"
    EGL = "egl"
    OSMESA = "osmesa"
    RAYCAST = "raycast"


class JogSpace(Choice):
    """What a human's device moves; auto: the tool where the arm's kinematics are known, else joints."""

    AUTO = "auto"
    TOOL = "tool"
    JOINTS = "joints"


class OnFail(Choice):
    """What happens to an episode that fails its quality checks."""

    ASK = "ask"
    DISCARD = "discard"
    SAVE = "save"


class Table(Choice):
    """What stands on the simulated table."""

    CUBES = "cubes"
    TABLETOP = "tabletop"


class SuiteName(Choice):
    """Episodes in the simulator that belong together."""

    PICK = "pick"
    PICK_PERTURBED = "pick_perturbed"
    TABLETOP = "tabletop"
    TABLETOP_HELDOUT = "tabletop_heldout"
    TABLETOP_PERTURBED = "tabletop_perturbed"
    METAWORLD = "metaworld"
    LIBERO_SPATIAL = "libero_spatial"
    LIBERO_OBJECT = "libero_object"
    LIBERO_GOAL = "libero_goal"
    LIBERO_10 = "libero_10"
    LIBERO_90 = "libero_90"
    LIBERO_SPATIAL_LAN = "libero_spatial_lan"
    LIBERO_SPATIAL_OBJECT = "libero_spatial_object"
    LIBERO_SPATIAL_SWAP = "libero_spatial_swap"
    LIBERO_SPATIAL_TASK = "libero_spatial_task"
    LIBERO_OBJECT_LAN = "libero_object_lan"
    LIBERO_OBJECT_OBJECT = "libero_object_object"
    LIBERO_OBJECT_SWAP = "libero_object_swap"
    LIBERO_OBJECT_TASK = "libero_object_task"
    LIBERO_GOAL_LAN = "libero_goal_lan"
    LIBERO_GOAL_OBJECT = "libero_goal_object"
    LIBERO_GOAL_SWAP = "libero_goal_swap"
    LIBERO_GOAL_TASK = "libero_goal_task"
    LIBERO_10_LAN = "libero_10_lan"
    LIBERO_10_OBJECT = "libero_10_object"
    LIBERO_10_SWAP = "libero_10_swap"
    LIBERO_10_TASK = "libero_10_task"

    @property
    def is_at_table(self) -> bool:
        """Whether its episodes are those of our own simulator, with a table in front of the robot."""
        return self is not SuiteName.METAWORLD and not self.is_libero

    @property
    def is_libero(self) -> bool:
        """Whether it is one of LIBERO's, or one of LIBERO-Pro's, which perturb them."""
        return self.value.startswith("libero_")

    @classmethod
    def plain(cls) -> list[str]:
        """The words of all but LIBERO-Pro's, which perturb LIBERO's."""
        return [suite.value for suite in cls if not suite.is_libero or suite.value.count("_") == 1]

    @classmethod
    def at_table(cls) -> list[str]:
        """The words of those."""
        return [suite.value for suite in cls if suite.is_at_table]


class Perturbation(Choice):
    """What is made harder than it was in the demonstrations."""

    CAMERA = "camera"
    LIGHT = "light"
    DISTRACTORS = "distractors"
    LATENCY = "latency"
    FRAMES = "frames"
    SLIP = "slip"


class Control(Choice):
    """What the closed-loop evaluation takes from a policy, to see that it fails without."""

    NONE = "none"
    UNTRAINED = "untrained"
    NO_LANGUAGE = "no_language"
    SWAPPED_CAMERAS = "swapped_cameras"


class Outcome(Choice):
    """How an episode ended, as its operator said."""

    SUCCESS = "success"
    FAILURE = "failure"
