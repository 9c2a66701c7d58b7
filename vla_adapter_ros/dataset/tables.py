"""Reads the tables and JSON files of a data set; whatever is wrong with them becomes one error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.dataset.info_json import is_numeric
from vla_adapter_ros.dataset.layout import ACTION, CONTROL_SOURCE, INDEX_FEATURES, STAMP, STATE
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import parse_json, pointer_note, short
from vla_adapter_ros.untrusted import read_json as read_any_json

_FULL = (STATE, ACTION, STAMP, CONTROL_SOURCE, "timestamp", *INDEX_FEATURES)
_REAL = ("timestamp", STAMP)
_MOST_ROWS = 50_000_000  # of a file; a small one can claim any number


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        DatasetError: it is not there, damaged, or holds something else.
    """
    try:
        return _mapping(read_any_json(path), path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; expected is a LeRobot data set") from None
    except (OSError, ValueError) as error:
        raise DatasetError(not_readable(path, error)) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file with a JSON mapping in each line. Errors as in `read_json`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [_mapping(parse_json(line), path) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise DatasetError(not_readable(path, error)) from error


def not_readable(path: Path, error: BaseException) -> str:
    """Why a file cannot be read, in words; with a library's `error` if nothing better is known."""
    if note := pointer_note(path):
        return note
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file"
    if path.is_file() and path.stat().st_size == 0:
        return f"{path} is empty (0 bytes): get it again from where it came"
    if path.suffix == ".parquet" and _lacks_end(path):
        return (
            f"{path}: its end is missing, without which parquet cannot be read: the program that wrote it "
            "did not close it"
        )
    return f"{path}: not readable: {' '.join(str(error).split())}"


def _lacks_end(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            begins = file.read(4) == b"PAR1"
            file.seek(max(4, path.stat().st_size - 4))
            return begins and file.read() != b"PAR1"
    except OSError:
        return False


def _mapping(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: {short(value)}: allowed is a mapping")
    return value


def read_table(path: Path, needed: Callable[[str], bool] | None = None) -> pa.Table:
    """Read a parquet file, or those of its columns that `needed` says yes to.

    Raises:
        DatasetError: it is not there, or damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            names, count = file.schema_arrow.names, file.metadata.num_rows
            if count > _MOST_ROWS or len(set(names)) != len(names):
                raise DatasetError(f"{path}: {count} rows, columns {short(names)}: allowed are {_MOST_ROWS} "
                                   "rows, and each name once")  # fmt: skip
            return file.read(columns=[name for name in names if needed is None or needed(name)])
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DatasetError(not_readable(path, error)) from error


def whole_numbers(table: pa.Table, name: str, path: Path) -> np.ndarray:
    """A column of whole numbers, (T,).

    Raises:
        DatasetError: it is not there, or holds something else.
    """
    found = table[name] if name in table.column_names else None
    if found is not None and pa.types.is_floating(found.type) and _is_whole(found.to_numpy()):
        found = found.cast(pa.int64())
    if found is None or not pa.types.is_integer(found.type) or found.null_count:
        kind = "missing" if found is None else f"{found.type}, {found.null_count} empty"
        raise DatasetError(f"{path}: column {name} is {kind}: allowed are whole numbers")
    return found.to_numpy()


def plain_columns(table: pa.Table, features: dict[str, dict[str, Any]], path: Path) -> dict[str, np.ndarray]:
    """Columns of numbers or texts as arrays: (T, D), or (T,) for width 1.

    Raises:
        DatasetError: a column is ragged, has an empty cell, has another width than info.json says, or is
            not there. `task_index` may be absent: sometimes the episode tells.
    """
    columns = {}
    for name in table.column_names:
        if not _is_plain(table[name].type):
            continue
        _require_full(table[name], name, path)
        try:
            columns[name] = _column(table[name])
        except (ValueError, pa.ArrowException) as error:
            raise DatasetError(f"{path}: column {name} has rows of different lengths: {error}") from error
    for name, feature in features.items():
        if not is_numeric(feature) or (name == "task_index" and name not in table.column_names):
            continue
        if name not in table.column_names:
            raise DatasetError(
                f"{path}: no column {name}, which info.json declares; it has {table.column_names}"
            )
        column, width = columns.get(name), math.prod(feature["shape"])
        if column is not None and (column.dtype.kind not in "iufb" or column.size != len(column) * width):
            raise DatasetError(
                f"{path}: column {name} is {column.dtype} {column.shape}: info.json says {width}"
            )
    return columns


def _require_full(column: pa.ChunkedArray, name: str, path: Path) -> None:
    """Refuse cells without a value, but for single numbers that nothing here uses, where they become NaN."""
    nested = is_list(column.type) and any(chunk.flatten().null_count for chunk in column.chunks)
    if not (nested or (column.null_count and (is_list(column.type) or name in _FULL))):
        return
    rows = np.flatnonzero(column.is_null().to_numpy())
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    where = f"row {rows[0]}{more}" if len(rows) else "a row"
    raise DatasetError(f"{path}: column {name} holds null in {where}: allowed are numbers in every row")


def require_columns(
    columns: dict[str, np.ndarray], names: Sequence[str], path: Path
) -> dict[str, np.ndarray]:
    """Give columns back if those that every reader uses are among them, one number per row.

    Raises:
        DatasetError: one is missing, or holds something else.
    """
    for name in (*names, *(name for name in (STAMP, CONTROL_SOURCE) if name in columns)):
        column = columns.get(name)
        if column is not None and name not in _REAL and _is_whole(column):
            columns[name] = column = column.astype(np.int64)  # some tools store every number as double
        kinds, what = ("iuf", "number") if name in _REAL else ("iu", "whole number")
        if column is None or column.dtype.kind not in kinds or column.size != len(column):
            kind = "missing" if column is None else f"{column.dtype} {column.shape}"
            raise DatasetError(f"{path}: column {name} is {kind}: allowed is one {what} in each row")
    return columns


def _is_whole(values: np.ndarray) -> bool:
    """Whether floats are whole numbers that a double can tell apart."""
    if values.dtype.kind != "f":
        return False
    with np.errstate(invalid="ignore"):
        return bool((np.abs(values) < 2**53).all() and (values == np.floor(values)).all())


def is_list(kind: pa.DataType) -> bool:
    """Whether the cells of a column are lists."""
    return pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_plain(kind: pa.DataType) -> bool:
    """Whether a column holds numbers or texts, or lists of one length of them (no language events, say)."""
    if is_list(kind):
        return pa.types.is_primitive(kind.value_type)
    return pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _column(column: pa.ChunkedArray) -> np.ndarray:
    """Column as an array: (T,), or (T, D) for lists of one length."""
    if is_list(column.type):
        flat = pa.concat_arrays([chunk.flatten() for chunk in column.chunks]).to_numpy(zero_copy_only=False)
        rows = flat.reshape(len(column), -1)
        return rows[:, 0] if rows.shape[1] == 1 else rows
    return column.to_numpy()
