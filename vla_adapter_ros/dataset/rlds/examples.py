"""The messages in TFRecord files, tf.train.Example: lists of bytes, floats or whole numbers by name."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from vla_adapter_ros.dataset.rlds.records import NEEDED, Record, read_record
from vla_adapter_ros.errors import DatasetError

_FIELDS = {  # message -> field -> (number, type, whether it repeats)
    "BytesList": {"value": (1, "TYPE_BYTES", True)},
    "FloatList": {"value": (1, "TYPE_FLOAT", True)},
    "Int64List": {"value": (1, "TYPE_INT64", True)},
    "Feature": {
        "bytes_list": (1, "BytesList", False),
        "float_list": (2, "FloatList", False),
        "int64_list": (3, "Int64List", False),
    },
    "Entry": {"key": (1, "TYPE_STRING", False), "value": (2, "Feature", False)},
    "Features": {"feature": (1, "Entry", True)},
    "Example": {"features": (1, "Features", False)},
}
"""A map is sent as repeated entries of key and value."""
_LISTS = ("bytes_list", "float_list", "int64_list")


def read_example(record: Record) -> dict[str, Any]:
    """The lists of a record by name; a name without values has an empty one.

    Raises:
        DatasetError: the record is damaged, or holds something else.
    """
    data = read_record(record)
    message = _example_class()()
    try:
        message.ParseFromString(data)
    except Exception as error:  # google.protobuf.message.DecodeError, by whatever implementation
        raise DatasetError(f"{record.path}: the record at byte {record.start}: {error}") from None
    lists: dict[str, Any] = {}
    for entry in message.features.feature:
        kind = next((name for name in _LISTS if entry.value.HasField(name)), None)
        lists[entry.key] = getattr(entry.value, kind).value if kind else []
    return lists


@cache
def _example_class() -> Any:
    """The class of the message, from its description alone."""
    try:
        descriptor_pb2, descriptor_pool, message_factory = (
            import_module(f"google.protobuf.{name}")
            for name in ("descriptor_pb2", "descriptor_pool", "message_factory")
        )
    except ImportError:
        raise DatasetError(f"RLDS data needs protobuf: {NEEDED}") from None
    kinds = descriptor_pb2.FieldDescriptorProto
    package = "vla_adapter_ros.rlds"
    file = descriptor_pb2.FileDescriptorProto(name="rlds.proto", package=package, syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeats) in fields.items():
            added = message.field.add(name=field, number=number)
            added.label = kinds.LABEL_REPEATED if repeats else kinds.LABEL_OPTIONAL
            if kind.startswith("TYPE_"):
                added.type = getattr(kinds, kind)
            else:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Example"))
