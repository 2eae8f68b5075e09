"""Ask one host out there, and tell the ways in which it cannot be reached apart."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import requests

from ..engine.download.http import is_loopback
from ..system.redaction import strip_control_chars
from .machine import proxies

_ANSWER_SHARE: Final = 0.4
"""Of the bound for connecting, and again for the answer: both fit into it."""
_FORBIDDEN: Final = (403, 451)
_PROXY_WANTS_LOGIN: Final = 407
_SERVER_TROUBLE: Final = 500
INTERNET: Final = (
    "Check this notebook's internet access (on Kaggle: Settings → Internet on) and "
    "its proxy variables."
)
"""What to do where nothing out there answers."""


_MEND_TRUST: Final = (
    "Set the clock if it is wrong; behind a company's proxy set REQUESTS_CA_BUNDLE "
    "to its certificate file."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What came of asking.

    Attributes:
        host: Who was asked.
        problem: Why it cannot be used, in a sentence; empty if it can.
        remedy: What to do about it.
        status: Of its answer; 0 if there was none.
        date: What it says the time is, as in its ``Date`` header.
    """

    host: str
    problem: str = ""
    remedy: str = ""
    status: int = 0
    date: str = ""


def probe_url(url: str, bound_s: float, *, follow: bool = True) -> ProbeResult:
    """Ask by HTTP, through the proxy that the environment names; never raises.

    Args:
        url: Its answer's body is not read.
        bound_s: Longest wait; names that do not resolve may take longer.
        follow: Whether redirects lead on, as they do to where archives lie.
    """
    host = urlsplit(url).hostname or url
    with requests.Session() as session:
        session.trust_env = not is_loopback(url)
        wait_s = bound_s * _ANSWER_SHARE
        try:
            with session.get(
                url, timeout=(wait_s, wait_s), stream=True, allow_redirects=follow
            ) as answer:
                asked = urlsplit(answer.url).hostname or host
                date = answer.headers.get("Date", "")
                problem, remedy = _refusal(asked, answer.status_code)
                return ProbeResult(
                    host=asked,
                    problem=problem,
                    remedy=remedy,
                    status=answer.status_code,
                    date=date,
                )
        except requests.RequestException as error:
            asked = _asked_last(error) or host
            problem, remedy = _failure(asked, error)
            return ProbeResult(host=asked, problem=problem, remedy=remedy)


def probe_port(address: str, bound_s: float) -> ProbeResult:
    """Open a connection to ``host:port`` and close it; never raises."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), bound_s * _ANSWER_SHARE).close()
    except OSError as error:
        problem, remedy = _failure(host, error)
        return ProbeResult(host=host, problem=problem, remedy=remedy)
    return ProbeResult(host=host)


def _refusal(host: str, status: int) -> tuple[str, str]:
    """Return what an answer's status means where it is not the host's own yes or no."""
    if status == _PROXY_WANTS_LOGIN:
        return _proxy_login()
    if status in _FORBIDDEN:
        return (
            f"{host} is refused (HTTP {status}): a firewall, a proxy or it forbids it.",
            "Ask who runs this network to allow it.",
        )
    if status >= _SERVER_TROUBLE:
        return (
            f"{host} has trouble of its own (HTTP {status}).",
            "Try again later; nothing here is wrong.",
        )
    return "", ""


def _failure(host: str, error: Exception) -> tuple[str, str]:
    chain = tuple(_causes(error))
    if isinstance(error, requests.exceptions.ProxyError):
        return _proxy_failure(chain)
    if isinstance(error, requests.exceptions.SSLError):
        return (
            f"{host} shows a certificate that is not trusted here.",
            _MEND_TRUST,
        )
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return f"{host} has no address here: its name does not resolve.", INTERNET
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return f"{host} refuses the connection.", INTERNET
    if isinstance(error, (requests.Timeout, TimeoutError)):
        return f"{host} does not answer in time.", INTERNET
    return f"The connection to {host} broke ({type(chain[-1]).__name__}).", INTERNET


def _proxy_failure(chain: tuple[BaseException, ...]) -> tuple[str, str]:
    said = " ".join(str(cause) for cause in chain)
    if str(_PROXY_WANTS_LOGIN) in said:
        return _proxy_login()
    named = ", ".join(dict.fromkeys(proxies().values())) or "of this machine"
    for status in _FORBIDDEN:
        if f"failed: {status}" in said:
            return (
                f"The proxy {named} forbids this host (HTTP {status}).",
                "Ask who runs it to allow the host.",
            )
    return (
        f"The proxy {named} cannot be used ({type(chain[-1]).__name__}).",
        "Correct HTTPS_PROXY and HTTP_PROXY, or unset them.",
    )


def _proxy_login() -> tuple[str, str]:
    return (
        "The proxy wants a user and a password (HTTP 407).",
        "Set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT.",
    )


def _asked_last(error: requests.RequestException) -> str:
    """Return the host that failed, which a redirect may have led to."""
    url = error.request.url if error.request is not None else ""
    return strip_control_chars(urlsplit(url or "").hostname or "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that led to it; urllib3 keeps them in several places."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            reason = getattr(one, "reason", None)
            waiting += [one.__cause__, one.__context__, reason, *one.args]
