"""Makes data sets of ours from RLDS data sets: LIBERO's, Bridge's, and one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.dataset.mapped import MappedDataset
from vla_adapter_ros.dataset.mapping import DatasetMapping, read_mapping
from vla_adapter_ros.dataset.rlds.forms import Form, form_mapping, rules_of
from vla_adapter_ros.dataset.rlds.reader import RldsReader
from vla_adapter_ros.dataset.tools.import_report import EpisodeReport, ImportReport
from vla_adapter_ros.dataset.tools.importing import import_lerobot
from vla_adapter_ros.errors import DatasetError


def import_rlds(
    path: str | Path,
    contract: Contract | None,
    output: str | Path,
    *,
    form: Form = Form.NONE,
    mapping: str | Path | None = None,
    split: str = "train",
    rate_hz: float | None = None,
    append: bool = False,
    report: Callable[[EpisodeReport], None] = lambda episode: None,
) -> ImportReport:
    """Make a data set of ours from one in the form of RLDS.

    Args:
        path: Folder of the data set, or of its only version.
        contract: Of the robot; None: the mapping names it.
        output: Data set: new, or, with `append`, one of the same contract.
        form: Which family it belongs to; the form also maps its names onto the contract, by position.
        mapping: File that does so instead, see `dataset.mapping`.
        split: Which part of it.
        rate_hz: Steps per second; None: those of the form, or else of the contract.
        append: Whether to go on with a data set that has episodes.
        report: Called with each episode.

    Raises:
        DatasetError: no RLDS data set, damaged, or it does not fit the contract.
        MappingError: the mapping does not fit.
        ContractMismatch, RecordingError: as `DatasetStore`.
    """
    given = read_mapping(mapping) if mapping else None
    rules = rules_of(form)
    robot = contract or _named_contract(given)
    rate = rate_hz or rules.rate_hz or robot.rate_hz
    reader = RldsReader(path, rate, form, split)
    if given is None:
        given = DatasetMapping() if form is Form.NONE else form_mapping(form, robot, reader.cameras)
    dataset = MappedDataset(reader, given, robot)
    result = import_lerobot(dataset, robot, output, append=append, report=report)
    result.remarks[:0] = _remarks(reader, dataset, rate_hz is None and rules.rate_hz is None)
    return result


def _named_contract(mapping: DatasetMapping | None) -> Contract:
    if mapping is None or not mapping.contract:
        raise DatasetError("RLDS data carries no contract: give one, or a mapping that names one")
    return read_contract(mapping.contract)


def _remarks(reader: RldsReader, dataset: MappedDataset, rate_guessed: bool) -> list[str]:
    """What is to be said of the data set as a whole."""
    remarks = []
    if rate_guessed:
        remarks.append(f"RLDS stores no rate: {reader.fps:g} Hz is taken, as the contract says")
    if dataset.fps != reader.fps:
        remarks.append(f"resampled from {reader.fps:g} to {dataset.fps:g} Hz")
    if reader.dropped:
        remarks.append(f"{reader.dropped} steps are left out by the form")
    if reader.empty:
        shown = ", ".join(map(str, reader.empty[:10])) + (", ..." if len(reader.empty) > 10 else "")
        remarks.append(f"{len(reader.empty)} episodes have no step left: {shown}")
    return remarks
