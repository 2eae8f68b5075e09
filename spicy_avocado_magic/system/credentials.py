"""Credentials: where a token comes from and what one looks like."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..errors import InvalidToken, SecretMissing
from .platforms import detect_platform
from .redaction import Secret

TOKEN_VARIABLE: Final = "NGROK_AUTHTOKEN"  # noqa: S105


_NAME = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,200}")


_CERTAIN = re.compile(r"[A-Za-z0-9]{20,}_[A-Za-z0-9]{10,}")


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
        InvalidToken: With what to paste instead.
    """
    text = token.strip()
    if _TOKEN.fullmatch(text):
        return text
    raise InvalidToken(
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
        return value.get_secret_value() if isinstance(value, Secret) else str(value)
    environ = os.environ if environ is None else environ
    if name in environ:
        return environ[name]
    return platform(name) if platform is not None else None
