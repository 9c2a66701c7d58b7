"""All suites by name."""

from __future__ import annotations

from collections.abc import Callable

from vla_adapter_ros.choices import SuiteName
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.perturbed import PerturbedSuite
from vla_adapter_ros.evaluation.pick import PickSuite
from vla_adapter_ros.evaluation.suite import Suite
from vla_adapter_ros.evaluation.tabletop import HeldOutSuite, TabletopSuite
from vla_adapter_ros.simulation.robot_models import FR3, RobotModel, robot_model

SUITES: dict[SuiteName, Callable[[RobotModel], Suite]] = {
    SuiteName.PICK: PickSuite,
    SuiteName.PICK_PERTURBED: lambda robot: PerturbedSuite(PickSuite(robot)),
    SuiteName.TABLETOP: TabletopSuite,
    SuiteName.TABLETOP_HELDOUT: HeldOutSuite,
    SuiteName.TABLETOP_PERTURBED: lambda robot: PerturbedSuite(TabletopSuite(robot)),
}


def make_suite(name: str, contract: Contract | None = None) -> Suite:
    """The suite of a name, for a robot.

    Args:
        name: A word of `SuiteName`.
        contract: The simulated robot's; None: the Franka's.

    Raises:
        ParameterError: there is no such suite.
        SimulationError: no robot with the contract's joints can be simulated.
    """
    chosen = SuiteName.check("suite", name, ParameterError)
    return SUITES[chosen](FR3 if contract is None else robot_model(contract.arm_joints, contract.name))
