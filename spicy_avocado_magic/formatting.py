"""Sizes, durations and spelling suggestions for people."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_KILO: Final = 1000.0


def format_bytes(size_bytes: float) -> str:
    """Return a size in decimal units: ``4.7 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if round(size_bytes, 1) < _KILO:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= _KILO
    return f"{size_bytes:.1f} TB"


def format_duration(seconds: float) -> str:
    """Return a duration as text: ``0.4 s``, ``2 min 5 s``, ``3 h 10 min``."""
    if round(seconds, 1) < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole_s = round(seconds)
    if whole_s < _HOUR_S:
        return f"{whole_s // _MINUTE_S} min {whole_s % _MINUTE_S} s"
    return f"{whole_s // _HOUR_S} h {whole_s % _HOUR_S // _MINUTE_S} min"


def closest_match(word: str, known: Iterable[str]) -> str:
    """Return the known word most like a misspelt one; empty if none is alike."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), "")


def did_you_mean(
    word: str, known: Iterable[str], otherwise: str, *, form: str = "{}"
) -> str:
    """Return a remedy for a misspelt word.

    Args:
        word: As it was typed.
        known: The words that would have been right.
        otherwise: The remedy if none of them is alike.
        form: How the word is written, such as ``{}=…``.
    """
    near = closest_match(word, known)
    return f"Did you mean {form.format(near)}?" if near else otherwise
