"""Where a token comes from, a type that hides it, and the redactor of all output."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_CONTROL = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]")
_OTHER_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SHORTEST_REDACTED: Final = 6


class Secret:
    """A text that masks itself wherever it is printed; open it at the edge only."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        """Return the text itself."""
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
    """Takes known secrets and control characters out of everything shown or logged."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Remember texts that must not be seen; very short ones are passed over."""
        self._secrets |= {text for text in secrets if len(text) >= _SHORTEST_REDACTED}

    def __call__(self, text: str) -> str:
        """Return the text without known secrets and control characters."""
        # Stripped first: escape sequences inside a secret must not hide it.
        text = strip_control_chars(text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "•••")
        return text


def strip_control_chars(text: str) -> str:
    """Strip what a terminal would obey: escape sequences and control characters."""
    return _OTHER_CONTROL.sub("", _CONTROL.sub("", text.replace("\r\n", "\n")))


def mask(text: str) -> str:
    """Return a key so that its owner knows which one it is, and nobody else."""
    return f"{text[:4]}…" if len(text) > 12 else "•••"  # noqa: PLR2004
