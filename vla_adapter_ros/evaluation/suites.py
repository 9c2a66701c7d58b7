"""All suites by name."""

from __future__ import annotations

from collections.abc import Callable

from vla_adapter_ros.choices import SuiteName
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.libero_suite import LiberoSuite
from vla_adapter_ros.evaluation.metaworld import MetaWorldSuite
from vla_adapter_ros.evaluation.perturbed import PerturbedSuite
from vla_adapter_ros.evaluation.pick import PickSuite
from vla_adapter_ros.evaluation.suite import Suite, TableSuite
from vla_adapter_ros.evaluation.tabletop import HeldOutSuite, TabletopSuite
from vla_adapter_ros.simulation.robot_models import FR3, RobotModel, robot_model

TABLE_SUITES: dict[SuiteName, Callable[[RobotModel], TableSuite]] = {
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
        contract: The simulated robot's; None: the Franka's, or the world's own.

    Raises:
        ParameterError: there is no such suite.
        SimulationError: no robot with the contract's joints can be simulated.
    """
    chosen = SuiteName.check("suite", name, ParameterError)
    if chosen.is_libero:
        return LiberoSuite(chosen)
    if chosen is SuiteName.METAWORLD:
        return MetaWorldSuite()
    return table_suite(name, contract)


def table_suite(name: str, contract: Contract | None = None) -> TableSuite:
    """As `make_suite`, but only one that our own simulator plays.

    Raises:
        ParameterError, SimulationError: as there, or the suite is that of another world.
    """
    chosen = SuiteName.check("suite", name, ParameterError)
    if not chosen.is_at_table:
        raise ParameterError(f"suite = {name}: allowed here is one of {SuiteName.at_table()}")
    robot = FR3 if contract is None else robot_model(contract.arm_joints, contract.name)
    return TABLE_SUITES[chosen](robot)
