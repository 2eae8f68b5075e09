"""Checks of the hosts that the service needs, and of the clock.

Addresses come from ``Endpoints``, so a rehearsal checks its own loopback world.
"""

from __future__ import annotations

import platform
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import requests

from ..config.model_name import ModelName
from ..config.tunnel import TUNNEL
from ..config.validators import OLLAMA_VERSION
from ..errors import AvocadoError
from ..formatting import format_duration
from ..protocol.finding import CheckStatus, Finding, broken, ok, unknown, warning
from ..system.network import NetworkFailure, classify_failure, is_loopback, iter_causes
from ..system.redaction import strip_control_chars
from .context import DoctorContext
from .machine import proxies

_ANY_MODEL: Final = "llama3"
_SKEW_WARNING_S: Final = 60.0
_SKEW_BROKEN_S: Final = 86400.0
"""Certificates are often only a few hours older or younger than this."""
_TIMEOUT_SHARE: Final = 0.4
"""Of the time limit for connecting, and again for the response: both fit into it."""
_FORBIDDEN: Final = (403, 451)
_PROXY_AUTHENTICATION_REQUIRED: Final = 407
_SERVER_ERROR: Final = 500
_PROXY_LOGIN: Final = (
    "The proxy requires a user and a password (HTTP 407).",
    "Set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT.",
)


def check_registry(context: DoctorContext) -> Finding:
    """Check that the registry answers for the first model of the settings."""
    sources = context.settings.sources
    model = next(iter(context.settings.models), _ANY_MODEL)
    name = ModelName.parse(model)
    if sources.registry and "/" not in model:
        name = ModelName(host=sources.registry, model=name.model, tag=name.tag)
    url = f"{name.registry_url}/manifests/{name.tag}"
    return _to_finding(probe_url(url, context.timeouts.diagnosis_host_s))


def check_releases(context: DoctorContext) -> Finding:
    """Check that the engine can be downloaded, where that may be needed."""
    from ..engine.install.release import archive_for

    requested = context.settings.ollama_version
    version = OLLAMA_VERSION if requested in ("", "latest") else requested
    url = context.settings.sources.releases_url
    try:
        archive = archive_for(version, url, platform.system(), platform.machine())
    except AvocadoError as error:
        return broken(error.problem, error.remedy)
    result = probe_url(archive.checksums_url, context.timeouts.diagnosis_host_s)
    found = _to_finding(result)
    is_broken = found.verdict is CheckStatus.BROKEN
    if is_broken and shutil.which("ollama") and not requested:
        message = f"{found.what} The ollama on PATH is used instead."
        return warning(message, found.remedy)
    return found


def check_agent_download(context: DoctorContext) -> Finding:
    """Check that the tunnel's agent can be downloaded, if it is not installed."""
    path = context.provider.program_path(context.settings.sources.tunnel_program)
    if path is None or path.exists():
        return ok("Not needed: the agent is installed.")
    url = context.provider.download_url()
    return _to_finding(probe_url(url, context.timeouts.diagnosis_host_s))


def check_edge(context: DoctorContext) -> Finding:
    """Check that the agent can connect to the provider's edge."""
    address = context.settings.sources.edge_address or TUNNEL.edge_address
    result = probe_port(address, context.timeouts.diagnosis_host_s)
    if result.problem and proxies():
        return warning(
            f"{result.problem} The agent may still connect through the proxy.",
            "If the tunnel does not open, ask the administrator of this network to "
            "allow port 443 without the proxy.",
        )
    return _to_finding(result)


def check_clock(context: DoctorContext) -> Finding:
    """Compare the clock with that of a host, without TLS, which needs a right clock."""
    url = urlsplit(context.settings.sources.releases_url)
    without_tls = urlunsplit(("http", url.netloc, "/", "", ""))
    for address in dict.fromkeys((without_tls, url.geturl())):
        began = time.time()
        limit_s = context.timeouts.diagnosis_host_s / 2
        result = probe_url(address, limit_s, follow=False)
        now = (began + time.time()) / 2
        if result.date:
            return judge_clock(result, now)
    return unknown(
        "No remote host reported the time.",
        "Correct what is reported about the hosts, then run %avocado_doctor again.",
    )


def judge_clock(result: ProbeResult, now: float) -> Finding:
    """Compare a host's time with ours, ``now`` in seconds since 1970."""
    try:
        ahead_s = now - parsedate_to_datetime(result.date).timestamp()
    except ValueError:
        return unknown(
            f"{result.host} reports a time that cannot be read.",
            "Compare this machine's clock with another one yourself.",
        )
    if abs(ahead_s) <= _SKEW_WARNING_S:
        return ok(f"Right to the minute, compared with {result.host}.")
    direction = "ahead of" if ahead_s > 0 else "behind"
    problem = f"It is {format_duration(abs(ahead_s))} {direction} that of {result.host}"
    remedy = "Set the clock, or restart the machine or runtime."
    if abs(ahead_s) > _SKEW_BROKEN_S:
        return broken(f"{problem}: certificates are refused.", remedy)
    return warning(f"{problem}; certificates may be refused.", remedy)


def _to_finding(result: ProbeResult) -> Finding:
    if result.problem:
        return broken(result.problem, result.remedy)
    return ok(f"{result.host} answers.")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Result of a probe.

    Attributes:
        host: The host that answered or failed; a redirect may have led to it.
        problem: Why it cannot be used, in a sentence; empty if it can.
        remedy: What to do about it.
        date: ``Date`` header of the response.
    """

    host: str
    problem: str = ""
    remedy: str = ""
    date: str = ""


def probe_url(url: str, limit_s: float, *, follow: bool = True) -> ProbeResult:
    """Request a URL through the proxy that the environment names; never raises.

    Args:
        url: The body of the response is not read.
        limit_s: Time limit; names that do not resolve may take longer.
        follow: Whether to follow redirects, as a download of an archive does.
    """
    host = urlsplit(url).hostname or url
    with requests.Session() as session:
        session.trust_env = not is_loopback(url)
        timeout = (limit_s * _TIMEOUT_SHARE,) * 2
        try:
            with session.get(
                url, timeout=timeout, stream=True, allow_redirects=follow
            ) as response:
                host = urlsplit(response.url).hostname or host
                date = response.headers.get("Date", "")
                return ProbeResult(
                    host, *_status_problem(host, response.status_code), date
                )
        except requests.RequestException as error:
            host = _failed_host(error) or host
            return ProbeResult(host, *_explain(host, error))


def probe_port(address: str, limit_s: float) -> ProbeResult:
    """Open a connection to ``host:port`` and close it; never raises."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), limit_s * _TIMEOUT_SHARE).close()
    except OSError as error:
        return ProbeResult(host, *_explain(host, error))
    return ProbeResult(host)


def _status_problem(host: str, status: int) -> tuple[str, str]:
    """Return problem and remedy of a status that the host's own service did not set."""
    if status == _PROXY_AUTHENTICATION_REQUIRED:
        return _PROXY_LOGIN
    if status in _FORBIDDEN:
        problem = f"Access to {host} is forbidden (HTTP {status})"
        return (
            f"{problem} by a firewall, a proxy or the host itself.",
            "Ask the administrator of this network to allow it.",
        )
    if status >= _SERVER_ERROR:
        return (
            f"{host} has an error of its own (HTTP {status}).",
            "Try again later; nothing is wrong on this machine.",
        )
    return "", ""


def _explain(host: str, error: Exception) -> tuple[str, str]:
    if isinstance(error, requests.exceptions.ProxyError):
        return _proxy_problem(tuple(iter_causes(error)))
    failure = classify_failure(error)
    if isinstance(error, requests.Timeout):
        failure = NetworkFailure.NO_ANSWER
    elif isinstance(error, requests.exceptions.SSLError):
        failure = NetworkFailure.UNTRUSTED
    return failure.explain(host, error)


def _proxy_problem(causes: Sequence[BaseException]) -> tuple[str, str]:
    message = " ".join(map(str, causes))
    if str(_PROXY_AUTHENTICATION_REQUIRED) in message:
        return _PROXY_LOGIN
    addresses = ", ".join(dict.fromkeys(proxies().values())) or "of this machine"
    for status in _FORBIDDEN:
        if f"failed: {status}" in message:
            return (
                f"The proxy {addresses} forbids this host (HTTP {status}).",
                "Ask the administrator of the proxy to allow the host.",
            )
    return (
        f"The proxy {addresses} cannot be used ({type(causes[-1]).__name__}).",
        "Correct HTTPS_PROXY and HTTP_PROXY, or unset them.",
    )


def _failed_host(error: requests.RequestException) -> str:
    url = error.request.url if error.request is not None else ""
    return strip_control_chars(urlsplit(url or "").hostname or "")
