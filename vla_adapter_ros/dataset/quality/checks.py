"""The list of all checks. Every other place looks up names, thresholds and needs here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vla_adapter_ros.choices import Choice


class Need(Choice):
    """What a check looks at."""

    ROWS = "rows"
    IMAGES = "images"
    FILES = "files"
    CONTRACT = "contract"
    EPISODES = "several episodes"
    MODEL = "model"


class Place(Choice):
    """Who makes a check."""

    RECORDER = "recorder"
    CHECK = "dataset check"
    TRAINING = "fine-tuning"
    CHECKPOINT = "checkpoint verify"


class Scope(Choice):
    """What one number of a check is about."""

    EPISODE = "episode"
    DATASET = "data set"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Check:
    """One entry of the list.

    Attributes:
        name: What settings, reports and the docs call it.
        finds: What its number is, in words.
        warn, fail: Thresholds; the number is beyond them above, or below where `below` says so. inf (or
            -inf) switches a level off.
        unit: Of the number; 1 for fractions and counts.
        below: Whether small numbers are bad.
        needs: What it looks at.
        scope: What one number is about.
        places: Who makes it.
    """

    name: str
    finds: str
    warn: float
    fail: float
    needs: frozenset[Need]
    scope: Scope
    places: tuple[Place, ...]
    unit: str = "1"
    below: bool = False


_OFF = math.inf
_LIVE = (Place.RECORDER, Place.CHECK, Place.TRAINING)
_STORED = (Place.CHECK, Place.TRAINING)


def _episode(
    name: str, warn: float, fail: float, finds: str, *needs: Need, unit: str = "1", below: bool = False
) -> Check:
    wanted = frozenset(needs or {Need.ROWS})
    return Check(name, finds, warn, fail, wanted, Scope.EPISODE, _LIVE, unit, below)


def _dataset(
    name: str, warn: float, fail: float, finds: str, *needs: Need, unit: str = "1",
    places: tuple[Place, ...] = _STORED,
) -> Check:  # fmt: skip
    return Check(name, finds, warn, fail, frozenset(needs), Scope.DATASET, places, unit)


def _checkpoint(name: str, finds: str) -> Check:
    needs = frozenset({Need.FILES, Need.MODEL})
    return Check(name, finds, 0.0, 0.0, needs, Scope.CHECKPOINT, (Place.CHECKPOINT,))


CHECKS: tuple[Check, ...] = (
    _episode("missing_values", 0.0, 0.0, "fraction of rows with a value that is not finite"),
    _episode("dropped_frames", 0.0, 0.05, "fraction of frames that are not there: gaps in the stamps, or "
             "what the recorder left out"),
    _episode("refused_images", 0.0, 0.05, "images that came but could not be used (damaged, or "
             "refused), per row, worst camera; known while recording only", Need.IMAGES),
    _episode("repeated_frames", 0.05, 0.3, "fraction of the rows in motion whose image is that of the row "
             "before, worst camera", Need.ROWS, Need.IMAGES),
    _episode("rate_error", 0.02, 0.05, "true rate against the nominal one"),
    _episode("stream_age_p95", 1.0, 2.0, "95th percentile of a stream's age, worst stream", unit="periods"),
    _episode("stream_skew", 1.5, 3.0, "largest spread of the streams' ages within one row", unit="periods"),
    _episode("camera_lag", 0.75, _OFF, "age that the images of a camera always have (all but 5 % of the "
             "rows), in its own periods, worst camera", unit="periods"),
    _episode("frozen_camera", 0.5, 2.0, "longest motion during which a camera's image does not change",
             Need.ROWS, Need.IMAGES, unit="s"),
    _episode("black_camera", 0.0, 0.05, "fraction of black images, worst camera", Need.IMAGES),
    _episode("dark_images", 35.0, 12.0, "median brightness, darkest camera", Need.IMAGES,
             unit="levels of 255", below=True),
    _episode("saturated_images", 0.3, 0.7, "median fraction of saturated values in an image, worst camera",
             Need.IMAGES),
    _episode("constant_joints", 0.5, 0.99, "fraction of the arm's joints that never move"),
    _episode("action_is_next_state", 0.5, 0.9, "fraction of the moving rows whose action is the state of the "
             "same or the next row; with `action.source: next_state` of those whose action is not"),
    _episode("idle_head", 2.0, 10.0, "time before anything moves", unit="s"),
    _episode("idle_tail", 2.0, 10.0, "time after everything has stopped", unit="s"),
    _episode("state_limits", 0.0, 0.02, "fraction of rows in which a joint is out of its range or too fast",
             Need.ROWS, Need.CONTRACT),
    _episode("action_limits", 0.0, 0.1, "fraction of rows that command a joint out of its range",
             Need.ROWS, Need.CONTRACT),
    _episode("gripper_motion", 0.2, -_OFF, "range of a gripper's command, as a fraction of open to closed; "
             "of several, the largest", Need.ROWS, Need.CONTRACT, below=True),
    _episode("unled_rows", 0.5, 0.99, "fraction of rows in which nobody led, neither a human nor the policy; "
             "its line counts all three"),
    _episode("unknown_ages", 0.0, 0.05, "fraction of rows without the age of a stream that other rows have"),
    _episode("action_jumps", 0.15, 0.5, "farthest that a command leaves its path for one or two rows, as a "
             "fraction of its range"),
    _episode("stuck_state", 0.7, 2.0, "longest time in which a joint's state does not change at all although "
             "its command moves on", unit="s"),
    _episode("gripper_chatter", 1.0, 10.0, "times that a gripper's command turns back within 0.3 s"),
    _episode("short_episode", 1.0, _OFF, "rows of a chunk (8; in fine-tuning the model's) for each row"),
    _dataset("format", 0.0, _OFF, "episodes of its list whose files are missing; it fails if the tables "
             "cannot be read or do not fit each other", Need.FILES),
    _dataset("rows", 0.0, 0.0, "episodes that lack rows, or whose `frame_index`, `index` or "
             "`episode_index` has gaps", Need.FILES),
    _dataset("timestamps", 0.0, _OFF, "episodes whose times are not row / rate (some formats keep real "
             "times there)", Need.FILES),
    _dataset("images", 0.0, 0.0, "videos with another number of images than rows, or images of another "
             "size than declared", Need.FILES),
    _dataset("decoding", 0.0, 0.0, "cameras of episodes whose images cannot be decoded",
             Need.FILES, Need.IMAGES),
    _dataset("tasks", 0.0, 0.0, "tasks that rows name and that are not there or have no text", Need.FILES),
    _dataset("stats", 0.0, 0.0, "stored statistics that are missing, not finite, or not those of the rows",
             Need.FILES),
    _dataset("still_values", 0.0, 0.99, "fraction of state values that are the same in all episodes",
             Need.EPISODES),
    _dataset("contract", 0.0, 0.0, "names, cameras, sizes and rate that are not the contract's",
             Need.FILES, Need.CONTRACT, places=(*_STORED, Place.CHECKPOINT)),
    _dataset("leftovers", 0.0, _OFF, "files that no episode uses", Need.FILES),
    _dataset("metadata", 0.0, 0.0, "counts, splits, times and places of files in `meta` that are not "
             "those of the files", Need.FILES),
    _dataset("videos", 0.0, 0.0, "codec, rate and size in info.json that are not those of the videos",
             Need.FILES),
    _dataset("mixed_codecs", 0.0, _OFF, "videos of a camera that have another codec than its first",
             Need.FILES),
    _dataset("episode_stats", 0.0, 0.0, "stored statistics of single episodes that are not those of their "
             "rows",
             Need.FILES),
    _dataset("action_delay", 0.2, 0.4, "time by which the actions of an episode are earlier or later than in "
             "the others (or than the state that follows them)", Need.EPISODES, unit="s"),
    _dataset("failed_grasps", 0.0, _OFF, "episodes in which a gripper closes more often than is usual for "
             "their instruction", Need.EPISODES),
    _dataset("durations", 3.0, _OFF, "longest or shortest episode of an instruction against its "
             "usual length",
             Need.EPISODES),
    _dataset("rare_sentences", 0.0, _OFF, "instructions with less than a fifth of the usual number of "
             "episodes",
             Need.EPISODES),
    _dataset("swapped_cameras", 0.0, 0.0, "episodes whose cameras look like each other's in the rest",
             Need.EPISODES, Need.IMAGES),
    _dataset("timing", 0.01, _OFF, "fraction of gaps between rows that are off by more than a quarter of the "
             "period; it fails if the true rate is another one", Need.EPISODES),
    _dataset("units", 0.01, _OFF, "fraction of a joint's positions that are out of its range; it fails if "
             "they are degrees or millimeters", Need.EPISODES, Need.CONTRACT),
    _dataset("speeds", 1.0, 10.0, "commanded steps of a joint against its velocity limit (99 % of the rows "
             "are slower)", Need.EPISODES, Need.CONTRACT),
    _dataset("gripper", 0.01, 0.5, "fraction of a gripper's commands that do not fit the contract's open and "
             "closed", Need.EPISODES, Need.CONTRACT),
    _dataset("joint_order", 0.0, 0.0, "joints of an episode that stand where others stand in the rest",
             Need.EPISODES, Need.CONTRACT),
    _dataset("constant_values", 0.0, _OFF, "values of state and action that never or hardly change; it "
             "fails if the arm's actions never do", Need.EPISODES, Need.CONTRACT),
    _dataset("outliers_state", 4.0, _OFF, "farthest state value from the middle of q01 and q99, in half "
             "widths", Need.EPISODES, Need.CONTRACT),
    _dataset("outliers_action", 4.0, _OFF, "farthest action value (of those that are not binary), as of "
             "`outliers_state`", Need.EPISODES, Need.CONTRACT),
    _dataset("selection", 0.0, _OFF, "whether too few episodes are there to hold some out", Need.EPISODES,
             Need.MODEL, places=(Place.TRAINING,)),
    _dataset("action_sources", 0.0, _OFF, "whether some data sets have commands for actions and others next "
             "states (`action.source`)", Need.CONTRACT, places=(Place.TRAINING,)),
    _dataset("instructions", 0.0, _OFF, "words that the model does not know; it fails if instructions "
             "look the same to it", Need.EPISODES, Need.MODEL, places=(Place.TRAINING,)),
    _checkpoint("files", "the directory is complete"),
    _checkpoint("weights", "every name and shape fits"),
    _checkpoint("finite", "weights that are not finite"),
    _checkpoint("statistics", "statistics that are not finite or not in order: min, q01, q99, max"),
    _checkpoint("prediction", "it predicts finite actions on noise images"),
    _checkpoint("chunk", "the rows of a predicted chunk differ"),
)  # fmt: skip
"""In the order in which they are reported."""

BY_NAME: dict[str, Check] = {check.name: check for check in CHECKS}


def checks_of(scope: Scope, place: Place | None = None) -> tuple[Check, ...]:
    """The checks about an episode, a data set or a checkpoint, of one place if it is named."""
    return tuple(c for c in CHECKS if c.scope is scope and (place is None or place in c.places))
