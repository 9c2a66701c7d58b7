"""A data set or bag with one random thing wrong, from a seed, and what people do with it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from nested import altered, places

VALUES = (
    *(None, True, False, -1, 0, 1, 7, 2**31, 2**63, 10**30, 1.5, -0.0, float("nan"), float("inf")),
    *(
        "",
        "x",
        "ü\u200b",
        "../../x",
        "7",
        "nan",
        "{chunk_index:99999999}",
        "data/{episode_index}",
        "2026-01-01",
    ),
    *([], [[]], [1], [None], {}, {"a": 1}, {"a": {"b": [1]}}, ["a", None]),
)
NUMBERS = (-1, 0, 1, 5, 2**31 - 1, 2**62, -(2**62))
REALS = (float("nan"), float("inf"), -float("inf"), 1e308, -1e30, 1e-300, 0.0)


def spoil(root: Path, rng: random.Random) -> str:
    """Spoil one file of a data set; says what was done."""
    paths = sorted(p for p in root.rglob("*") if p.suffix in (".json", ".jsonl", ".parquet", ".yaml", ".mp4"))
    kinds = sorted({(p.parent.parent if p.suffix == ".parquet" else p.parent, p.suffix) for p in paths})
    folder, suffix = rng.choice(kinds)  # so that many videos do not hide the few tables
    path = rng.choice([p for p in paths if p.suffix == suffix and p.is_relative_to(folder)])
    how = rng.choice((spoil_bytes, *[SPOILERS.get(suffix, spoil_bytes)] * 7))
    return f"{path.relative_to(root)}: {how(path, rng)}"


def spoil_bytes(path: Path, rng: random.Random) -> str:
    """Cut, empty, remove, recode or overwrite a file."""
    data = path.read_bytes()
    kind = rng.choice(("cut", "empty", "gone", "utf-16", "latin-1", "noise", "folder", "pointer"))
    if kind == "gone":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "cut":
        path.write_bytes(data[: rng.randrange(len(data) + 1)])
    elif kind == "noise":
        at = rng.randrange(len(data) + 1)
        path.write_bytes(data[:at] + rng.randbytes(20) + data[at + 20 :])
    else:
        path.write_bytes({
            "empty": b"", "utf-16": data.decode("latin-1").encode("utf-16"), "latin-1": b"\xe9\xff" + data,
            "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        }[kind])  # fmt: skip
    return kind


def spoil_value(value: Any, rng: random.Random) -> tuple[Any, str]:
    """Nested data with one entry dropped, retyped, renamed or nested."""
    at = rng.choice(list(places(value)))
    kind = rng.choice(("drop", "value", "value", "rename", "nest", "unnest"))
    inner = value
    for key in at:
        inner = inner[key]
    if kind == "drop" and at:
        return altered(value, at, ...), f"{at} dropped"
    if kind == "rename" and isinstance(inner, dict) and inner:
        name = rng.choice(sorted(inner))
        new = {("x" + k if k == name else k): v for k, v in inner.items()}
        return altered(value, at, new), f"{at} {name} renamed"
    if kind == "nest":
        new = rng.choice(([inner], {"a": inner}, [[inner]]))
        return altered(value, at, new), f"{at} nested"
    if kind == "unnest" and isinstance(inner, list) and inner:
        return altered(value, at, inner[0]), f"{at} unnested"
    new = rng.choice(VALUES)
    return altered(value, at, new), f"{at} = {new!r}"


def spoil_json(path: Path, rng: random.Random) -> str:
    """One entry of a JSON file."""
    value, what = spoil_value(json.loads(path.read_text()), rng)
    path.write_text(json.dumps(value))
    return what


def spoil_lines(path: Path, rng: random.Random) -> str:
    """One entry of a file of JSON lines, or their order."""
    lines = path.read_text().splitlines()
    if rng.random() < 0.2:
        rng.shuffle(lines)
        path.write_text("\n".join(lines + lines[: rng.randrange(2)]))
        return "order"
    at = rng.randrange(len(lines))
    value, what = spoil_value(json.loads(lines[at]), rng)
    path.write_text("\n".join([*lines[:at], json.dumps(value), *lines[at + 1 :]]))
    return f"line {at}: {what}"


def spoil_yaml(path: Path, rng: random.Random) -> str:
    """One entry of a YAML file."""
    value, what = spoil_value(yaml.safe_load(path.read_text()), rng)
    path.write_text(yaml.safe_dump(value))
    return what


def spoil_table(path: Path, rng: random.Random) -> str:
    """One column of a parquet file, its rows, or its name."""
    table = pq.read_table(path)
    names = [name for name in table.column_names if not name.startswith("stats/")]
    name = rng.choice(names)
    at, count = table.column_names.index(name), table.num_rows
    kind = rng.choice(("drop", "rename", "null", "one null", "numbers", "reals", "texts", "nest", "struct",
                       "ragged", "rows", "double", "shuffle", "one", "none", "twice"))  # fmt: skip
    cells = table[name].to_pylist()
    some = rng.randrange(count) if count else 0
    if kind == "drop":
        table = table.remove_column(at)
    elif kind == "rename":
        table = table.rename_columns([f"x{n}" if n == name else n for n in table.column_names])
    elif kind == "rows":
        table = table.slice(0, rng.randrange(count + 1))
    elif kind == "double":
        table = pa.concat_tables([table, table])
    elif kind == "shuffle":
        table = table.take(pa.array(rng.sample(range(count), count)))
    elif kind == "twice":
        table = table.append_column(name, table[name])
    else:
        new: dict[str, Callable[[], Any]] = {
            "null": lambda: pa.nulls(count, table[name].type),
            "one null": lambda: pa.array([*cells[:some], None, *cells[some + 1 :]], table[name].type),
            "numbers": lambda: pa.array([rng.choice(NUMBERS) for _ in cells], pa.int64()),
            "reals": lambda: pa.array([rng.choice(REALS) for _ in cells], pa.float64()),
            "texts": lambda: pa.array([rng.choice(("", "x", "\u200b", "7")) for _ in cells]),
            "nest": lambda: pa.array([[cell] for cell in cells]),
            "struct": lambda: pa.array([{"a": cell} for cell in cells]),
            "ragged": lambda: pa.array([[1.0] * rng.randrange(4) for _ in cells], pa.list_(pa.float64())),
            "one": lambda: pa.array(
                [*cells[:some], spoil_number(cells[some], rng), *cells[some + 1 :]] if count else cells
            ),
            "none": lambda: pa.nulls(count),
        }
        try:
            table = table.set_column(at, name, new[kind]())
        except (pa.ArrowException, TypeError, OverflowError):
            return f"{name} {kind}: not possible"
    pq.write_table(table, path)
    return f"{name} {kind}"


def spoil_number(cell: Any, rng: random.Random) -> Any:
    """Another value in place of one cell, of the same type."""
    if isinstance(cell, list):
        return [spoil_number(cell[0], rng), *cell[1:]] if cell else cell
    if isinstance(cell, float):
        return rng.choice(REALS)
    return rng.choice(NUMBERS) if isinstance(cell, int) else "x"


SPOILERS = {".json": spoil_json, ".jsonl": spoil_lines, ".yaml": spoil_yaml, ".parquet": spoil_table}
