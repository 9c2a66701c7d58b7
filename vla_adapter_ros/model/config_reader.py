"""Read a model's configuration from plain data, that of earlier versions included."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.config import FORMAT, VlaAdapterConfig
from vla_adapter_ros.settings import describe_errors, join_errors
from vla_adapter_ros.untrusted import short

OLD_KEYS = {"head": {"levels": "hidden_layers"}}
"""Names of earlier versions in stored configurations, by part: old to new."""
_CONFIG = TypeAdapter(VlaAdapterConfig)


def config_from_dict(data: Any) -> VlaAdapterConfig:
    """Build a configuration from plain data.

    Raises:
        ModelConfigError: unknown or missing keys, or values that are not allowed: all of them, a line each.
    """
    if not isinstance(data, dict):
        raise ModelConfigError(f"configuration = {short(data)}: allowed is a mapping")
    data = dict(data)
    version = data.pop("format", None)
    if version != FORMAT:
        raise ModelConfigError(f"configuration.format = {short(version)}: allowed is {FORMAT}")
    try:
        return _CONFIG.validate_python(_migrate(data))
    except ValidationError as error:
        refused = describe_errors(error, VlaAdapterConfig, "configuration")
        raise ModelConfigError(join_errors(refused)) from None


def _migrate(data: dict[str, Any]) -> dict[str, Any]:
    """The same in the keys of today."""
    output = data.get("output")
    if isinstance(output, dict) and "gripper_column" in output:  # from before there were several
        kept = {key: value for key, value in output.items() if key != "gripper_column"}
        data = data | {"output": kept | {"gripper_columns": [output["gripper_column"]]}}
    for part, names in OLD_KEYS.items():
        if isinstance(stored := data.get(part), dict):
            data = data | {part: {names.get(key, key): value for key, value in stored.items()}}
    return data
