"""Keyword arguments of the Python API, parsed by the rules of the magic's line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Final, TypedDict

from ..config.options import Option
from ..errors import UsageError
from ..formatting import did_you_mean
from ..system.redaction import Secret

_MODELS: Final = ("model", "models")


class UpOptions(TypedDict, total=False):
    """Keyword arguments of ``up()``: the options of ``%avocado_up``.

    ``config.options.OPTIONS`` explains each of them. None is the same as leaving the
    argument out.
    """

    token: str | Secret | None
    api_key: str | Secret | None
    hide_key: bool | None
    no_auth: bool | None
    domain: str | None
    pool: bool | None
    local: bool | None
    path_key: bool | None
    manage: bool | None
    any_model: bool | None
    registry: str | Sequence[str] | None
    cors: str | Sequence[str] | None
    limit: str | Mapping[str, str | float] | None
    metrics_port: str | int | None
    only: bool | None
    port: int | str | None
    context: int | str | None
    keep_alive: str | int | None
    models_dir: str | PathLike[str] | None
    ollama_version: str | None
    ttl: str | float | None
    detach: bool | None
    background: bool | None
    restart: bool | None
    rehearse: bool | None


def parse_keyword_arguments(
    function: str, arguments: Mapping[str, Any], known: Mapping[str, Option]
) -> dict[str, Any]:
    """Return the parsed values by the names of their settings.

    Args:
        function: Its name, for error messages.
        arguments: As they were passed; None is the same as leaving one out.
        known: The options of the function, by the names of its arguments.

    Raises:
        UsageError: For an unknown argument, with the closest match, or a wrong value.
    """
    parsed: dict[str, Any] = {}
    for name, value in arguments.items():
        option = known.get(name)
        if option is None:
            remedy = did_you_mean(name, known, f"See help({function}).", suffix="=…")
            if name in _MODELS and not known.keys() & {*_MODELS}:
                remedy = f'Models go first, without a name: {function}("llama3")'
            raise UsageError(f"{function}() has no option {name!r}.", remedy)
        if value is not None:
            parsed[option.name] = _parse(name, option, value)
    return parsed


def _parse(name: str, option: Option, value: Any) -> Any:
    try:
        return option.parse(to_command_text(value))
    except UsageError as error:
        if option.flag in error.problem:
            raise
        raise UsageError(f"{name}: {error.problem}", error.remedy) from None


def named_models(models: Sequence[object]) -> tuple[str, ...]:
    """Return the model names among positional arguments, lists flattened.

    Raises:
        UsageError: For an argument that is no text, such as None.
    """
    names: list[str] = []
    for model in models:
        if isinstance(model, (list, tuple)):
            names += named_models(model)
        elif isinstance(model, str):
            names.append(model)
        else:
            raise UsageError(
                f"A model's name is a text, not {type(model).__name__}.",
                'Write it in quotes, such as "llama3".',
            )
    return tuple(names)


def to_command_text(value: Any) -> str:
    """Return a Python value as a user would type it on the line."""
    if isinstance(value, Secret):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return ",".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)
