"""A node's parameters, declared and read as their class says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.nodes.parameter_rules import P, Parameter, make_parameters, parameters_of

UNBOUNDED_FLOAT, UNBOUNDED_INT = 1e12, 2**53
"""ROS knows ranges with two ends only; these stand for an open one."""


def declare_parameters(node: Node, kind: type[CommonParameters]) -> None:
    """Declare every parameter of a class, with its text, its range and its choices.

    A value out of its range is declared all the same, so that `read_parameters` can say what is
    wrong; rclpy would end the process.
    """
    for name, parameter in parameters_of(kind).items():
        open_ended = ParameterDescriptor(description=parameter.text, dynamic_typing=True)
        node.declare_parameter(name, parameter.default, open_ended)
        try:
            node.set_descriptor(name, descriptor(parameter))
        except InvalidParameterValueException:
            pass


def guard_parameters(node: Node, kind: type[CommonParameters], configured: Callable[[], bool]) -> None:
    """Refuse to change a parameter of a configured node, which has read it and would not follow.

    What is wrong with a new value beyond its range is said by the next configuration.

    Args:
        node: Has declared the parameters.
        kind: Their class.
        configured: Whether the node is configured now.
    """
    known = parameters_of(kind)

    def may_change(changes: list[RosParameter[Any]]) -> SetParametersResult:
        ours = [change for change in changes if change.name in known]
        if ours and configured():
            return SetParametersResult(
                successful=False,
                reason=f"parameter {ours[0].name} of a configured node: allowed after its clean-up",
            )
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(may_change)


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """What `ros2 param describe` shows of a parameter."""
    made = ParameterDescriptor(description=parameter.text, dynamic_typing=True)
    made.additional_constraints = parameter.allowed
    low, high = parameter.minimum, parameter.maximum
    if low is None and high is None:
        return made
    if isinstance(parameter.default, float):
        low, high = -UNBOUNDED_FLOAT if low is None else low, UNBOUNDED_FLOAT if high is None else high
        made.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    else:
        low, high = -UNBOUNDED_INT if low is None else low, UNBOUNDED_INT if high is None else high
        made.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return made


def read_parameters(node: Node, kind: type[P]) -> P:
    """The node's parameters as an object of their class.

    Raises:
        ParameterError: names every parameter that is wrong, its value and what is allowed.
    """
    return make_parameters(kind, {name: node.get_parameter(name).value for name in parameters_of(kind)})
