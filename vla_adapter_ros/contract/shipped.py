"""The checkpoint that ships with the package, and the robots it was made for."""

from __future__ import annotations

from vla_adapter_ros.contract.compare import contract_differences
from vla_adapter_ros.contract.contract import Contract
from vla_adapter_ros.contract.read import read_contract
from vla_adapter_ros.contract.resources import checkpoints_folder

SHIPPED_CHECKPOINT = "franka_sim_tiny"


def shipped_checkpoint_fits(contract: Contract) -> bool:
    """Whether the shipped checkpoint was made for this robot."""
    shipped = read_contract(checkpoints_folder() / SHIPPED_CHECKPOINT / "contract.yaml")
    return not contract_differences(contract, shipped)
