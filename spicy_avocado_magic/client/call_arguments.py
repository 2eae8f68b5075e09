"""Arguments of a Python call, read by the rules of the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..config.options import Option
from ..errors import UsageError
from ..formatting import did_you_mean
from ..system.redaction import Secret

_MODELS: Final = ("model", "models")


def parse_keyword_arguments(
    function: str, arguments: Mapping[str, Any], known: Mapping[str, Option]
) -> dict[str, Any]:
    """Return the arguments given, parsed, by the names of their options.

    Args:
        function: Its name, for errors.
        arguments: As they were passed; None is one that was not.
        known: The options that it takes, by the names of its arguments.

    Raises:
        UsageError: For one that is unknown, with the nearest match, or cannot be.
    """
    parsed: dict[str, Any] = {}
    for name, value in arguments.items():
        option = known.get(name)
        if option is None:
            hint = did_you_mean(name, known, f"See help({function}).", suffix="=…")
            if name in _MODELS and not known.keys() & {*_MODELS}:
                hint = f'Models go first, without a name: {function}("llama3")'
            raise UsageError(f"{function}() has no option {name!r}.", hint)
        if value is not None:
            parsed[option.name] = _parsed(name, option, value)
    return parsed


def _parsed(name: str, option: Option, value: Any) -> Any:
    try:
        return option.parse(to_command_text(value))
    except UsageError as mistake:
        if option.flag in mistake.problem:
            raise
        raise UsageError(f"{name}: {mistake.problem}", mistake.remedy) from None


def named_models(models: Sequence[object]) -> tuple[str, ...]:
    """Return the models that a call names, those in lists one by one.

    Raises:
        UsageError: For one that is no text, such as None.
    """
    found: list[str] = []
    for model in models:
        if isinstance(model, (list, tuple)):
            found += named_models(model)
        elif isinstance(model, str):
            found.append(model)
        else:
            raise UsageError(
                f"{type(model).__name__} is no model's name.",
                'Name models as texts, such as "llama3".',
            )
    return tuple(found)


def to_command_text(value: Any) -> str:
    """Return a Python value as it would be typed on the line."""
    if isinstance(value, Secret):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return ",".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)
