"""Slips of the fingers on a magic's line, each with what to type instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...config.options import Option
from ...errors import UsageError
from ...formatting import did_you_mean
from .commands import CommandSpec

CURLY_QUOTES: Final = ("\u201c", "\u201d", "\u201e", "\u2018")
"""Those that begin a quoted text; the closing single one may be an apostrophe."""
_LONG_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_MODEL_FLAGS: Final = ("--model", "--models", "-m")
_TRUTHS: Final = ("true", "false", "yes", "no", "on", "off")


def curly_quote_error() -> UsageError:
    """Return what is said of quotes that a word processor made."""
    return UsageError(
        "A quote on this line is curly, so it quotes nothing.",
        "Type straight quotes: ' or \".",
    )


def unterminated_error(reason: ValueError) -> UsageError:
    """Return what is said of a line that is not over where it ends."""
    if "escape" in str(reason).lower():
        return UsageError(
            "This line ends with a backslash, and nothing follows.",
            "Leave it out, or go on in the next line.",
        )
    return UsageError(
        "A quote on this line is not closed.", "Close it, or leave it out."
    )


def reject_unicode_dash(word: str) -> None:
    """Refuse a word that was meant for an option.

    Raises:
        UsageError: Without the option's value, which may be a secret.
    """
    if word.lstrip("-")[:1] in tuple(_LONG_DASHES):
        flag = word.partition("=")[0]
        raise UsageError(
            f"{flag} begins with a dash that is no hyphen.",
            f"Type --{flag.lstrip('-' + _LONG_DASHES)}, with two hyphens.",
        )


def reject_detached_value(option: Option, rest: Sequence[str]) -> None:
    """Refuse a value that would be taken for another word.

    Args:
        option: That stands before it, without ``=``.
        rest: What follows on the line.

    Raises:
        UsageError: Without the value, if it may be a secret.
    """
    word = rest[0] if rest else ""
    if word.startswith("="):
        example = f"{option.flag}={option.metavar or 'false'}"
        raise UsageError(
            f"A blank stands between {option.flag} and =.", f"Write {example}"
        )
    if option.is_flag and word.lower() in _TRUTHS:
        raise UsageError(
            f"A blank stands between {option.flag} and {word}.",
            f"Write {option.flag}={word}",
        )


def unknown_option_error(flag: str, command: CommandSpec) -> UsageError:
    """Return what is said of an option that there is not, with the nearest one."""
    known = command.option_by_flag
    undone = flag.replace("--no-", "--", 1)
    hint = did_you_mean(flag, (*known, "--help"), "--help lists them.")
    if flag in _MODEL_FLAGS and "MODEL" in command.words:
        hint = "A model needs none: write its name alone."
    elif undone != flag and undone in known and known[undone].is_flag:
        hint = f"Write {undone}=false"
    return UsageError(f"{flag} is not an option.", hint)
