"""Errors for common typos on a magic's line, each with the correction to type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...config.options import Option
from ...errors import UsageError
from ...formatting import did_you_mean
from .command_table import CommandSpec

CURLY_QUOTES: Final = ("\u201c", "\u201d", "\u201e", "\u2018")
"""Opening curly quotes; the closing single one may be an apostrophe."""
_LONG_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_MODEL_FLAGS: Final = ("--model", "--models", "-m")
_BOOLEANS: Final = ("true", "false", "yes", "no", "on", "off")


def curly_quote_error() -> UsageError:
    """Return the error for quotes that a word processor made."""
    return UsageError(
        "A quote on this line is curly (“ ”), and only straight ones count.",
        "Type straight quotes: ' or \".",
    )


def unterminated_error(error: ValueError) -> UsageError:
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


def reject_unicode_dash(word: str) -> None:
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


def reject_detached_value(option: Option, rest: Sequence[str]) -> None:
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


def unknown_option_error(flag: str, spec: CommandSpec) -> UsageError:
    """Return the error for an unknown option, with the closest match."""
    known = spec.option_by_flag
    positive = flag.replace("--no-", "--", 1)
    hint = did_you_mean(flag, (*known, "--help"), f"See %{spec.name} --help.")
    if flag in _MODEL_FLAGS and any(each.is_model for each in spec.arguments):
        hint = "A model needs no option: write its name alone."
    elif positive != flag and positive in known and known[positive].is_flag:
        hint = f"Write {positive}=false"
    return UsageError(f"{flag} is not an option.", hint)
