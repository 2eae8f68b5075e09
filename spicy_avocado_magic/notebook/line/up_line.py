"""Parser of ``%avocado_up`` with its cell body; independent of IPython."""

from __future__ import annotations

import io
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...config.options import (
    OPTION_BY_NAME,
    OPTIONS,
    UpRequest,
    build_up_request,
    parse_flag,
    parse_variables,
    settings_overridden_by,
)
from ...config.validators import validate_model
from ...errors import UsageError
from .command_table import UP
from .parser import resolve_line, resolve_option, sort_words
from .variables import VariableResolver, is_variable

LITERAL_ADVICE: Final = (
    "Your ngrok token is written in this notebook, so everybody who sees the notebook "
    "can read it. Better keep it in a variable or a secret: --token $NAME."
)
MODEL_KEYS: Final = ("AVOCADO_MODEL", "AVOCADO_MODELS")
BY_VARIABLE: Final = {
    name: option
    for option in OPTIONS
    for name in (option.variable, option.environment_variable)
}
_TOKEN: Final = OPTION_BY_NAME["token"]
_REHEARSE: Final = OPTION_BY_NAME["rehearse"]
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpLine:
    """The request of an ``up``, and notices to print before it is carried out."""

    request: UpRequest
    notices: tuple[str, ...] = ()


def parse_up(
    line: str,
    body: str | None,
    variables: VariableResolver,
    defaults: Mapping[str, Any] | None = None,
) -> UpLine:
    """Parse ``%avocado_up`` or ``%%avocado_up``.

    The line takes precedence over the body, the body over the defaults, and those
    over ``AVOCADO_…`` in the environment. A setting that excludes another one
    (``--local`` and a domain) overrides it in the same order.

    Args:
        line: The text after the magic's name.
        body: The cell below it.
        variables: Where ``$NAME`` is looked up.
        defaults: Parsed options by name, such as those of ``%config``.

    Raises:
        UsageError: With what to type instead.
        SecretMissing: If a ``$NAME`` is not defined anywhere.
    """
    typed = sort_words(UP, line)
    assignments = _read_body(body or "")
    environ = _known_variables(variables.environ)
    rehearse_texts = (
        typed.options.get(_REHEARSE.flag),
        assignments.get(_REHEARSE.variable),
        environ.get(_REHEARSE.variable),
    )
    rehearse = next((text for text in rehearse_texts if text is not None), "false")
    # A rehearsal needs no token, so its variable need not be defined.
    is_rehearsal = parse_flag(variables.resolve(rehearse))
    dispensable = (_TOKEN.name,) if is_rehearsal else ()
    parsed: dict[str, Any] = {}
    for source in (
        _parse_environment(environ),
        defaults or {},
        parse_variables(_resolve_body(assignments, variables, dispensable)),
        resolve_line(UP, typed, variables, dispensable),
    ):
        overridden = settings_overridden_by(source)
        parsed = {k: v for k, v in parsed.items() if k not in overridden} | dict(source)
    for model in parsed.get("models", ()):
        validate_model(model)
    tokens = (
        typed.options.get(_TOKEN.flag),
        assignments.get(_TOKEN.variable),
        assignments.get(_TOKEN.environment_variable),
    )
    is_literal = any(token and not is_variable(token) for token in tokens)
    return UpLine(
        request=build_up_request(parsed),
        notices=(LITERAL_ADVICE,) if is_literal else (),
    )


def _resolve_body(
    assignments: Mapping[str, str | None],
    variables: VariableResolver,
    dispensable: Container[str],
) -> dict[str, str | None]:
    resolved: dict[str, str | None] = {}
    for key, text in assignments.items():
        if text is None:
            resolved[key] = None
        elif key in MODEL_KEYS:
            resolved[key] = " ".join(variables.models(text))
        elif key in BY_VARIABLE:
            value = resolve_option(BY_VARIABLE[key], text, variables, dispensable)
            if value is not None:
                resolved[key] = value
        else:
            resolved[key] = variables.resolve(text)
    return resolved


def _read_body(body: str) -> dict[str, str | None]:
    """Read ``KEY=value`` lines by the rules of dotenv, without expanding variables.

    Raises:
        UsageError: With the number of the line that cannot be read.
    """
    from dotenv.parser import parse_stream

    assignments: dict[str, str | None] = {}
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
                "Write KEY=value, with quotes around a value that needs them; put "
                "Python into a cell of its own.",
            )
        if binding.key is not None:
            assignments[binding.key] = binding.value
    return assignments


def _known_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the ``AVOCADO_…`` variables of the environment that name an option."""
    known = (*(option.environment_variable for option in OPTIONS), *MODEL_KEYS)
    return {key: environ[key] for key in known if environ.get(key)}


def _parse_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Parse environment variables.

    Raises:
        UsageError: With the variable's name, since the notebook does not show it.
    """
    parsed: dict[str, Any] = {}
    for key, text in environ.items():
        try:
            parsed |= parse_variables({key: text})
        except UsageError as error:
            problem = f"{key} of the environment: {error.problem}"
            raise UsageError(problem, error.remedy) from None
    return parsed
