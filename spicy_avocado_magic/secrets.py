"""Where a token comes from, a type that hides it, and the redactor of all output."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from .errors import SecretMissing, TokenRefused
from .platforms import detect_platform

TOKEN_VARIABLE: Final = "NGROK_AUTHTOKEN"  # noqa: S105
_NAME = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,200}")
_CERTAIN = re.compile(r"[A-Za-z0-9]{20,}_[A-Za-z0-9]{10,}")
_CONTROL = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]")
_OTHER_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SHORTEST_REDACTED: Final = 6


class Secret:
    """A text that masks itself wherever it is printed; open it at the edge only."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def open(self) -> str:
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
        text = plain_text(text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "•••")
        return text


def plain_text(text: str) -> str:
    """Strip what a terminal would obey: escape sequences and control characters."""
    return _OTHER_CONTROL.sub("", _CONTROL.sub("", text.replace("\r\n", "\n")))


def masked(text: str) -> str:
    """Return a key so that its owner knows which one it is, and nobody else."""
    return f"{text[:4]}…" if len(text) > 12 else "•••"  # noqa: PLR2004


def resolve(
    text: str,
    namespace: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    platform_secret: Callable[[str], str | None] | None = None,
) -> str:
    """Replace ``$NAME`` or ``${NAME}`` when it is the whole of an argument.

    Looked for in the notebook's variables, the environment, then the platform's
    secret store. Any other text is returned as it is.

    Raises:
        SecretMissing: If the name is in none of them.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        return text
    name = match[1] or match[2]
    found = _look_up(name, namespace, environ, platform_secret)
    if found is None:
        raise SecretMissing(
            f"${name} is not defined.",
            f"Set it in a cell ({name} = …), in the environment, or as a secret "
            f"of this notebook platform.",
        )
    return found


def find_token(
    namespace: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    platform_secret: Callable[[str], str | None] | None = None,
    ask: Callable[[str], str] | None = None,
) -> str:
    """Return the tunnel's token from where tokens are kept, or by asking.

    Raises:
        SecretMissing: If it is nowhere and nobody is there to be asked.
    """
    found, withheld = None, None
    try:
        found = _look_up(TOKEN_VARIABLE, namespace, environ, platform_secret)
    except SecretMissing as error:
        withheld = error
    if not found and ask is not None:
        found = ask("ngrok authtoken (dashboard.ngrok.com): ").strip()
    if not found:
        raise withheld or SecretMissing(
            "No ngrok token was given.",
            f"Pass --token $NAME, set NGROK_AUTHTOKEN{detect_platform().or_add_it}, "
            "or use --local for no tunnel.",
        )
    return found


def looks_like_token(text: str) -> bool:
    """Whether it can only be an authtoken, which is not to be shown again."""
    return _CERTAIN.fullmatch(text) is not None


def check_token(token: str) -> str:
    """Return a token that has the shape of one, else refuse it before it is used.

    Raises:
        TokenRefused: With what to paste instead.
    """
    text = token.strip()
    if _TOKEN.fullmatch(text):
        return text
    raise TokenRefused(
        "The ngrok token is malformed (ERR_NGROK_105).",
        "Paste the Authtoken from dashboard.ngrok.com/get-started/your-authtoken, "
        "not an API key.",
    )


def _look_up(
    name: str,
    namespace: Mapping[str, Any],
    environ: Mapping[str, str] | None,
    platform: Callable[[str], str | None] | None,
) -> str | None:
    value = namespace.get(name)
    if value is not None:
        return value.open() if isinstance(value, Secret) else str(value)
    environ = os.environ if environ is None else environ
    if name in environ:
        return environ[name]
    return platform(name) if platform is not None else None
