"""Compare contracts: a policy or a data set made for one robot refuses another."""

from __future__ import annotations

from vla_adapter_ros.contract.contract import Contract
from vla_adapter_ros.errors import ContractMismatch


def _meaning(contract: Contract) -> dict[str, object]:
    """The parts that give numbers their meaning; topics, ages and limits may differ."""
    return {
        "rate_hz": contract.rate_hz,
        "reference_camera": contract.reference_camera,
        "cameras": {n: (c.width, c.height, c.rotation, c.fit) for n, c in contract.cameras.items()},
        "camera order": contract.camera_names,
        "state": tuple((d.name, d.field, d.unit.si) for d in contract.state),
        "action.space": contract.action.space,
        "action.dimensions": tuple((d.name, d.unit.si, d.scale) for d in contract.action.dimensions),
        "action.dimensions drive": contract.driven_state,
        "action.delta": _delta(contract),
        "grippers": tuple((g.dimension, g.mode, g.open, g.closed) for g in contract.grippers),
        "command.command_delay_s": contract.command.command_delay_s,
    }


def _delta(contract: Contract) -> tuple[str, ...]:
    """What the deltas of the action refer to; nothing in absolute spaces."""
    action = contract.action
    if not action.space.is_delta:
        return ()
    return (action.delta_reference, action.frame) if action.space.is_cartesian else (action.delta_reference,)


def contract_differences(source: Contract, target: Contract) -> list[str]:
    """List in words what differs in meaning between two contracts; empty if they agree."""
    here, there = _meaning(source), _meaning(target)
    return [f"{key}: {here[key]!r} here, {there[key]!r} there" for key in here if here[key] != there[key]]


def require_same(source: Contract, target: Contract, what: str, *, recorded: bool = False) -> None:
    """Refuse `target` unless it means the same as `source`.

    Args:
        source: The contract of the robot at hand.
        target: The contract stored with `what`.
        what: What the second contract belongs to, for the message.
        recorded: Whether rows of both come into one data set: then the source of their actions counts, too.

    Raises:
        ContractMismatch: one line per difference.
    """
    differences = contract_differences(source, target)
    origins = source.action.source, target.action.source
    if recorded and origins[0] is not origins[1]:
        differences.append(
            f"action.source: {origins[0]!r} here, {origins[1]!r} there: keep both in data sets of their "
            "own; one training can learn from both"
        )
    if differences:
        lines = "\n  ".join(differences)
        raise ContractMismatch(
            f"{what} was made for contract '{target.name}', which differs from '{source.name}':\n  {lines}"
        )
