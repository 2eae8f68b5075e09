"""Parser of a magic's line, driven by the command table; independent of IPython.

Common typos get an error of their own, with the correction to type.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...config.options import Option, parse_text
from ...config.validators import validate_model
from ...errors import SecretMissing, UsageError
from ...formatting import did_you_mean
from .command_table import Argument, CommandSpec
from .variables import VariableResolver

_PIECE: Final = re.compile(
    r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|(?P<comment>(?<!\S)\#.*)|.""", re.DOTALL
)
"""A quoted text, an escaped character, a comment, or any one character."""
_END: Final = re.compile(r"[;\s]+\Z")
_CURLY_QUOTES: Final = ("\u201c", "\u201d", "\u201e", "\u2018")
"""Opening curly quotes; the closing single one may be an apostrophe."""
_LONG_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_MODEL_FLAGS: Final = ("--model", "--models", "-m")
_BOOLEANS: Final = ("true", "false", "yes", "no", "on", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedLine:
    """The words and options of a line as typed, with no ``$NAME`` looked up."""

    words: tuple[str, ...] = ()
    options: Mapping[str, str]
    """Text by the option's flag; ``true`` for a bare flag."""


def parse_line(
    spec: CommandSpec, line: str, variables: VariableResolver
) -> dict[str, Any]:
    """Return the value of every argument and option of a command, by name.

    What is not on the line is False for a flag, None for another option, empty for
    an argument.

    Raises:
        UsageError: With what to type instead.
        SecretMissing: If a ``$NAME`` is not defined anywhere.
    """
    values: dict[str, Any] = {
        option.name: False if option.is_flag else None for option in spec.options
    }
    values |= {
        argument.name: () if argument.repeats else "" for argument in spec.arguments
    }
    values |= resolve_line(spec, sort_words(spec, line), variables)
    for pair in spec.exclusive:
        if all(values[name] for name in pair):
            flags = " and ".join(f"--{name}" for name in pair)
            raise UsageError(f"{flags} cannot be used together.", "Leave out one.")
    return values


def asks_for_help(line: str) -> bool:
    """Return whether a line has ``--help`` in it, or is ``help`` or ``?``.

    Raises:
        UsageError: If the line cannot be split into words.
    """
    words = split(line)
    return "--help" in words or "-h" in words or words in (["help"], ["?"])


def split(line: str) -> list[str]:
    """Split a line as a shell does: quotes, ``# comments`` and a trailing ``;``.

    Raises:
        UsageError: If a quote is curly or open, or nothing follows a backslash.
    """
    pieces = [match for match in _PIECE.finditer(line) if not match["comment"]]
    if any(piece[0] in _CURLY_QUOTES for piece in pieces):
        raise UsageError(
            "A quote on this line is curly (“ ”), and only straight ones count.",
            "Type straight quotes: ' or \".",
        )
    try:
        # shlex takes a "#" inside a word for a comment, too; a shell does not.
        return shlex.split(_END.sub("", "".join(piece[0] for piece in pieces)))
    except ValueError as error:
        raise _unterminated_error(error) from None


def sort_words(spec: CommandSpec, line: str) -> ParsedLine:
    """Separate the words of a line from its options.

    Raises:
        UsageError: With the closest option, or the first word that is too many.
    """
    words: list[str] = []
    options: dict[str, str] = {}
    rest = split(line)
    while rest:
        word = rest.pop(0)
        _reject_unicode_dash(word)
        flag, equals, value = word.partition("=")
        if not word.startswith("-"):
            words.append(word)
            continue
        option = spec.option_by_flag.get(flag)
        if option is None:
            raise _unknown_option_error(flag, spec)
        if not equals:
            value = _value_after(option, rest)
        if option.repeats and flag in options:
            value = f"{options[flag]},{value}"
        options[flag] = value
    parsed = ParsedLine(words=tuple(words), options=options)
    _check_words(spec, parsed)
    return parsed


def resolve_line(
    spec: CommandSpec,
    parsed: ParsedLine,
    variables: VariableResolver,
    dispensable: Container[str] = (),
) -> dict[str, Any]:
    """Return the value of each argument and option that is on the line, by name.

    Args:
        spec: The command.
        parsed: Its line.
        variables: Where ``$NAME`` is looked up.
        dispensable: Options to leave out where their ``$NAME`` is not defined.

    Raises:
        UsageError: If a value is wrong.
        SecretMissing: If a ``$NAME`` is not defined anywhere.
    """
    values: dict[str, Any] = {}
    for flag, text in parsed.options.items():
        option = spec.option_by_flag[flag]
        resolved = resolve_option(option, text, variables, dispensable)
        if resolved is not None:
            values[option.name] = parse_option(option, resolved)
    for argument, word in zip(spec.arguments, parsed.words, strict=False):
        if argument.repeats:
            found = [variables.models(text) for text in parsed.words]
            values[argument.name] = tuple(name for names in found for name in names)
        else:
            values[argument.name] = _argument_value(spec, argument, word, variables)
    return values


def resolve_option(
    option: Option,
    text: str,
    variables: VariableResolver,
    dispensable: Container[str] = (),
) -> str | None:
    """Return an option's text, its ``$NAME`` looked up; None if it is left out.

    Raises:
        SecretMissing: If a ``$NAME`` is not defined anywhere.
    """
    try:
        if option.name == "models":
            return ",".join(variables.models(text))
        return variables.resolve(text)
    except SecretMissing:
        if option.name in dispensable:
            return None
        raise


def parse_option(option: Option, text: str) -> Any:
    """Return an option's value.

    Raises:
        UsageError: With the option's name in it.
    """
    try:
        return option.parse(text)
    except UsageError as error:
        if option.flag in error.problem:
            raise
        raise UsageError(f"{option.flag}: {error.problem}", error.remedy) from None


def missing_body_error(spec: CommandSpec) -> UsageError:
    """Return the error for a cell magic without the body that it needs."""
    usage = f"{spec.usage}, with two % signs, and the {spec.body} on the next line."
    return UsageError(f"The {spec.body} below is missing.", f"Write {usage}")


def _value_after(option: Option, rest: list[str]) -> str:
    _reject_detached_value(option, rest)
    if option.is_flag:
        return "true"
    if rest and not rest[0].startswith("--"):
        return rest.pop(0)
    raise UsageError(
        f"{option.flag} needs a value.", f"Write {option.flag} {option.metavar}."
    )


def _check_words(spec: CommandSpec, parsed: ParsedLine) -> None:
    if not spec.arguments and parsed.words:
        raise UsageError(
            f"%{spec.name} takes no {parsed.words[0]!r}.", f"See %{spec.name} --help."
        )
    repeats = any(argument.repeats for argument in spec.arguments)
    for word in () if repeats else parsed.words[len(spec.arguments) :]:
        remedy = f"Write {spec.usage}"
        for flag in parsed.options:
            if spec.option_by_flag[flag].parse is parse_text:
                remedy = f'Put quotes around a value with spaces: {flag} "Be brief."'
        raise UsageError(f"{word!r} is one word too many.", remedy)
    for argument in spec.arguments[len(parsed.words) :]:
        if argument.is_required:
            raise UsageError(f"The {argument.name} is missing.", f"Write {spec.usage}")


def _argument_value(
    spec: CommandSpec, argument: Argument, word: str, variables: VariableResolver
) -> str:
    if argument.is_model:
        models = variables.models(word)
        return validate_model(models[0]) if models else ""
    if argument.choices and word not in argument.choices:
        hint = did_you_mean(word, argument.choices, f"Write {spec.usage}")
        raise UsageError(f"%{spec.name} has no {word!r}.", hint)
    return word if argument.choices else variables.resolve(word)


def _unterminated_error(error: ValueError) -> UsageError:
    """Return the error for a line that ends inside a quote or after a backslash.

    Args:
        error: From ``shlex``.
    """
    if "escape" in str(error).lower():
        return UsageError(
            "This line ends with a backslash, and nothing follows it.",
            "Remove the backslash, or continue on the next line.",
        )
    return UsageError("A quote on this line is not closed.", "Close it, or remove it.")


def _reject_unicode_dash(word: str) -> None:
    """Refuse a word that begins with a long dash where ``--`` was meant.

    Raises:
        UsageError: Without the option's value, which may be a secret.
    """
    if word.lstrip("-")[:1] in tuple(_LONG_DASHES):
        flag = word.partition("=")[0]
        raise UsageError(
            f"{flag} begins with a long dash, which is not a hyphen.",
            f"Type --{flag.lstrip('-' + _LONG_DASHES)}, with two hyphens.",
        )


def _reject_detached_value(option: Option, rest: Sequence[str]) -> None:
    """Refuse a value that is separated from its option by a space too many.

    Args:
        option: Typed without ``=``.
        rest: The words after it.

    Raises:
        UsageError: Without the value if it may be a secret.
    """
    word = rest[0] if rest else ""
    if word.startswith("="):
        example = f"{option.flag}={option.metavar or 'false'}"
        raise UsageError(
            f"There is a space between {option.flag} and =.", f"Write {example}"
        )
    if option.is_flag and word.lower() in _BOOLEANS:
        raise UsageError(
            f"There is a space between {option.flag} and {word}.",
            f"Write {option.flag}={word}",
        )


def _unknown_option_error(flag: str, spec: CommandSpec) -> UsageError:
    """Return the error for an unknown option, with the closest match."""
    known = spec.option_by_flag
    positive = flag.replace("--no-", "--", 1)
    hint = did_you_mean(flag, (*known, "--help"), f"See %{spec.name} --help.")
    if flag in _MODEL_FLAGS and any(each.is_model for each in spec.arguments):
        hint = "A model needs no option: write its name alone."
    elif positive != flag and positive in known and known[positive].is_flag:
        hint = f"Write {positive}=false"
    return UsageError(f"{flag} is not an option.", hint)
