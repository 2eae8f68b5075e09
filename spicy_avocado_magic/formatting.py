"""Text for people: sizes in decimal units, durations and near misses."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_KILO: Final = 1000.0
_BINARY_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT])iB\b")


def format_bytes(size_bytes: float) -> str:
    """Return a size in decimal units, such as ``4.7 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if round(size_bytes, 1) < _KILO:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= _KILO
    return f"{size_bytes:.1f} TB"


def with_decimal_sizes(text: str) -> str:
    """Return a program's message with its ``GiB`` replaced by decimal units."""

    def decimal(match: re.Match[str]) -> str:
        exponent = 10 * ("KMGT".index(match[2]) + 1)
        return format_bytes(float(match[1]) * 2**exponent)

    return _BINARY_SIZE.sub(decimal, text)


def format_duration(seconds: float) -> str:
    """Return a duration, such as ``0.4 s``, ``2 min 5 s`` or ``3 h 10 min``."""
    if round(seconds, 1) < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole_s = round(seconds)
    if whole_s < _HOUR_S:
        return f"{whole_s // _MINUTE_S} min {whole_s % _MINUTE_S} s"
    return f"{whole_s // _HOUR_S} h {whole_s % _HOUR_S // _MINUTE_S} min"


def closest_match(word: str, known: Iterable[str]) -> str:
    """Return the known word most like a misspelt one, or an empty text."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), "")


def did_you_mean(
    word: str, known: Iterable[str], otherwise: str, *, suffix: str = ""
) -> str:
    """Return the remedy for a misspelt word.

    Args:
        word: As it was typed.
        known: The words that would have been right.
        otherwise: The remedy where none of them is close.
        suffix: Shown after the closest one, such as ``=…``.
    """
    near = closest_match(word, known)
    return f"Did you mean {near}{suffix}?" if near else otherwise
