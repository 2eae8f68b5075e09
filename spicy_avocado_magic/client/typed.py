"""Arguments of a Python call, read by the rules of the line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UsageMistake
from ..options import Option, nearest_match
from ..secrets import Secret


def parse_call(
    function: str, arguments: Mapping[str, Any], known: Mapping[str, Option]
) -> dict[str, Any]:
    """Return the arguments given, parsed, by the names of their options.

    Args:
        function: Its name, for errors.
        arguments: As they were passed; None is one that was not.
        known: The options that it takes, by the names of its arguments.

    Raises:
        UsageMistake: For one that is unknown, with the nearest match, or cannot be.
    """
    parsed: dict[str, Any] = {}
    for name, value in arguments.items():
        option = known.get(name)
        if option is None:
            near = nearest_match(name, known)
            hint = f"Did you mean {near}=…?" if near else f"See help({function})."
            raise UsageMistake(f"{function}() has no option {name!r}.", hint)
        if value is not None:
            parsed[option.name] = option.parse(as_typed(value))
    return parsed


def as_typed(value: Any) -> str:
    """Return a Python value as it would be typed on the line."""
    if isinstance(value, Secret):
        return value.open()
    if isinstance(value, Mapping):
        return ",".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)
