"""What controller and policy put into a capsule."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from vla_adapter_ros.capsule.contents import Entry, core_entries, policy_entry
from vla_adapter_ros.capsule.policy_ring import Inference
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.capsule_messages import Sent, core_messages, inference_messages, status_messages
from vla_adapter_ros.nodes.capsule_saver import Content
from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.nodes.parameters import ControllerParameters, PolicyParameters

if TYPE_CHECKING:
    from vla_adapter_ros.nodes.control_thread import ControlThread

_CALL_BYTES, _IMAGE_SHARE = 300, 0.8  # in a file, about: of a call, and of the bytes of raw pixels as PNG


def controller_content(node: ManagedNode[ControllerParameters], thread: ControlThread) -> Content | None:
    """The controller's half: calls of the core after a snapshot, and the status; None before a tick."""
    with thread.lock:
        recorded, statuses = thread.core.recorded(), thread.statuses.contents()
        core = thread.core
        session, instruction, _ = core.newest_chunk
        facts = {
            "state": core.state,
            "reason": core.reason,
            "session": session,
            "instruction_id": str(instruction),
        }
    if recorded is None:
        return None
    snapshot, calls = recorded
    return Content(
        facts={
            **facts,
            "tracked": str(node.parameters.mode.sends_commands).lower(),
            **_said(node.parameters),
        },
        machine={},
        size=1_000_000 + _CALL_BYTES * len(calls),
        items=chain(
            core_messages(node.contract, snapshot, calls),
            status_messages(statuses),
            core_entries(snapshot, calls),
        ),
    )


def policy_content(
    node: ManagedNode[PolicyParameters],
    inferences: list[Inference],
    facts: Mapping[str, str],
    machine: Mapping[str, object],
) -> Content | None:
    """The policy's half: what its newest chunks were predicted from; None before the first.

    Args:
        node: The policy's.
        inferences: From its ring.
        facts: Checkpoint, instruction and session.
        machine: Device, type of the weights, threads and versions.
    """
    if not inferences:
        return None
    pixels = sum(image.nbytes for inference in inferences for image in inference.frame.images.values())
    as_received = sum(len(image.data) for inference in inferences for image in inference.received.values())
    return Content(
        facts={**facts, **_said(node.parameters)},
        machine=machine,
        size=1_000_000 + round(_IMAGE_SHARE * pixels) + as_received,
        items=_inference_items(node.contract, inferences),
    )


def _inference_items(contract: Contract, inferences: list[Inference]) -> Iterator[Sent | Entry]:
    for inference in inferences:
        messages, record = inference_messages(contract, inference)
        yield from messages
        yield policy_entry(record)


def _said(parameters: CommonParameters) -> dict[str, str]:
    """The parameters of a node as facts."""
    return {
        f"parameter.{field.name}": str(getattr(parameters, field.name))
        for field in dataclasses.fields(parameters)
    }
