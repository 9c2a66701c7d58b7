"""Reference views and start poses from a data set, for checkpoints that were made without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.layout import STATE
from vla_adapter_ros.dataset.opening import Dataset, open_dataset
from vla_adapter_ros.dataset.start_pose import StartPose, start_pose
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.scene_check.reference import ReferenceView, make_reference, spread_views


def first_views(data: Dataset, cameras: tuple[str, ...]) -> dict[str, ReferenceView]:
    """Camera -> what it always saw when the episodes began; see `make_reference`.

    Raises:
        DatasetError: no episode, or a first image that cannot be read.
        ImageError: a camera's images are of several sizes.
    """
    if not data.num_episodes:
        raise DatasetError(f"{data.root} holds no episode: at least one is needed")
    episodes = spread_views(data.num_episodes).tolist()
    return {c: make_reference([data.image(c, episode, 0) for episode in episodes]) for c in cameras}


def first_states(data: Dataset, contract: Contract) -> StartPose:
    """Where the episodes of a data set begin.

    Raises:
        DatasetError: damaged rows.
    """
    states = [np.asarray(data.rows(episode)[STATE][0]) for episode in range(data.num_episodes)]
    return start_pose(np.array(states, dtype=np.float64), contract.state_names)


def learn_scene(dataset: str | Path, contract: Contract) -> tuple[dict[str, ReferenceView], StartPose]:
    """What a checkpoint would have kept of its data set.

    Args:
        dataset: LeRobot data set whose names are those of the contract.
        contract: The robot's.

    Raises:
        DatasetError, MappingError, ImageError: it cannot be read, or does not fit the contract.
    """
    data = open_dataset(dataset, contract=contract)
    return first_views(data, contract.camera_names), first_states(data, contract)
