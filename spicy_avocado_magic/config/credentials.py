"""Lookup of ``$NAME`` arguments and of the tunnel's token, and its shape."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..errors import InvalidToken, SecretMissing
from ..system.platforms import detect_platform
from ..system.redaction import Secret
from .tunnel import TUNNEL

_NAME = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_CREDENTIAL: Final = TUNNEL.credential


def resolve(
    text: str,
    namespace: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    platform_secret: Callable[[str], str | None] | None = None,
) -> str:
    """Return the value of ``$NAME`` or ``${NAME}``, if that is the whole argument.

    The notebook's variables, the environment and the platform's secret store are
    searched in this order. Any other text is returned unchanged.

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
    """Return the tunnel's token from the usual places, or ask the user for it.

    It is empty if it was not found and the provider does not require one.

    Raises:
        SecretMissing: If it is in none of them and the user cannot be asked.
    """
    found, withheld = None, None
    try:
        found = _look_up(_CREDENTIAL.variable, namespace, environ, platform_secret)
    except SecretMissing as error:
        withheld = error
    if not found and not _CREDENTIAL.is_required:
        return ""
    if not found and ask is not None:
        found = ask(f"{TUNNEL.name} {_CREDENTIAL.name} ({_CREDENTIAL.page}): ").strip()
    if not found:
        raise withheld or SecretMissing(
            f"No {TUNNEL.name} token was given.",
            f"Pass --token $NAME, set {_CREDENTIAL.variable}"
            f"{detect_platform().or_add_it}, or use --local for no tunnel.",
        )
    return found


def looks_like_token(text: str) -> bool:
    """Return whether a text is certainly a token, which must not be shown again."""
    return _CREDENTIAL.certain_shape.fullmatch(text) is not None


def check_token(token: str) -> str:
    """Return a token without surrounding space, if it has the shape of one.

    Raises:
        InvalidToken: If it has not; the remedy says what to paste instead.
    """
    text = token.strip()
    if _CREDENTIAL.shape.fullmatch(text):
        return text
    raise InvalidToken(
        f"The {TUNNEL.name} token is malformed ({_CREDENTIAL.malformed_code}).",
        f"Paste the {_CREDENTIAL.name} from {_CREDENTIAL.page}, not an API key.",
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
