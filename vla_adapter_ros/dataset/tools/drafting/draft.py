"""Drafts a contract from a data set by others, so that nobody begins with an empty page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from vla_adapter_ros.contract import parse_contract
from vla_adapter_ros.dataset.info_json import image_size
from vla_adapter_ros.dataset.layout import image_key
from vla_adapter_ros.dataset.mapped import MappedDataset
from vla_adapter_ros.dataset.mapping import parse_mapping
from vla_adapter_ros.dataset.opening import Dataset, stored_reader
from vla_adapter_ros.dataset.resampling import SAME_RATE
from vla_adapter_ros.dataset.tools.drafting.columns import camera_names, find_columns
from vla_adapter_ros.dataset.tools.drafting.plan import Plan, make_plan
from vla_adapter_ros.dataset.tools.drafting.text import (
    PLACEHOLDER,
    CameraEntry,
    Facts,
    contract_text,
    mapping_text,
)
from vla_adapter_ros.dataset.tools.drafting.units import Unit
from vla_adapter_ros.errors import ContractError, DatasetError, MappingError

_NAMED = 3  # names in a line
_HEAD = """\
DRAFT of a contract, made from the data set {root}
({episodes} episodes, {frames} frames, format {version}).

{mark}: not in the data, such as topics. Replace it before a robot is driven.
CHECK: guessed from names and values. Limits are the data's extremes with a margin, not those of the arm.
Units: rad, m, s."""


@dataclass(frozen=True)
class Draft:
    """Two files.

    Attributes:
        contract: YAML with comments; `read_contract` takes it.
        mapping: YAML with comments; empty if the data set opens with the contract alone.
    """

    contract: str
    mapping: str


def draft_contract(
    dataset: Dataset,
    name: str,
    space: str = "",
    *,
    grippers: Sequence[str] = (),
    state: Sequence[str] = (),
    action: Sequence[str] = (),
    contract_file: str = "",
) -> Draft:
    """Draft a contract, and a mapping if names, units, sizes or rates of the data need one.

    Values keep the order of the data set.

    Args:
        dataset: Opened without a mapping.
        name: Of the contract.
        space: Action space; empty: told by the data and by names.
        grippers: Names of the action values that move grippers; empty: told by names and values.
        state, action: Columns; empty: told by their names.
        contract_file: How the mapping names the contract's file; empty: NAME.yaml.

    Raises:
        DatasetError: no state, action or camera, or a shape that no contract can have.
    """
    if not dataset.num_frames:
        raise DatasetError(f"{dataset.root} has no episode: a draft needs at least one")
    absent: dict[str, str] = {} if dataset.cameras else dict(dataset.absent)
    cameras = (*dataset.cameras, *absent)  # sizes are declared, so a draft can do without files
    if not cameras:
        raise DatasetError(f"{dataset.root} has no camera: allowed is a data set with at least one")
    columns = find_columns(dataset, state, action)
    try:
        plan = make_plan(columns, dataset.fps, space, grippers)
    except DatasetError as error:
        raise DatasetError(f"{dataset.root}: {error}") from None
    usual = [camera for camera in cameras if image_key(camera) in dataset.features]
    camera_of = camera_names(cameras, usual)
    entries = {key: _camera(dataset, camera) for key, camera in camera_of.items()}
    plan.remarks += [f"CHECK: camera {name}: {why}" for name, why in absent.items()]
    rate = whole_rate(dataset.fps)
    facts = Facts(
        name,
        str(dataset.info.get("robot_type") or PLACEHOLDER),
        rate,
        entries,
        _head(dataset, plan, rate),
    )
    text = contract_text(plan, facts)
    try:
        contract = parse_contract(yaml.safe_load(text))
    except ContractError as error:
        raise DatasetError(
            f"{dataset.root}: no contract can be drafted in space {plan.space}: {error}"
        ) from error
    converts = any(value.unit.converts for value in (*plan.state, *plan.action))
    renamed = any(key != camera for key, camera in camera_of.items())
    resample = rate != dataset.fps
    if columns.as_usual and not (converts or renamed or plan.left_out or resample):
        return Draft(text, "")
    mapping = mapping_text(
        plan, camera_of if renamed else {}, contract_file or f"{name}.yaml", dataset.root.name, resample
    )
    try:  # a draft is never refused by its own data
        if not absent:
            MappedDataset(stored_reader(dataset), parse_mapping(yaml.safe_load(mapping)), contract)
    except MappingError as error:
        raise DatasetError(f"{dataset.root}: no mapping can be drafted: {error}") from error
    return Draft(text, mapping)


def _camera(dataset: Dataset, camera: str) -> CameraEntry:
    height, width = image_size(dataset.features[dataset.camera_feature(camera)])
    odd = width % 2 or height % 2
    return CameraEntry(
        f"{PLACEHOLDER}/{Path(camera).name}/image_raw",
        width - width % 2,
        height - height % 2,
        "crop" if odd else "",
        f"the data's {width}x{height}",
    )


def whole_rate(fps: float) -> float:
    """Rate of the contract [Hz]: whole, since LeRobot's own tools write whole rates only."""
    nearest = round(fps)
    if nearest and abs(nearest / fps - 1) <= SAME_RATE:
        return float(nearest)
    return float(int(fps)) if fps >= 1 else fps


def _head(dataset: Dataset, plan: Plan, rate: float) -> list[str]:
    facts = {"root": dataset.root.name, "episodes": dataset.num_episodes, "frames": dataset.num_frames}
    head = _HEAD.format(mark=PLACEHOLDER, version=dataset.info.get("codebase_version"), **facts).splitlines()
    head += plan.remarks
    units: dict[tuple[str, Unit, bool], list[str]] = {}
    for part, values in (("state", plan.state), ("action", plan.action)):
        for value in values:
            if value.unit.converts or value.unit.doubtful:
                units.setdefault((part, value.unit, value.gripper), []).append(value.source.name)
    for (part, unit, _), names in units.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        text = f"{part} {', '.join(names[:_NAMED])}{more}: {unit.why or unit.source}"
        text += f"; the mapping converts them to {unit.contract}" if unit.converts else ""
        head.append(text + (f". CHECK: or {unit.doubtful}" if unit.doubtful else ""))
    if rate != dataset.fps:
        head.append(f"rate: the data has {dataset.fps:g} Hz; the mapping shows it at {rate:g} Hz")
    return head
