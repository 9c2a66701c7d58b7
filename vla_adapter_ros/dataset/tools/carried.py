"""What an import leaves behind: columns, values and cameras that the contract has no place for."""

from __future__ import annotations

import math

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.mapped import MappedDataset
from vla_adapter_ros.dataset.mapping import dimension_names
from vla_adapter_ros.dataset.opening import Dataset, stored_reader
from vla_adapter_ros.dataset.outcome import COLUMNS

_CARRIED = (
    layout.STATE, layout.ACTION, layout.STAMP, layout.AGE, layout.CONTROL_SOURCE, "timestamp",
    *layout.INDEX_FEATURES, *COLUMNS,
)  # fmt: skip


def left_behind(dataset: Dataset, contract: Contract) -> list[str]:
    """Name the features of a data set, or the values within one, that an import does not carry over.

    Args:
        dataset: Opened with a mapping, with the contract, or as it is.
        contract: Of the new data set.

    Returns:
        One text per feature under its own name, in the data set's order; none if all is carried over.
    """
    reader = stored_reader(dataset)
    used: dict[str, set[int]] = {}
    sources = {name: name for name in contract.recorded_cameras}
    if isinstance(dataset, MappedDataset):
        used = dataset.places_used
        sources = {name: dataset.source_of(name).name for name in contract.recorded_cameras}
    cameras = {reader.camera_feature(source) for source in sources.values()}
    found = []
    for name, feature in reader.features.items():
        if name in used:
            width = math.prod(feature["shape"])
            names = dimension_names(feature) or tuple(str(place) for place in range(width))
            lost = [label for place, label in enumerate(names) if place not in used[name]]
            found += [f"{name}[{', '.join(map(str, lost))}]"] if lost else []
        elif name not in cameras and not (name in dataset.features and name in _CARRIED):
            found.append(name)
    return found
