"""The data sets of a training: where they lie, how much each counts, and the one robot behind them all."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.contract import Contract, require_same
from vla_adapter_ros.dataset.opening import Dataset, open_dataset
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.paths import expand
from vla_adapter_ros.texts import comma_list

_FORM = "PATH, PATH=WEIGHT, or PATH[,weight=WEIGHT][,mapping=FILE]"


@dataclass(frozen=True)
class Source:
    """A data set to learn from.

    Attributes:
        path: Its folder, or `owner/name[@revision]` on the hub.
        weight: How often a row of it is drawn, relative to a row of weight 1; more than 0.
        mapping: File with its names and units, see `recording.mapping`; empty for none.
    """

    path: str
    weight: float = 1.0
    mapping: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise TrainingError(f"{self.path}: weight = {self.weight!r}: allowed is more than 0")

    def __str__(self) -> str:
        parts = [self.path]
        if self.weight != 1:
            parts.append(f"weight={self.weight:g}")
        if self.mapping:
            parts.append(f"mapping={self.mapping}")
        return ",".join(parts)


@dataclass(frozen=True)
class OpenSource:
    """A data set that was opened and fits the contract. `name` is unique among the sources."""

    name: str
    data: Dataset
    weight: float = 1.0


def parse_source(text: str | Path | Source) -> Source:
    """Read `PATH`, `PATH=WEIGHT` or `PATH[,weight=WEIGHT][,mapping=FILE]`; a folder of that name wins.

    Raises:
        TrainingError: another form, or a weight that is no number above 0.
    """
    if isinstance(text, Source):
        return text
    if isinstance(text, Path) or os.path.isdir(expand(text)):
        return Source(str(text))
    path, *options = comma_list(text)
    values: dict[str, str] = {}
    for option in options:
        key, _, value = map(str.strip, option.partition("="))
        if key not in ("weight", "mapping") or not value or key in values:
            raise TrainingError(f"data set {text!r}: {option!r}: allowed is {_FORM}")
        values[key] = value
    head, equals, tail = path.rpartition("=")
    if equals and "weight" not in values and not os.path.isdir(expand(path)):
        path, values["weight"] = head, tail
    try:
        weight = float(values.get("weight", "1"))
    except ValueError:
        raise TrainingError(
            f"data set {text!r}: weight {values['weight']!r}: allowed is {_FORM}, WEIGHT a number"
        ) from None
    return Source(path, weight, values.get("mapping", ""))


def open_sources(
    sources: str | Path | Source | Sequence[str | Path | Source], contract: Contract | None = None
) -> tuple[tuple[OpenSource, ...], Contract]:
    """Open data sets of any format, and find the contract that they share.

    Args:
        sources: One or several, see `parse_source`.
        contract: For data sets that carry none, and whose mapping names none.

    Returns:
        The open data sets, and their contract.

    Raises:
        TrainingError: no data set, or no contract.
        ContractMismatch: two of them were made for different robots; both are named.
        DatasetError, MappingError: one is missing, damaged, or does not fit its mapping or the contract.
    """
    if isinstance(sources, str | Path | Source):
        sources = [sources]
    if not sources:
        raise TrainingError("no data set named: at least one is needed")
    opened: list[OpenSource] = []
    shared: Contract | None = None
    for source in map(parse_source, sources):
        data = open_dataset(source.path, source.mapping or None)
        if data.contract is None:
            if contract is None:
                raise TrainingError(
                    f"{source.path} carries no contract: name the robot's, or a mapping that names one"
                )
            data = open_dataset(source.path, source.mapping or None, contract)
        assert data.contract is not None
        if shared is None:
            shared = data.contract
        else:
            require_same(
                shared, data.contract, f"data set {source.path} (the others are like {opened[0].name})"
            )
        here = expand(source.path)
        name = here.resolve().name if here.exists() else source.path.partition("@")[0].rpartition("/")[2]
        taken = [other.name for other in opened]
        while name in taken:
            name += "+"
        opened.append(OpenSource(name, data, source.weight))
    assert shared is not None
    return tuple(opened), shared
