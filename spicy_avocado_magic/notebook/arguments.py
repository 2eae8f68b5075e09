"""From a magic's line and cell body to a ``Wish``; knows nothing of IPython."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import SecretMissing, UsageMistake
from ..options import (
    OPTIONS,
    Option,
    Wish,
    nearest_match,
    parse_flag,
    parse_variables,
    wish_from,
)
from ..parsing import validate_model
from .commands import UP, Command
from .names import Names, is_name

LITERAL_ADVICE: Final = (
    "The token stands in the notebook for all who read it; "
    "better keep it in a secret or variable and pass --token $NAME."
)
_TOKEN: Final = next(option for option in OPTIONS if option.name == "token")
_REHEARSE: Final = next(option for option in OPTIONS if option.name == "rehearse")
_MODEL_KEYS: Final = ("AVOCADO_MODEL", "AVOCADO_MODELS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an ``up`` asks for, and what its user should be told before."""

    wish: Wish
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line's words, sorted but not yet looked up or checked."""

    words: tuple[str, ...] = ()
    options: Mapping[str, str]
    """Text by the option's flag; ``true`` for a bare flag."""


def read_up(line: str, body: str | None, names: Names) -> Request | None:
    """Read ``%avocado_up`` or ``%%avocado_up``; None if help is asked for.

    The line wins over the body, the body over ``AVOCADO_…`` of the environment.

    Raises:
        UsageMistake: If it cannot be right.
        SecretMissing: If a ``$NAME`` is nowhere.
    """
    typed = sort_words(line, UP)
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
    tokens = (typed.options.get(_TOKEN.flag), in_body.get(_TOKEN.variable))
    parsed = parse_variables(around)
    parsed |= parse_variables(_resolved_body(in_body, names, is_rehearsal))
    parsed |= _resolved_line(typed, names, is_rehearsal)
    for model in parsed.get("models", ()):
        validate_model(model)
    is_literal = any(token and not is_name(token) for token in tokens)
    return Request(
        wish=wish_from(parsed),
        notices=(LITERAL_ADVICE,) if is_literal else (),
    )


def read_switches(line: str, command: Command) -> dict[str, bool] | None:
    """Read a line that takes flags alone; None if help is asked for.

    Raises:
        UsageMistake: If it cannot be right.
    """
    typed = sort_words(line, command)
    if typed is None:
        return None
    known = command.option_by_flag
    return {
        option.name: parse_option(option, typed.options[flag])
        if flag in typed.options
        else False
        for flag, option in known.items()
    }


def split(line: str) -> list[str]:
    """Split a line as a shell does: quotes, ``# comments`` and a trailing ``;``.

    Raises:
        UsageMistake: If a quote is not closed.
    """
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        raise UsageMistake(
            "A quote on this line is not closed.", "Close it, or leave it out."
        ) from None
    if words:
        words[-1] = words[-1].rstrip(";")
    return [word for word in words if word] if words[-1:] == [""] else words


def sort_words(line: str, command: Command) -> Line | None:
    """Tell words from options; None if help is asked for.

    Raises:
        UsageMistake: With the nearest option, or the first word that has no use.
    """
    known = command.option_by_flag
    words: list[str] = []
    options: dict[str, str] = {}
    rest = split(line)
    if "--help" in rest or "-h" in rest:
        return None
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if not word.startswith("-"):
            words.append(word)
            continue
        option = known.get(flag)
        if option is None:
            raise _unknown_option(flag, known)
        if not equals:
            value = _value_after(option, rest)
        if option.repeats and flag in options:
            value = f"{options[flag]},{value}"
        options[flag] = value
    if words and not command.words:
        raise UsageMistake(
            f"%{command.name} takes no {words[0]!r}.", f"See %{command.name} --help."
        )
    return Line(words=tuple(words), options=options)


def _value_after(option: Option, rest: list[str]) -> str:
    if option.is_flag:
        return "true"
    if rest and not rest[0].startswith("--"):
        return rest.pop(0)
    raise UsageMistake(
        f"{option.flag} needs a value.", f"Write {option.flag} {option.metavar}."
    )


def _unknown_option(flag: str, known: Mapping[str, Option]) -> UsageMistake:
    near = nearest_match(flag, known)
    hint = f"Did you mean {near}?" if near else "--help lists them."
    return UsageMistake(f"{flag} is not an option.", hint)


def _resolved_line(line: Line, names: Names, is_rehearsal: bool) -> dict[str, Any]:
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
    body: Mapping[str, str | None], names: Names, is_rehearsal: bool
) -> dict[str, str | None]:
    resolved: dict[str, str | None] = {}
    by_variable = {option.variable: option for option in OPTIONS}
    for key, text in body.items():
        if text is None:
            resolved[key] = None
        elif key in _MODEL_KEYS:
            resolved[key] = " ".join(names.models(text))
        elif key in by_variable:
            value = _resolve_option(by_variable[key], text, names, is_rehearsal)
            if value is not None:
                resolved[key] = value
        else:
            resolved[key] = names.resolve(text)
    return resolved


def _resolve_option(
    option: Option, text: str, names: Names, is_rehearsal: bool
) -> str | None:
    """Return an option's text; None for a token that a rehearsal can do without."""
    try:
        return names.resolve(text)
    except SecretMissing:
        if is_rehearsal and option is _TOKEN:
            return None
        raise


def parse_option(option: Option, text: str) -> Any:
    """Return an option's value.

    Raises:
        UsageMistake: With the option's name in it.
    """
    try:
        return option.parse(text)
    except UsageMistake as mistake:
        if option.flag in mistake.problem:
            raise
        raise UsageMistake(
            f"{option.flag}: {mistake.problem}", mistake.remedy
        ) from None


def _read_body(body: str) -> dict[str, str | None]:
    """Read ``KEY=value`` lines by the rules of dotenv, with nothing filled in.

    Raises:
        UsageMistake: With the line that cannot be read.
    """
    from dotenv.parser import parse_stream

    variables: dict[str, str | None] = {}
    for binding in parse_stream(io.StringIO(body)):
        if binding.error:
            # Not quoted: it may hold a secret. The magic itself is line 1.
            raise UsageMistake(
                f"Line {binding.original.line + 1} of this cell cannot be read.",
                "Write KEY=value, with quotes around a value that needs them.",
            )
        if binding.key is not None:
            variables[binding.key] = binding.value
    return variables


def _known(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment's ``AVOCADO_…`` variables that we know."""
    known: Sequence[str] = [*(option.variable for option in OPTIONS), *_MODEL_KEYS]
    return {
        key: environ[key]
        for key in known
        if key.startswith("AVOCADO_") and environ.get(key)
    }
