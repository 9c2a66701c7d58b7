"""What each key of a contract means: the docstring behind it, read from the sources when somebody asks."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from vla_adapter_ros.contract.contract import Contract
from vla_adapter_ros.contract.find_out import FIND_OUT

UNIT = re.compile(r" ?\[([^\[\]]+)\]")
SCHEMA_FILE = "contract.schema.json"
"""Name, in the folder of configuration, of the JSON Schema that editors read."""


@functools.cache
def key_texts() -> dict[str, dict[str, str]]:
    """Part of a contract, such as Camera -> key -> what it means, on one line, its unit in brackets."""
    texts: dict[str, dict[str, str]] = {}
    for file in ("camera.py", "schema.py", "safety.py", "contract.py"):
        source = Path(__file__).with_name(file).read_text(encoding="utf-8")
        for kind in (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)):
            for key, text in zip(kind.body, kind.body[1:], strict=False):
                if isinstance(key, ast.AnnAssign) and isinstance(text, ast.Expr):
                    assert isinstance(key.target, ast.Name)
                    said = " ".join(ast.literal_eval(text.value).split())
                    texts.setdefault(kind.name, {})[key.target.id] = said
    return texts


def contract_schema() -> dict[str, Any]:
    """JSON Schema of a contract: types, ranges, choices, and for each key its meaning and where to look.

    Raises:
        KeyError: a key without a meaning, or without a way to find it out.
    """
    schema = TypeAdapter(Contract).json_schema()
    parts = {"Contract": schema} | schema["$defs"]
    for name, part in parts.items():
        for key, entry in part.get("properties", {}).items():
            entry.pop("title", None)
            entry["description"] = f"{key_texts()[name][key]} How to find it out: {FIND_OUT[name][key]}"
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Robot contract of vla_adapter_ros",
    }
    return head | {key: value for key, value in schema.items() if key not in head}
