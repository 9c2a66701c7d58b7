"""Read and write robot contracts; every error names the key, the value and what is allowed."""

from __future__ import annotations

import dataclasses
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from vla_adapter_ros.contract.contract import Contract
from vla_adapter_ros.contract.migration import migrate
from vla_adapter_ros.contract.resources import robots_folder
from vla_adapter_ros.contract.rules import broken_rules
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.paths import expand, locate
from vla_adapter_ros.settings import describe_errors, join_errors
from vla_adapter_ros.untrusted import read_yaml, short

_CONTRACT = TypeAdapter(Contract)


def read_contract(name_or_path: str | Path) -> Contract:
    """Read a contract from a YAML file, or by the name of one that ships with the package.

    Args:
        name_or_path: Path of a .yaml file, or a name such as `franka_sim`.

    Raises:
        ContractError: no such file, bad YAML, or values that are not allowed: all of them, a line each.
    """
    path = contract_path(name_or_path)
    try:
        if not path.is_file():
            shipped = sorted(p.stem for p in robots_folder().glob("*.yaml"))
            raise ContractError(f"no contract at {path}; shipped contracts: {', '.join(shipped)}")
        data = read_yaml(path)
    except (OSError, ValueError) as error:
        raise ContractError(f"contract {short(str(path))} cannot be read: {error}") from None
    try:
        return parse_contract(data)
    except ContractError as error:
        raise ContractError(f"{path}: {error}") from None


def contract_path(name_or_path: str | Path) -> Path:
    """The file of a contract, by its path or by the name of one that ships with the package."""
    path = locate(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return path
    return robots_folder() / f"{expand(name_or_path)}.yaml"


def parse_contract(data: Any) -> Contract:
    """Build a contract from plain mappings and lists, and check that its parts fit together.

    Raises:
        ContractError: names the key, the value and what is allowed; with several errors, in a line each.
    """
    data = migrate(data)
    try:
        contract = _CONTRACT.validate_python(data)
    except ValidationError as error:
        raise ContractError(join_errors(describe_errors(error, Contract, "contract"))) from None
    broken = broken_rules(contract)
    if broken:
        raise ContractError(join_errors(broken))
    return contract


def write_contract(contract: Contract, path: str | Path) -> None:
    """Write a contract as YAML; `read_contract` gives an equal object back."""
    text = yaml.safe_dump(plain_contract(contract), sort_keys=False, allow_unicode=True, width=100)
    locate(path).write_text(text, encoding="utf-8")


def plain_contract(contract: Contract) -> dict[str, Any]:
    """A contract as mappings, lists, numbers and texts, ready for YAML."""
    plain: dict[str, Any] = _plain(contract)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
