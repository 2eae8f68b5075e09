"""Parser of ``%avocado_up`` and its cell body, free of IPython."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...config.options import (
    OPTIONS,
    Option,
    UpRequest,
    build_up_request,
    parse_flag,
    parse_variables,
    settings_overridden_by,
)
from ...config.validators import validate_model
from ...errors import SecretMissing, UsageError
from .commands import UP
from .parser import ParsedLine, parse_line, parse_option
from .variables import VariableResolver, is_variable

LITERAL_ADVICE: Final = (
    "The token stands in the notebook for all who read it; "
    "better keep it in a secret or variable and pass --token $NAME."
)
_TOKEN: Final = next(option for option in OPTIONS if option.name == "token")
_REHEARSE: Final = next(option for option in OPTIONS if option.name == "rehearse")
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
MODEL_KEYS: Final = ("AVOCADO_MODEL", "AVOCADO_MODELS")
BY_VARIABLE: Final = {
    name: option
    for option in OPTIONS
    for name in (option.variable, option.environment_variable)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpLine:
    """What an ``up`` asks for, and what its user should be told before."""

    wish: UpRequest
    notices: tuple[str, ...] = ()


def parse_up(
    line: str,
    body: str | None,
    names: VariableResolver,
    defaults: Mapping[str, Any] | None = None,
) -> UpLine | None:
    """Read ``%avocado_up`` or ``%%avocado_up``; None if help is asked for.

    The line wins over the body, the body over the defaults, and those over
    ``AVOCADO_…`` of the environment. What excludes another (``--local`` and a domain)
    wins over it in the same order.

    Args:
        line: All that follows the magic's name.
        body: The cell below it.
        names: Where ``$NAME`` is looked up.
        defaults: Parsed options by name, such as those of ``%config``.

    Raises:
        UsageError: If it cannot be right.
        SecretMissing: If a ``$NAME`` is nowhere.
    """
    typed = parse_line(line, UP)
    if typed is None:
        return None
    in_body = _read_body(body or "")
    around = _known(names.environ)
    sources = (
        around.get(_REHEARSE.variable),
        in_body.get(_REHEARSE.variable),
        typed.options.get(_REHEARSE.flag),
    )
    asked = [text for text in sources if text is not None]
    is_rehearsal = bool(asked) and parse_flag(names.resolve(asked[-1]))
    parsed: dict[str, Any] = {}
    for nearer in (
        _from_environment(around),
        defaults or {},
        parse_variables(_resolved_body(in_body, names, is_rehearsal)),
        _resolved_line(typed, names, is_rehearsal),
    ):
        yielding = settings_overridden_by(nearer)
        parsed = {k: v for k, v in parsed.items() if k not in yielding} | dict(nearer)
    for model in parsed.get("models", ()):
        validate_model(model)
    tokens = (
        typed.options.get(_TOKEN.flag),
        in_body.get(_TOKEN.variable),
        in_body.get(_TOKEN.environment_variable),
    )
    is_literal = any(token and not is_variable(token) for token in tokens)
    return UpLine(
        wish=build_up_request(parsed),
        notices=(LITERAL_ADVICE,) if is_literal else (),
    )


def _resolved_line(
    line: ParsedLine, names: VariableResolver, is_rehearsal: bool
) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for flag, text in line.options.items():
        option = UP.option_by_flag[flag]
        value = _resolve_option(option, text, names, is_rehearsal)
        if value is not None:
            parsed[option.name] = parse_option(option, value)
    if line.words:
        models = (names.models(word) for word in line.words)
        parsed["models"] = tuple(name for found in models for name in found)
    return parsed


def _resolved_body(
    body: Mapping[str, str | None], names: VariableResolver, is_rehearsal: bool
) -> dict[str, str | None]:
    resolved: dict[str, str | None] = {}
    for key, text in body.items():
        if text is None:
            resolved[key] = None
        elif key in MODEL_KEYS:
            resolved[key] = " ".join(names.models(text))
        elif key in BY_VARIABLE:
            value = _resolve_option(BY_VARIABLE[key], text, names, is_rehearsal)
            if value is not None:
                resolved[key] = value
        else:
            resolved[key] = names.resolve(text)
    return resolved


def _resolve_option(
    option: Option, text: str, names: VariableResolver, is_rehearsal: bool
) -> str | None:
    """Return an option's text; None for a token that a rehearsal can do without."""
    try:
        return names.resolve(text)
    except SecretMissing:
        if is_rehearsal and option is _TOKEN:
            return None
        raise


def _read_body(body: str) -> dict[str, str | None]:
    """Read ``KEY=value`` lines by the rules of dotenv, with nothing filled in.

    Raises:
        UsageError: With the line that cannot be read.
    """
    from dotenv.parser import parse_stream

    variables: dict[str, str | None] = {}
    for binding in parse_stream(io.StringIO(body)):
        is_bare = binding.key is not None and binding.value is None
        if binding.error or (is_bare and not _VARIABLE.fullmatch(binding.key or "")):
            # Not quoted: it may hold a secret. The magic itself is line 1, and a
            # binding begins with the empty lines before it.
            begins = binding.original.string
            empty = begins[: -len(begins.lstrip())].count("\n")
            raise UsageError(
                f"Line {binding.original.line + empty + 1} of this cell cannot be "
                "read.",
                "Write KEY=value, with quotes around a value that needs them; "
                "Python goes into a cell of its own.",
            )
        if binding.key is not None:
            variables[binding.key] = binding.value
    return variables


def _known(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment's ``AVOCADO_…`` variables that we know."""
    known = (*(option.environment_variable for option in OPTIONS), *MODEL_KEYS)
    return {key: environ[key] for key in known if environ.get(key)}


def _from_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    """Parse variables of the environment.

    Raises:
        UsageError: With the variable's name, since it is nowhere on the screen.
    """
    parsed: dict[str, Any] = {}
    for key, text in variables.items():
        try:
            parsed |= parse_variables({key: text})
        except UsageError as mistake:
            problem = f"{key} of the environment: {mistake.problem}"
            raise UsageError(problem, mistake.remedy) from None
    return parsed
