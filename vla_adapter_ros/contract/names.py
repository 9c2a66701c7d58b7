"""Names of topics and nodes as ROS resolves them: relative ones lie in a namespace, absolute ones do not."""

from __future__ import annotations

import dataclasses
from typing import Any

from vla_adapter_ros.contract.contract import Contract

_TOPIC_KEYS = ("topic", "takeover_topic", "deadman_topic")


def full_name(topic: str, namespace: str = "") -> str:
    """What a topic is called in the graph, for nodes in a namespace such as /left; empty: the root."""
    return topic if topic.startswith("/") else "/".join(("", *filter(None, [namespace.strip("/")]), topic))


def relative_name(topic: str, namespace: str = "") -> str:
    """The name by which a contract reaches a topic of the graph: relative, unless it lies elsewhere."""
    return topic.removeprefix(full_name("", namespace))


def in_namespace(contract: Contract, namespace: str) -> Contract:
    """The contract with the full name of every topic and node, for a robot whose nodes lie in a namespace."""
    topics = {full_name(topic, namespace): entry for topic, entry in contract.topics.items()}
    resolved: Contract = _resolved(dataclasses.replace(contract, topics=topics), namespace)
    return resolved


def _resolved(value: Any, namespace: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {}
        for field in dataclasses.fields(value):
            part = getattr(value, field.name)
            if field.name in _TOPIC_KEYS:
                changes[field.name] = full_name(part, namespace) if part else part
            elif field.name == "publishers":
                changes[field.name] = tuple(full_name(node, namespace) for node in part)
            else:
                changes[field.name] = _resolved(part, namespace)
        return dataclasses.replace(value, **changes)
    if isinstance(value, dict):
        return {key: _resolved(part, namespace) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_resolved(part, namespace) for part in value)
    return value
