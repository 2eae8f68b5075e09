"""Frozen dataclasses to and from JSON, as they cross between kernel and daemon.

A field with ``metadata={"json": KEY}`` keeps KEY in files when it is renamed.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Return plain JSON for a dataclass, enum, tuple or scalar."""
    if dataclasses.is_dataclass(value):
        return {
            _key(field): to_json(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(cls: type[T], json_value: Any) -> T:
    """Rebuild ``cls`` from what ``to_json`` made.

    Unknown fields are passed over and missing ones take their default, so that
    a newer peer can be read.

    Raises:
        TypeError, ValueError: If the JSON does not fit the class.
    """
    known = _known_fields(typing.cast("Any", cls))
    return cls(
        **{
            known[key][0]: _value(known[key][1], item)
            for key, item in dict(json_value).items()
            if key in known
        }
    )


@functools.cache
def _known_fields(cls: type[Any]) -> dict[str, tuple[str, Any]]:
    """Return the name and the type of each field by its key in JSON."""
    hints = typing.get_type_hints(cls)
    return {
        _key(field): (field.name, hints[field.name])
        for field in dataclasses.fields(typing.cast("Any", cls))
    }


def _key(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get("json", field.name))


def _value(hint: Any, json_value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if json_value is None:
            return None
        return _value(
            next(arg for arg in arguments if arg is not type(None)), json_value
        )
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is ...:  # noqa: PLR2004
            return tuple(_value(arguments[0], item) for item in json_value)
        pairs = zip(arguments, json_value, strict=True)
        return tuple(_value(argument, item) for argument, item in pairs)
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast("type[Any]", hint), json_value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(json_value)
    if hint is float:
        return float(json_value)
    if isinstance(hint, type) and not isinstance(json_value, hint):
        message = f"expected {hint.__name__}, got {type(json_value).__name__}"
        raise TypeError(message)
    return json_value
