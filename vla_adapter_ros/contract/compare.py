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
        "state": tuple((d.name, d.field, d.unit) for d in contract.state),
        "action.space": contract.action.space,
        "action.dimensions": tuple((d.name, d.unit, d.scale) for d in contract.action.dimensions),
        "action.dimensions drive": contract.driven_state,
        "action.delta": _delta(contract),
        "grippers": tuple((g.dimension, g.mode, g.open, g.closed) for g in contract.grippers),
        "command.lead_s": contract.command.lead_s,
    }


def _delta(contract: Contract) -> tuple[str, ...]:
    """What the deltas of the action refer to; nothing in absolute spaces."""
    action = contract.action
    if not action.space.endswith("_delta"):
        return ()
    return (action.delta_reference, action.frame) if action.space == "ee_delta" else (action.delta_reference,)


def contract_differences(ours: Contract, theirs: Contract) -> list[str]:
    """List in words what differs in meaning between two contracts; empty if they agree."""
    mine, other = _meaning(ours), _meaning(theirs)
    return [f"{key}: {mine[key]!r} here, {other[key]!r} there" for key in mine if mine[key] != other[key]]


def require_same(ours: Contract, theirs: Contract, what: str) -> None:
    """Refuse `theirs` unless it means the same as `ours`.

    Args:
        ours: The contract of the robot at hand.
        theirs: The contract stored with `what`.
        what: What the second contract belongs to, for the message.

    Raises:
        ContractMismatch: one line per difference.
    """
    differences = contract_differences(ours, theirs)
    if differences:
        lines = "\n  ".join(differences)
        raise ContractMismatch(
            f"{what} was made for contract '{theirs.name}', which differs from '{ours.name}':\n  {lines}"
        )
