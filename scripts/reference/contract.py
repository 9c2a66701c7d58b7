"""The keys of a contract as Markdown, from its JSON Schema: type, range, default, meaning, where to look."""

from __future__ import annotations

import json
import re
from typing import Any

from vla_adapter_ros.contract.find_out import FIND_OUT
from vla_adapter_ros.contract.key_texts import UNIT, contract_schema, key_texts

TITLES = {  # the order of the page, and where each part stands in a contract
    "Contract": "The whole",
    "Camera": "`cameras.NAME`, `depth_cameras.NAME`",
    "CameraPose": "`cameras.NAME.pose`",
    "Topic": "`topics.NAME`",
    "StateDimension": "`state[i]`",
    "Action": "`action`",
    "ActionDimension": "`action.dimensions[i]`",
    "Gripper": "`grippers[i]`",
    "Teleop": "`teleop`",
    "TeleopGroup": "`teleop.groups[i]`",
    "Command": "`command`",
    "CommandGroup": "`command.groups[i]`",
    "JointLimits": "`limits.JOINT`",
    "Kinematics": "`kinematics`",
    "Workspace": "`workspace`",
    "Safety": "`safety`",
    "SceneLimits": "`safety.scene`",
}
WORDS = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}


def contract_keys() -> str:
    """One table per part of a contract.

    Raises:
        KeyError: a part of the contract that `TITLES` does not know, or a key without a docstring.
    """
    schema = contract_schema()
    parts = {"Contract": schema} | {k: v for k, v in schema["$defs"].items() if v.get("type") == "object"}
    if strangers := parts.keys() ^ TITLES.keys():
        raise KeyError(f"parts without a title, or titles without a part: {sorted(strangers)}")
    return "\n".join(_table(name, parts[name], schema["$defs"]) for name in TITLES)


def contract_schema_text() -> str:
    """The JSON Schema of contracts, as the file that editors read."""
    return json.dumps(contract_schema(), indent=1, ensure_ascii=False) + "\n"


def _table(name: str, part: dict[str, Any], parts: dict[str, Any]) -> str:
    texts = key_texts()[name]
    lines = [f"## {TITLES[name]}\n", _sentences(part.get("description", "")), ""]
    lines += [
        "| key | type | unit | range | default | meaning | how to find it out |",
        "|---|---|---|---|---|---|---|",
    ]
    required = part.get("required", [])
    for key, entry in part["properties"].items():
        meaning = texts[key]
        unit = UNIT.search(meaning)
        kind, limits = _kind(entry, parts), _limits(entry, parts)
        default = "" if key in required else _default(entry)
        said, look = _sentences(UNIT.sub("", meaning, count=1)), _sentences(FIND_OUT[name][key])
        lines.append(
            f"| `{key}` | {kind} | {unit[1] if unit else ''} | {limits} | {default} | {said} | {look} |"
        )
    return "\n".join(lines) + "\n"


def _inner(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry itself, or what it is where it may also be left out."""
    if "anyOf" in entry:
        return next(kind for kind in entry["anyOf"] if kind.get("type") != "null")
    return entry


def _kind(entry: dict[str, Any], parts: dict[str, Any]) -> str:
    entry = _inner(entry)
    if "$ref" in entry:
        name = entry["$ref"].rsplit("/", 1)[1]
        return "one of" if "enum" in parts[name] else _link(name)
    if "enum" in entry or "const" in entry:
        return "one of"
    if entry["type"] == "array":
        return f"list: {_kind(entry['items'], parts)}"
    if entry["type"] == "object":
        return f"mapping: {_kind(entry['additionalProperties'], parts)}"
    return WORDS[entry["type"]]


def _link(name: str) -> str:
    title = TITLES[name]
    anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    return f"[{title.split(',')[0]}](#{anchor})"


def _limits(entry: dict[str, Any], parts: dict[str, Any]) -> str:
    entry = _inner(entry)
    if "$ref" in entry:
        entry = parts[entry["$ref"].rsplit("/", 1)[1]]
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"] if value != "")
    words = (
        ("above", "exclusiveMinimum"), ("at least", "minimum"), ("below", "exclusiveMaximum"),
        ("at most", "maximum"), ("at least", "minItems"), ("at least", "minProperties"),
    )  # fmt: skip
    said = [f"{word} {entry[key]:g}" for word, key in words if key in entry]
    if "minItems" in entry or "minProperties" in entry:
        said = [f"{said[0]} entry"]
    return " and ".join(said)


def _default(entry: dict[str, Any]) -> str:
    if "default" not in entry:
        return "those below" if "$ref" in entry else "none"
    value = entry["default"]
    return "none" if value in (None, "", [], {}) else f"`{value}`"


def _sentences(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
