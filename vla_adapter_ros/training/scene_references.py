"""What the cameras of a training's data sets always saw: it goes into the checkpoint, for the scene check."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.scene_check.reference import ReferenceView, make_reference, spread_views
from vla_adapter_ros.training.data.samples import Samples


def reference_views(samples: Samples, rows: np.ndarray) -> dict[str, ReferenceView]:
    """Camera -> what it always saw when the episodes began that rows (R,) are from.

    Of more than `MOST_VIEWS` episodes, so many are taken, evenly spread. Where data sets differ in the size
    of a camera's images, those count that have the size of the first.

    Raises:
        DatasetError: a first image cannot be read.
    """
    first = np.unique(samples.first[rows])
    spread = first[spread_views(len(first))]
    references = {}
    for place, camera in enumerate(samples.contract.camera_names):
        images = [samples.images.original(row, place) for row in spread.tolist()]
        references[camera] = make_reference([i for i in images if i.shape == images[0].shape])
    return references
