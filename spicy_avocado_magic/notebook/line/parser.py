"""A magic's line: its words and options, sorted; knows nothing of IPython."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...config.options import Option
from ...errors import UsageError
from .commands import CommandSpec
from .typo_hints import (
    CURLY_QUOTES,
    curly_quote_error,
    reject_detached_value,
    reject_unicode_dash,
    unknown_option_error,
    unterminated_error,
)

_PIECE: Final = re.compile(
    r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|(?P<comment>(?<!\S)\#.*)|.""", re.DOTALL
)
"""A quoted text, an escaped character, a comment, or any one character."""
_END: Final = re.compile(r"[;\s]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedLine:
    """A line's words, sorted but not yet looked up or checked."""

    words: tuple[str, ...] = ()
    options: Mapping[str, str]
    """Text by the option's flag; ``true`` for a bare flag."""


def parse_flags(line: str, command: CommandSpec) -> dict[str, bool] | None:
    """Read a line that takes flags alone; None if help is asked for.

    Raises:
        UsageError: If it cannot be right.
    """
    typed = parse_line(line, command)
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
        UsageError: If a quote is curly or open, or nothing follows a backslash.
    """
    pieces = [match for match in _PIECE.finditer(line) if not match["comment"]]
    if any(piece[0] in CURLY_QUOTES for piece in pieces):
        raise curly_quote_error()
    try:
        # shlex takes a "#" inside a word for a comment, too; a shell does not.
        return shlex.split(_END.sub("", "".join(piece[0] for piece in pieces)))
    except ValueError as error:
        raise unterminated_error(error) from None


def parse_line(line: str, command: CommandSpec) -> ParsedLine | None:
    """Tell words from options; None if help is asked for.

    Raises:
        UsageError: With the nearest option, or the first word that has no use.
    """
    known = command.option_by_flag
    words: list[str] = []
    options: dict[str, str] = {}
    rest = split(line)
    if "--help" in rest or "-h" in rest or rest in (["help"], ["?"]):
        return None
    while rest:
        word = rest.pop(0)
        reject_unicode_dash(word)
        flag, equals, value = word.partition("=")
        if not word.startswith("-"):
            words.append(word)
            continue
        option = known.get(flag)
        if option is None:
            raise unknown_option_error(flag, command)
        if not equals:
            value = _value_after(option, rest)
        if option.repeats and flag in options:
            value = f"{options[flag]},{value}"
        options[flag] = value
    if words and not command.words:
        raise UsageError(
            f"%{command.name} takes no {words[0]!r}.", f"See %{command.name} --help."
        )
    return ParsedLine(words=tuple(words), options=options)


def parse_option(option: Option, text: str) -> Any:
    """Return an option's value.

    Raises:
        UsageError: With the option's name in it.
    """
    try:
        return option.parse(text)
    except UsageError as mistake:
        if option.flag in mistake.problem:
            raise
        raise UsageError(f"{option.flag}: {mistake.problem}", mistake.remedy) from None


def _value_after(option: Option, rest: list[str]) -> str:
    reject_detached_value(option, rest)
    if option.is_flag:
        return "true"
    if rest and not rest[0].startswith("--"):
        return rest.pop(0)
    raise UsageError(
        f"{option.flag} needs a value.", f"Write {option.flag} {option.metavar}."
    )
