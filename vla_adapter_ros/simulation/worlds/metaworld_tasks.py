"""The 50 tasks of Meta-World's MT50: their groups, and the sentences that ask for them."""

from __future__ import annotations

import numpy as np

NAME = "metaworld"
CHILD = "vla_adapter_ros.simulation.worlds.metaworld_child"
"""Serves the world, see `WorldProcess`."""
LONGEST_STEPS = 500
"""Simulator steps after which Meta-World ends an episode."""
STEP_S = 0.0125
"""A simulator step [s]: 80 Hz."""
STEPS_PER_ROW = 4
"""Simulator steps in which a row of a chunk is carried out: the contract's rate is 20 Hz."""
VIDEO_CAMERA = "video"
"""A further name of the reference camera, for pictures of another size."""

GROUPS: dict[str, dict[str, str]] = {
    "easy": {
        "button-press": "Press a button",
        "button-press-topdown": "Press a button from the top",
        "button-press-topdown-wall": "Bypass a wall and press a button from the top",
        "button-press-wall": "Bypass a wall and press a button",
        "coffee-button": "Push a button on the coffee machine",
        "dial-turn": "Rotate a dial 180 degrees",
        "door-close": "Close a door with a revolving joint",
        "door-lock": "Lock the door by rotating the lock clockwise",
        "door-open": "Open a door with a revolving joint",
        "door-unlock": "Unlock the door by rotating the lock counter-clockwise",
        "drawer-close": "Push and close a drawer",
        "drawer-open": "Open a drawer",
        "faucet-close": "Rotate the faucet clockwise",
        "faucet-open": "Rotate the faucet counter-clockwise",
        "handle-press": "Press a handle down",
        "handle-press-side": "Press a handle down sideways",
        "handle-pull": "Pull a handle up",
        "handle-pull-side": "Pull a handle up sideways",
        "lever-pull": "Pull a lever down 90 degrees",
        "peg-unplug-side": "Unplug a peg sideways",
        "plate-slide": "Slide a plate into a cabinet",
        "plate-slide-back": "Get a plate from the cabinet",
        "plate-slide-back-side": "Get a plate from the cabinet sideways",
        "plate-slide-side": "Slide a plate into a cabinet sideways",
        "reach": "Reach a goal position",
        "reach-wall": "Bypass a wall and reach a goal",
        "window-close": "Push and close a window",
        "window-open": "Push and open a window",
    },
    "medium": {
        "basketball": "Dunk the basketball into the basket",
        "bin-picking": "Grasp the puck from one bin and place it into another bin",
        "box-close": "Grasp the cover and close the box with it",
        "coffee-pull": "Pull a mug from a coffee machine",
        "coffee-push": "Push a mug under a coffee machine",
        "hammer": "Hammer a screw on the wall",
        "peg-insert-side": "Insert a peg sideways",
        "push-wall": "Bypass a wall and push a puck to a goal",
        "soccer": "Kick a soccer into the goal",
        "sweep": "Sweep a puck off the table",
        "sweep-into": "Sweep a puck into a hole",
    },
    "hard": {
        "assembly": "Pick up a nut and place it onto a peg",
        "hand-insert": "Insert the gripper into a hole",
        "pick-out-of-hole": "Pick up a puck from a hole",
        "pick-place": "Pick and place a puck to a goal",
        "push": "Push the puck to a goal",
        "push-back": "Push the puck to a goal",
    },
    "very hard": {
        "disassemble": "Pick a nut out of a peg",
        "pick-place-wall": "Pick a puck, bypass a wall and place the puck",
        "shelf-place": "Pick and place a puck onto a shelf",
        "stick-pull": "Grasp a stick and pull a box with the stick",
        "stick-push": "Grasp a stick and push a box using the stick",
    },
}
"""Group -> task -> sentence. `push` and `push-back` have the same sentence.

Source:
    The groups are those of Masked World Models (arXiv 2206.14244), which the SmolVLA paper (arXiv 2506.01844)
    and LeRobot's environment use; the sentences are LeRobot's, which the data set lerobot/metaworld_mt50 has.
"""
SENTENCES = {task: sentence for tasks in GROUPS.values() for task, sentence in tasks.items()}
"""Task -> sentence, in the groups' order."""
GROUP_OF = {task: group for group, tasks in GROUPS.items() for task in tasks}


def environment_name(task: str) -> str:
    """What Meta-World calls a task."""
    return f"{task}-v3"


def demonstration_seed(seed: int, task: str, number: int, attempt: int) -> int:
    """The episode that a demonstration shows: below 2**31, where no evaluation's is.

    Args:
        seed: Of the data set.
        task: Its name.
        number: Of the demonstration among the task's.
        attempt: The expert fails now and then, and tries another episode.
    """
    return _drawn(seed, _place(task), number, attempt) & 0x7FFFFFFF


def trial_seed(seed: int, task: str, number: int) -> int:
    """The episode of a trial in an evaluation: from 2**31 on, where no demonstration's is."""
    return _drawn(seed, _place(task), number) | 0x80000000


def _place(task: str) -> int:
    return list(SENTENCES).index(task)


def _drawn(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
