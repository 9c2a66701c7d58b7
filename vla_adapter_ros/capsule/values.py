"""Values of the controller's core as JSON and back, exactly; nothing in a file can name code to be run.

Numbers, texts, truth values, None and lists stand for themselves. Everything else is an object of one entry:
its kind and its content.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import numpy as np

from vla_adapter_ros.capsule.recorded_core import Refusal
from vla_adapter_ros.control import Chunk, Tick, Trajectory
from vla_adapter_ros.control.core_state import home_motion
from vla_adapter_ros.control.homing import HomeMotion
from vla_adapter_ros.control.instructions import EndedBy, Ending
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.limiter import _Pursuit
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.motion import Setpoint, _Commitment
from vla_adapter_ros.control.path_time import _Ramp
from vla_adapter_ros.control.planner import PlainStop, Plan, Question, Stop
from vla_adapter_ros.control.timeline import SmoothRows
from vla_adapter_ros.errors import CapsuleError
from vla_adapter_ros.untrusted import short

_DTYPES = ("<f8", "<i8", "|b1", "<f4", "|u1")
_LARGEST_ARRAY = 1 << 24  # bytes
_LONGEST_DEQUE = 1 << 20
_LONGEST_PLAN_S = 600.0
_DATACLASSES: dict[str, type] = {
    kind.__name__: kind for kind in (Chunk, Limits, Question, Setpoint, Tick, Trajectory, _Commitment)
}
_TUPLES: dict[str, type] = {kind.__name__: kind for kind in (_Pursuit, _Ramp, Refusal)}


def to_plain(value: Any) -> Any:
    """A value as what JSON can hold.

    Raises:
        CapsuleError: of a kind that is not known here: a fault of this package.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, np.ndarray):
        return {"array": _array_to_plain(value)}
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, deque):
        return {"deque": [value.maxlen, [to_plain(item) for item in value]]}
    if isinstance(value, dict):
        return {"dict": {str(key): to_plain(item) for key, item in value.items()}}
    name = type(value).__name__
    if name in _TUPLES:
        return {name: [to_plain(item) for item in value]}
    if isinstance(value, tuple):
        return {"tuple": [to_plain(item) for item in value]}
    if name in _DATACLASSES:
        fields = dataclasses.fields(value)
        return {name: {field.name: to_plain(getattr(value, field.name)) for field in fields}}
    if isinstance(value, Ending):
        return {"Ending": [str(value.by), value.why]}
    if isinstance(value, SmoothRows):
        return {"SmoothRows": {key: to_plain(item) for key, item in vars(value).items()}}
    if isinstance(value, (Plan, Stop, PlainStop)):
        return {"Answer": to_plain(value.question)}
    if isinstance(value, HomeMotion):
        named = {"target": value.target, "begin": value._begin, "version": value.version}
        return {"HomeMotion": [to_plain(value._plan), to_plain(named)]}
    if isinstance(value, ArmKinematics):
        return {"ArmKinematics": [value.urdf_text, list(value.joints), value.base_link, value.tool_link]}
    raise CapsuleError(f"a {name} cannot be written into a capsule")


def from_plain(plain: Any) -> Any:
    """The value that `to_plain` was given.

    Raises:
        CapsuleError: nothing that `to_plain` makes.
    """
    try:
        return _from_plain(plain)
    except CapsuleError:
        raise
    except Exception as error:  # a stranger's file can make constructors raise anything
        raise CapsuleError(f"value {short(plain, 100)}: {short(str(error), 200)}") from None


def _from_plain(plain: Any) -> Any:
    if plain is None or isinstance(plain, (bool, int, float, str)):
        return plain
    if isinstance(plain, list):
        return [_from_plain(item) for item in plain]
    if not isinstance(plain, dict) or len(plain) != 1:
        raise CapsuleError(f"value {short(plain, 100)}: allowed is an object of one entry, its kind")
    ((kind, content),) = plain.items()
    if kind in _DATACLASSES:
        return _DATACLASSES[kind](**_fields(content))
    if kind in _TUPLES:
        return _TUPLES[kind](*(_from_plain(item) for item in content))
    if kind not in _READERS:
        allowed = sorted({*_DATACLASSES, *_TUPLES, *_READERS})
        raise CapsuleError(f"value of kind {short(kind, 60)}: allowed is one of {allowed}")
    return _READERS[kind](content)


def _array_to_plain(array: np.ndarray) -> list[Any]:
    stored = np.ascontiguousarray(array)
    return [stored.dtype.str, list(stored.shape), base64.b64encode(stored.tobytes()).decode("ascii")]


def _read_array(content: Any) -> np.ndarray:
    dtype, shape, text = content
    if dtype not in _DTYPES:
        raise CapsuleError(f"array of {short(dtype, 30)}: allowed is one of {list(_DTYPES)}")
    data = base64.b64decode(text, validate=True)
    if len(data) > _LARGEST_ARRAY:
        raise CapsuleError(f"array of {len(data)} bytes: allowed are {_LARGEST_ARRAY}")
    return np.frombuffer(data, dtype).reshape([int(size) for size in shape]).copy()


def _read_deque(content: Any) -> deque[Any]:
    most, items = content
    if most is not None and not 0 < int(most) <= _LONGEST_DEQUE:
        raise CapsuleError(f"deque of at most {short(most, 30)}: allowed is 1 to {_LONGEST_DEQUE}")
    return deque((_from_plain(item) for item in items), most)


def _read_float(content: Any) -> float:
    if content not in ("nan", "inf", "-inf"):
        raise CapsuleError(f"float {short(content, 30)}: allowed is nan, inf or -inf")
    return float(content)


def _read_smooth_rows(content: Any) -> SmoothRows:
    fields = _fields(content)
    rows = object.__new__(SmoothRows)
    if fields.keys() != {"chunk", "_period", "_states", "_points"} or not isinstance(fields["chunk"], Chunk):
        raise CapsuleError(f"smooth rows with {sorted(fields)}: another version has written them")
    vars(rows).update(fields)
    return rows


def _read_answer(content: Any) -> Any:
    question = _from_plain(content)
    answer = question.answer() if isinstance(question, Question) else None
    if answer is None:
        raise CapsuleError("a plan that cannot be made again")
    if not answer.duration <= _LONGEST_PLAN_S:
        raise CapsuleError(f"a plan of {answer.duration:g} s: allowed are {_LONGEST_PLAN_S:g} s")
    return answer


def _read_home_motion(content: Any) -> HomeMotion:
    plan, named = (_from_plain(item) for item in content)
    return home_motion(plan, named)


def _read_kinematics(content: Any) -> ArmKinematics:
    urdf, joints, base, tool = content
    return ArmKinematics(str(urdf), tuple(map(str, joints)), str(base), str(tool))


def _fields(content: Any) -> dict[str, Any]:
    return {str(name): _from_plain(item) for name, item in content.items()}


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "float": _read_float,
    "array": _read_array,
    "tuple": lambda content: tuple(_from_plain(item) for item in content),
    "deque": _read_deque,
    "dict": _fields,
    "Ending": lambda content: Ending(EndedBy(content[0]), str(content[1])),
    "SmoothRows": _read_smooth_rows,
    "Answer": _read_answer,
    "HomeMotion": _read_home_motion,
    "ArmKinematics": _read_kinematics,
}


def difference(recorded: Any, here: Any, name: str = "") -> str:
    """Where two values differ first, with both; empty if they are the same to the last bit.

    Args:
        recorded, here: Numbers, texts, arrays, or dataclasses and tuples of them.
        name: Of the value.
    """
    if isinstance(recorded, np.ndarray) and isinstance(here, np.ndarray):
        if recorded.shape != here.shape:
            return f"{name} has shape {recorded.shape} in the capsule, {here.shape} here"
        apart = np.argwhere(~((recorded == here) | ((recorded != recorded) & (here != here))))
        if not len(apart):
            return ""
        place = tuple(int(i) for i in apart[0])
        where = f"{name}[{', '.join(map(str, place))}]"
        return f"{where} is {recorded[place]!r} in the capsule, {here[place]!r} here"
    if dataclasses.is_dataclass(recorded) and type(recorded) is type(here):
        names = [field.name for field in dataclasses.fields(recorded)]
        pairs = (
            (f"{name}.{part}" if name else part, getattr(recorded, part), getattr(here, part))
            for part in names
        )
        return next((text for part, a, b in pairs if (text := difference(a, b, part))), "")
    if isinstance(recorded, (tuple, list)) and isinstance(here, (tuple, list)) and len(recorded) == len(here):
        parts = zip(recorded, here, strict=True)
        return next((t for i, (a, b) in enumerate(parts) if (t := difference(a, b, f"{name}[{i}]"))), "")
    same = recorded == here or (recorded != recorded and here != here)
    if isinstance(same, (bool, np.bool_)) and same:
        return ""
    return f"{name} is {short(recorded, 120)} in the capsule, {short(here, 120)} here"
