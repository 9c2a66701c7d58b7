"""Scale actions and proprioception with a data set's statistics, and back; the grippers' columns.

Rules for statistics, none of them silent: the six numbers must all be there, finite, of one length
and in order; a missing mask means that everything is scaled; an unknown key is an error, since a
misspelt `mask` would otherwise change the scaling. Entries of other data sets are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import StatisticsError
from vla_adapter_ros.model.config_enums import Scaling
from vla_adapter_ros.model.config_parts import OutputConfig
from vla_adapter_ros.untrusted import read_json

_NUMBERS = ("mean", "std", "min", "max", "q01", "q99")
_EPSILON = 1e-8
_COUNTS = ("num_transitions", "num_trajectories")


@dataclass(frozen=True)
class FieldStatistics:
    """Statistics of one vector, each float64 (D,). `mask` is False where a dimension is left as it is."""

    mean: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray
    q01: np.ndarray
    q99: np.ndarray
    mask: np.ndarray

    @property
    def width(self) -> int:
        """Number of dimensions D."""
        return len(self.mean)

    def to_dict(self, *, with_full_mask: bool = True) -> dict[str, Any]:
        """Plain lists, as in `dataset_statistics.json`; a mask that is all True may be left out."""
        names = _NUMBERS if not with_full_mask and self.mask.all() else (*_NUMBERS, "mask")
        return {name: getattr(self, name).tolist() for name in names}

    def constant(self, kind: Scaling) -> np.ndarray:
        """Scaled dimensions without any range under `kind`, bool (D,)."""
        kind = Scaling(kind)
        low, high = (getattr(self, name) for name in kind.statistics)
        return self.mask & ((low == high) if kind.is_range else (high == 0))


@dataclass(frozen=True)
class Statistics:
    """Statistics of a data set, as `dataset_statistics.json` stores them under the data set's name."""

    name: str
    action: FieldStatistics
    proprio: FieldStatistics
    num_transitions: int = 0
    num_trajectories: int = 0

    @classmethod
    def from_dict(cls, name: str, entry: Any) -> Statistics:
        """Check and convert one entry of `dataset_statistics.json`.

        Raises:
            StatisticsError: something is missing, unknown, not finite, or of unequal width.
        """
        if not isinstance(entry, dict) or "action" not in entry or "proprio" not in entry:
            raise StatisticsError(f"statistics '{name}': the keys 'action' and 'proprio' are needed")
        _refuse_unknown(f"statistics '{name}'", entry, ("action", "proprio", *_COUNTS))
        action, proprio = (_field(f"{name}.{key}", entry[key]) for key in ("action", "proprio"))
        counts = {key: entry.get(key, 0) for key in _COUNTS}
        for key, count in counts.items():
            if type(count) is not int or count < 0:
                raise StatisticsError(f"{name}.{key} = {count!r}: a whole number from 0 on is needed")
        return cls(name, action, proprio, **counts)

    def to_dict(self) -> dict[str, Any]:
        """The entry for `dataset_statistics.json`."""
        return {
            "action": self.action.to_dict(),
            "proprio": self.proprio.to_dict(with_full_mask=False),  # published files have none here
            "num_transitions": self.num_transitions,
            "num_trajectories": self.num_trajectories,
        }


def _refuse_unknown(where: str, entry: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise StatisticsError(f"{where}: unknown keys {unknown}; allowed are {list(known)}")


def _field(where: str, entry: Any) -> FieldStatistics:
    if not isinstance(entry, dict):
        raise StatisticsError(f"{where} = {entry!r}: a mapping is needed")
    missing = [name for name in _NUMBERS if name not in entry]
    if missing:
        raise StatisticsError(f"{where} lacks {missing}")
    _refuse_unknown(where, entry, (*_NUMBERS, "mask"))
    try:
        arrays = {name: np.array(entry[name], dtype=np.float64) for name in _NUMBERS}
    except (TypeError, ValueError, OverflowError) as error:
        raise StatisticsError(f"{where}: lists of numbers are needed: {error}") from None
    mask = entry.get("mask", [True] * arrays["mean"].size)
    if not isinstance(mask, list) or not all(isinstance(value, bool) for value in mask):
        raise StatisticsError(f"{where}.mask = {mask!r}: a list of true and false is needed")
    arrays["mask"] = np.array(mask, dtype=bool)
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1 or arrays["mean"].ndim != 1 or not arrays["mean"].size:
        raise StatisticsError(f"{where}: lists of one length are needed, not {shapes}")
    for name in _NUMBERS:
        if not np.isfinite(arrays[name]).all():
            raise StatisticsError(
                f"{where}.{name} = {arrays[name].tolist()}: only finite numbers are allowed"
            )
    if (arrays["min"] > arrays["max"]).any() or (arrays["q01"] > arrays["q99"]).any():
        raise StatisticsError(f"{where}: a lower bound lies above its upper bound")
    if (arrays["std"] < 0).any():
        raise StatisticsError(f"{where}.std = {arrays['std'].tolist()}: only 0 and above are allowed")
    return FieldStatistics(**arrays)


def read_statistics(path: str | Path, name: str | None = None) -> Statistics:
    """Read one data set's entry of `dataset_statistics.json`. Other entries are not looked at.

    Args:
        path: The file.
        name: Name of the entry; may be left out when there is only one.

    Raises:
        StatisticsError: no such file or entry, or bad content.
    """
    data = _read_file(Path(path))
    if name is None and len(data) == 1:
        name = next(iter(data))
    if name not in data:
        raise StatisticsError(f"{path}: statistics {name!r} not found; there are {sorted(data)}")
    return Statistics.from_dict(name, data[name])


def read_entries(path: str | Path) -> dict[str, Statistics]:
    """Read every entry of `dataset_statistics.json`, by name.

    Raises:
        StatisticsError: no such file, or bad content.
    """
    return {name: Statistics.from_dict(name, entry) for name, entry in _read_file(Path(path)).items()}


def _read_file(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path)
    except FileNotFoundError:
        raise StatisticsError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise StatisticsError(f"{path} is not readable: {error}") from None
    if not isinstance(data, dict) or not data:
        raise StatisticsError(f"{path}: a mapping from data set name to statistics is needed")
    return data


def _prepare(values: np.ndarray, field: FieldStatistics, kind: Scaling) -> tuple[np.ndarray, ...]:
    values = np.asarray(values, dtype=np.float64)
    if values.shape[-1:] != (field.width,):
        raise StatisticsError(f"values of shape {values.shape}: the last axis must be {field.width}")
    low, high = (getattr(field, name) for name in kind.statistics)
    return values, low, high


def normalize(
    values: np.ndarray,
    field: FieldStatistics,
    kind: Scaling,
    *,
    clip: float | None = None,
    clip_unmasked: bool = False,
    zero_range_to_zero: bool = True,
) -> np.ndarray:
    """Scale to about [-1, 1] (ranges), or to mean 0 and standard deviation 1 (`mean_std`).

    Args:
        values: (..., D).
        field: Statistics of width D.
        kind: Which statistics to scale with.
        clip: Largest magnitude of a scaled dimension; None for no clipping.
        clip_unmasked: Clip the dimensions that are not scaled, too (official for proprioception).
        zero_range_to_zero: A scaled dimension that is constant in the statistics becomes 0.

    Returns:
        float64 (..., D).

    Raises:
        StatisticsError: another width.

    Source:
        2 (x - low) / (high - low + 1e-8) - 1, as in the published code.
    """
    kind = Scaling(kind)
    values, low, high = _prepare(values, field, kind)
    if kind.is_range:
        scaled, constant = 2 * (values - low) / (high - low + _EPSILON) - 1, field.min == field.max
    else:
        scaled, constant = (values - low) / (high + _EPSILON), high == 0
    if zero_range_to_zero:
        # Without this a constant dimension that moves a little at run time would jump to +-1 or beyond.
        scaled = np.where(constant | (low == high if kind.is_range else constant), 0.0, scaled)
    if clip is None:
        return np.where(field.mask, scaled, values)
    unscaled = np.clip(values, -clip, clip) if clip_unmasked else values
    return np.where(field.mask, np.clip(scaled, -clip, clip), unscaled)


def unnormalize(values: np.ndarray, field: FieldStatistics, kind: Scaling) -> np.ndarray:
    """Inverse of `normalize` without its clipping; (..., D) to float64 (..., D).

    Raises:
        StatisticsError: another width.
    """
    kind = Scaling(kind)
    values, low, high = _prepare(values, field, kind)
    if kind.is_range:
        return np.where(field.mask, 0.5 * (values + 1) * (high - low + _EPSILON) + low, values)
    return np.where(field.mask, values * (high + _EPSILON) + low, values)


def finish_gripper(actions: np.ndarray, output: OutputConfig) -> np.ndarray:
    """What the published evaluations do to a gripper's column after un-normalization.

    Args:
        actions: (..., A) with the grippers in [0, 1].
        output: Which steps are on.

    Returns:
        float64 (..., A); `actions` themselves when every step is off.

    Source:
        LIBERO's evaluation: the sign of 2 g - 1, then its negative.
    """
    if not (output.gripper_binarize or output.gripper_invert):
        return actions
    actions = np.array(actions, dtype=np.float64)
    columns = list(output.gripper_columns)
    gripper = actions[..., columns]
    if output.gripper_binarize:
        gripper = np.sign(2 * gripper - 1)
        gripper = -gripper if output.gripper_invert else gripper
    else:
        gripper = 1 - gripper
    actions[..., columns] = gripper + 0.0  # no negative zero
    return actions
