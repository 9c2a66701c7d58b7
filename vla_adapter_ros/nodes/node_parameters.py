"""A node's parameters, declared and read as their class says."""

from __future__ import annotations

import dataclasses
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node

from vla_adapter_ros.nodes.parameters import allowed, build, ros_default

UNBOUNDED_FLOAT, UNBOUNDED_INT = 1e12, 2**53
"""ROS knows ranges with two ends only; these stand for an open one."""


def declare(node: Node, kind: type) -> None:
    """Declare every field of a parameter class, with its text, its range and its choices.

    A value out of its range is declared all the same, so that `read` can say
    in one sentence what is wrong; rclpy would end the process.
    """
    for field in dataclasses.fields(kind):
        open_ended = ParameterDescriptor(description=field.metadata["text"], dynamic_typing=True)
        node.declare_parameter(field.name, ros_default(field), open_ended)
        try:
            node.set_descriptor(field.name, descriptor(field))
        except InvalidParameterValueException:
            pass


def descriptor(field: dataclasses.Field) -> ParameterDescriptor:
    """What `ros2 param describe` shows of a field."""
    rule = field.metadata
    made = ParameterDescriptor(description=rule["text"], read_only=True, dynamic_typing=True)
    made.additional_constraints = allowed(field)
    if "min" in rule or "max" in rule:
        if isinstance(field.default, float):
            low, high = rule.get("min", -UNBOUNDED_FLOAT), rule.get("max", UNBOUNDED_FLOAT)
            made.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        else:
            low, high = rule.get("min", -UNBOUNDED_INT), rule.get("max", UNBOUNDED_INT)
            made.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return made


def read(node: Node, kind: type) -> Any:
    """The node's parameters as an object of their class.

    Raises:
        ParameterError: names the parameter, its value and what is allowed.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    return build(kind, {name: node.get_parameter(name).value for name in names})
