"""What a robot gives and takes. Imports nothing else of this package but its errors."""

from vla_adapter_ros.contract.compare import contract_differences, require_same
from vla_adapter_ros.contract.contract import Contract
from vla_adapter_ros.contract.names import full_name, in_namespace, relative_name
from vla_adapter_ros.contract.read import parse_contract, read_contract, write_contract
from vla_adapter_ros.contract.resources import checkpoints_folder, config_folder, robots_folder

__all__ = [
    "Contract",
    "checkpoints_folder",
    "config_folder",
    "contract_differences",
    "full_name",
    "in_namespace",
    "parse_contract",
    "read_contract",
    "relative_name",
    "require_same",
    "robots_folder",
    "write_contract",
]
