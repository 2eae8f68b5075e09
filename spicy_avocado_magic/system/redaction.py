"""Secrets that mask themselves, and redaction of secrets and control characters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_CONTROL = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]")
_OTHER_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SHORTEST_REDACTED: Final = 6


class Secret:
    """A string masked in ``str`` and ``repr``; read its value only where it is used."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        """Return the unmasked text."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('•••')" if self._text else "Secret('')"

    __str__ = __repr__


class Redactor:
    """Removes known secrets and control characters from output and logs."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Add texts to redact; those under ``_SHORTEST_REDACTED`` are ignored."""
        self._secrets |= {text for text in secrets if len(text) >= _SHORTEST_REDACTED}

    def __call__(self, text: str) -> str:
        """Return the text without known secrets and control characters."""
        # Before the search: an escape sequence inside a secret must not hide it.
        text = strip_control_chars(text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "•••")
        return text


def strip_control_chars(text: str) -> str:
    """Return the text without terminal escape sequences and control characters."""
    return _OTHER_CONTROL.sub("", _CONTROL.sub("", text.replace("\r\n", "\n")))


def mask(text: str) -> str:
    """Return a key's first four characters, or only dots if it is short."""
    return f"{text[:4]}…" if len(text) > 12 else "•••"  # noqa: PLR2004
