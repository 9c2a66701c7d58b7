"""Puts another checkpoint on a running robot, and the old one back if that fails. Nothing moves by it."""

from __future__ import annotations

from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python

from vla_adapter_ros.errors import ServiceError
from vla_adapter_ros.nodes.ros_client import RosClient

ANSWER_S = 5.0
CONFIGURED_WITHIN_S = 300.0  # a large checkpoint is read, and tried once
_STEPS = {
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "clean-up": Transition.TRANSITION_CLEANUP,
    "configuration": Transition.TRANSITION_CONFIGURE,
    "activation": Transition.TRANSITION_ACTIVATE,
}


class CheckpointChange:
    """Leads the policy node through deactivate, cleanup, set, configure and activate.

    The policy's checks of the checkpoint, its contract and its speed are those of every configuration. The
    new policy waits for an instruction, as each does after its start.

    Args:
        client: Calls the services.
        policy: Full name of the policy node.
    """

    def __init__(self, client: RosClient, policy: str) -> None:
        self._client, self._policy = client, policy
        self._services: dict[str, Any] = {}

    def change(self, checkpoint: str) -> str:
        """Put a checkpoint on the robot.

        Args:
            checkpoint: Its folder, as the policy's computer sees it.

        Returns:
            What is so now, in a sentence.

        Raises:
            ServiceError: it was refused; says which checkpoint is loaded now.
        """
        before = self._checkpoint()
        self._unload()
        try:
            self._load(checkpoint)
        except ServiceError as error:
            try:
                self._unload()
                self._load(before)
            except ServiceError as second:
                raise ServiceError(f"{error}; the old one does not come back either: {second}") from None
            raise ServiceError(f"{error}; {before or 'the shipped checkpoint'} is back") from None
        return f"{checkpoint} is on the robot; it waits for an instruction"

    def _unload(self) -> None:
        if self._state() == State.PRIMARY_STATE_ACTIVE:
            self._step("deactivate", ANSWER_S)
        if self._state() == State.PRIMARY_STATE_INACTIVE:
            self._step("clean-up", ANSWER_S)

    def _load(self, checkpoint: str) -> None:
        value = Parameter("checkpoint", value=checkpoint).to_parameter_msg()
        answer = self._call(SetParameters, "set_parameters", SetParameters.Request(parameters=[value]))
        if not answer.results[0].successful:
            raise ServiceError(f"the policy refuses {checkpoint}: {answer.results[0].reason}")
        self._step("configuration", CONFIGURED_WITHIN_S)
        self._step("activation", ANSWER_S)

    def _checkpoint(self) -> str:
        answer = self._call(GetParameters, "get_parameters", GetParameters.Request(names=["checkpoint"]))
        return str(parameter_value_to_python(answer.values[0]) or "")

    def _state(self) -> int:
        return int(self._call(GetState, "get_state", GetState.Request()).current_state.id)

    def _step(self, name: str, patience_s: float) -> None:
        request = ChangeState.Request(transition=Transition(id=_STEPS[name]))
        if not self._call(ChangeState, "change_state", request, patience_s).success:
            raise ServiceError(f"{name} of {self._policy} failed: its words are in the status and in its log")

    def _call(self, kind: type, service: str, request: Any, patience_s: float = ANSWER_S) -> Any:
        if service not in self._services:
            self._services[service] = self._client.service(kind, f"{self._policy}/{service}")
        return self._services[service].call(request, patience_s)
