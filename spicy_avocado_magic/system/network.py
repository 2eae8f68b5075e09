"""Classification of network failures for every HTTP library, and loopback URLs."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from enum import Enum
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

INTERNET: Final = (
    "Check this notebook's internet access (on Kaggle: Settings → Internet on) and "
    "its proxy variables."
)
_CERTIFICATE: Final = (
    "Set the clock if it is wrong; behind a company's proxy, set REQUESTS_CA_BUNDLE "
    "to its certificate file."
)
_NO_ROUTE: Final = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}


class NetworkFailure(Enum):
    """Why a request to a host failed: a problem with ``{host}``, and a remedy."""

    UNTRUSTED = ("{host} has a certificate that is not trusted here.", _CERTIFICATE)
    UNKNOWN_NAME = ("{host} cannot be found: its name does not resolve.", INTERNET)
    REFUSED = ("{host} refuses the connection.", INTERNET)
    UNREACHABLE = ("{host} cannot be reached.", INTERNET)
    NO_ANSWER = ("{host} does not answer in time.", INTERNET)
    BROKEN = ("The connection to {host} broke ({cause}).", INTERNET)

    def explain(self, host: str, error: BaseException) -> tuple[str, str]:
        """Return problem and remedy for this host."""
        problem, remedy = self.value
        cause = type(list(iter_causes(error))[-1]).__name__
        return problem.format(host=host, cause=cause), remedy


def classify_failure(error: BaseException) -> NetworkFailure:
    """Return the kind of failure, from the built-in exceptions that caused an error."""
    causes = list(iter_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return NetworkFailure.UNTRUSTED
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return NetworkFailure.UNKNOWN_NAME
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return NetworkFailure.REFUSED
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return NetworkFailure.NO_ANSWER
    if any(isinstance(x, OSError) and x.errno in _NO_ROUTE for x in causes):
        return NetworkFailure.UNREACHABLE
    return NetworkFailure.BROKEN


def iter_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all its causes; urllib3 also keeps them in ``reason``."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            reason = getattr(cause, "reason", None)
            waiting += [cause.__cause__, cause.__context__, reason, *cause.args]


def is_loopback(url: str) -> bool:
    """Return whether a URL's host is a loopback address or ``localhost``."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
