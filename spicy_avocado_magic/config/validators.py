"""Validators of option values: the parsed value, or UsageError with a remedy."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from ..errors import UsageError
from .credentials import looks_like_token
from .model_name import ModelName
from .tunnel import TUNNEL

OLLAMA_VERSION: Final = "0.34.1"
"""The release that is installed by default; the package is tested with it."""

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9.-]+(?::[0-9]{1,5})?")
_REGISTRY = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?")
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:-rc\d+)?", re.ASCII)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_SECONDS = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9_.~-]{8,200}")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_PORT: Final = 65535
_MAX_DIGITS: Final = 18


def parse_whole_number(text: str) -> int | None:
    """Return the number that ASCII digits write, or None for any other text.

    More than 18 digits are refused as well: ``int()`` raises beyond 4,300.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else None


def validate_model(name: str) -> str:
    """Return a model name that the engine accepts.

    A token in its place is refused, so that it is never shown or sent to a registry.

    Raises:
        UsageError: If it is not a model name.
    """
    if looks_like_token(name):
        raise UsageError(
            f"The name of a model was expected, but this is an {TUNNEL.name} token.",
            "Write --token before it, best with $NAME: --token $NAME",
        )
    ModelName.parse(name)
    return name


def validate_domain(text: str) -> str:
    """Return a public host name without a pasted ``https://`` and slash."""
    host = text.strip().lower().removeprefix("https://").rstrip("/")
    if not _DOMAIN.fullmatch(host):
        raise UsageError(
            f"--domain {text!r} is not a host name.",
            f"Use one of your {TUNNEL.name} account, such as {TUNNEL.domain_example}.",
        )
    return host


def validate_port(text: str) -> int:
    """Return a TCP port from 1 to 65535."""
    port = parse_whole_number(text) or 0
    if 0 < port <= _MAX_PORT:
        return port
    raise UsageError(f"--port {text!r} is not a port.", "Use a number from 1 to 65535.")


def validate_address(text: str) -> str:
    """Return ``address:port``; a port alone means loopback, ``none`` is empty."""
    if text == "none":
        return ""
    address, _, port = text.rpartition(":")
    host = address or "127.0.0.1"
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        return f"{host}:{validate_port(port)}"
    except (ValueError, UsageError):
        raise UsageError(
            f"{text!r} is neither a port nor ADDRESS:PORT.",
            "Use a port such as 9464 (on loopback), an address such as "
            "0.0.0.0:9464, or none.",
        ) from None


def parse_origins(text: str) -> tuple[str, ...]:
    """Return the web origins in a comma-separated list; ``none`` is empty."""
    origins = _split_list(text)
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise UsageError(
                f"--cors {origin!r} is not the origin of a web page.",
                "Use scheme and host alone, such as https://app.example, or *.",
            )
    return origins


def parse_registries(text: str) -> tuple[str, ...]:
    """Return the registry hosts in a comma-separated list; ``none`` is empty."""
    hosts = _split_list(text)
    for host in hosts:
        if not _REGISTRY.fullmatch(host):
            raise UsageError(
                f"--registry {host!r} is not the host of a registry.",
                "Use HOST or HOST:PORT, such as registry.example.org.",
            )
    return hosts


def _split_list(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(text.lower().replace(",", " ").split()))
    return () if words == ("none",) else words


def validate_context(text: str) -> int:
    """Return a context length in tokens."""
    tokens = parse_whole_number(text)
    if tokens:
        return tokens
    raise UsageError(
        f"--context {text!r} is not a number of tokens.", "Use one such as 8192."
    )


def is_key(text: str) -> bool:
    """Return whether a text may be an API key, in a header and in a path."""
    return bool(_KEY.fullmatch(text))


def validate_key(text: str) -> str:
    """Return an API key that is valid in a header and in a path."""
    if is_key(text):
        return text
    raise UsageError(
        "The --api-key is too short, too long, or has characters that are not allowed.",
        "Use 8 to 200 letters, digits or one of _ . ~ - without spaces.",
    )


def validate_version(text: str) -> str:
    """Return ``latest`` or a version without its leading ``v``."""
    version = text.removeprefix("v")
    if version == "latest" or _VERSION.fullmatch(version):
        return version
    raise UsageError(
        f"--ollama-version {text!r} is not a version.",
        f"Use X.Y.Z such as {OLLAMA_VERSION}, or latest.",
    )


def validate_keep_alive(text: str) -> str:
    """Return how long an idle model stays loaded, in the engine's own syntax."""
    if re.fullmatch(r"-?[0-9]+", text) or _DURATION.fullmatch(text):
        return text
    raise UsageError(
        f"--keep-alive {text!r} is not a duration.",
        "Use one such as 30m or 2h, or -1 for ever.",
    )


def parse_duration_s(text: str) -> float:
    """Return the seconds in ``2h``, ``90m``, ``1h30m`` or a bare number.

    The units are ``ms``, ``s``, ``m`` and ``h``, as in Go's ``time.ParseDuration``.

    Raises:
        UsageError: If it is not a duration.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    if _DURATION.fullmatch(text):
        parts = _DURATION_PART.findall(text)
        return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    raise UsageError(
        f"{text!r} is not a duration.", "Use one such as 90s, 45m, 2h or 1h30m."
    )
