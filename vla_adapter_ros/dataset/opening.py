"""Opens LeRobot data sets of any format that can be read, under the names of a contract if asked to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.hub_datasets import find_dataset
from vla_adapter_ros.dataset.mapped import MappedDataset
from vla_adapter_ros.dataset.mapping import DatasetMapping, read_mapping
from vla_adapter_ros.dataset.older_formats import VERSIONS, LegacyReader, format_of
from vla_adapter_ros.dataset.partial import PartialReader
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.rlds.description import is_rlds
from vla_adapter_ros.errors import DatasetError

Dataset = DatasetReader | MappedDataset
"""A data set that is open for reading, as it is or under the names of a contract."""
_BAG_FILES = (".mcap", ".db3")


def is_bag(path: Path) -> bool:
    """Whether a path is a rosbag2 recording: its folder, or a file in it."""
    if path.is_dir():
        names = [file.name for file in path.iterdir()]
        stored = any(name == "metadata.yaml" or name.endswith(_BAG_FILES) for name in names)
        return stored and not (path / layout.INFO).exists()
    return path.suffix in _BAG_FILES and path.is_file()


def open_dataset(
    root: str | Path,
    mapping: DatasetMapping | str | Path | None = None,
    contract: Contract | None = None,
) -> Dataset:
    """Open a data set of format v3.0, v2.1 or v2.0 for reading.

    Args:
        root: Folder that holds `meta`, `data` and `videos`, or `owner/name[@revision]` on the Hub.
        mapping: What its features, cameras and values are called in a contract; a mapping or its file.
        contract: Instead of the contract that the mapping names or the data set carries. Without a
            mapping its names must be those of the data set, the values standing in the same order.

    Returns:
        The data set. With a mapping or a contract: state, action and cameras as the contract has them.

    Raises:
        DatasetError: no data set, another format, or damaged.
        MappingError: a bad mapping, or one that does not fit the data set.
    """
    root = find_dataset(root)
    if is_bag(root):
        raise DatasetError(
            f"{root} is a ROS bag and no data set: allowed is a data set, made from it with "
            "`vla-adapter dataset import-bag`; `vla-adapter dataset draft-contract` begins its contract"
        )
    if is_rlds(root):
        raise DatasetError(
            f"{root} is an RLDS data set: allowed is a data set of ours, made from it with "
            "`vla-adapter dataset import-rlds`"
        )
    version = format_of(root)
    reader: DatasetReader
    if version == layout.VERSION:  # of a recording of ours nothing may be missing
        reader = DatasetReader(root) if (root / layout.CONTRACT).is_file() else PartialReader(root)
    elif version in VERSIONS:
        reader = LegacyReader(root)
    else:
        raise DatasetError(
            f"{root}: format {version!r}: allowed are {', '.join((layout.VERSION, *VERSIONS))}"
        )
    if mapping is None and contract is None:
        return reader
    if mapping is None:
        mapping = DatasetMapping()
    elif not isinstance(mapping, DatasetMapping):
        mapping = read_mapping(mapping)
    return MappedDataset(reader, mapping, contract)


def stored_reader(dataset: Dataset) -> DatasetReader:
    """The reader of a data set as it is stored, without a mapping."""
    return dataset.reader if isinstance(dataset, MappedDataset) else dataset


def find_episodes(dataset: Dataset, numbers: Iterable[int]) -> list[int]:
    """Places of episodes, from the numbers by which the data set itself calls them.

    They differ where episodes are missing.

    Raises:
        DatasetError: it has no such episode, or its files are not there.
    """
    places = {episode.number: episode.index for episode in dataset.episodes}
    found = []
    for number in numbers:
        if number not in places:
            there = sorted(places)
            listed = ", ".join(map(str, there[:20])) + (", ..." if len(there) > 20 else "")
            gapless = there == list(range(len(there)))
            allowed = (
                f"0 to {len(there) - 1}" if gapless and there else f"those that are there: {listed or 'none'}"
            )
            raise DatasetError(f"{dataset.root}: episode {number}: allowed are {allowed}")
        found.append(places[number])
    return found
