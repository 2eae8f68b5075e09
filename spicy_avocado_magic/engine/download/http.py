"""HTTP as this room speaks it: proxies, certificates, and what errors mean."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import certifi

from ...config.timeouts import Timeouts
from ...errors import ComponentFailed, DownloadFailed, NetworkUnreachable, UsageError
from ...system.network import NetworkFailure, classify_failure, is_loopback

READ_BYTES: Final = 1 << 18
"""Also the most that is lost when a connection is cut: aiohttp drops its buffer."""

_TEXT_BYTES: Final = 4 << 20
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class HTTPStatusError(Exception):
    """An HTTP status in place of what was asked for; never leaves this room."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


def open_session(url: str, timeouts: Timeouts) -> aiohttp.ClientSession:
    """Return a session for one server; the caller closes it.

    Proxy variables are honoured, but never on the way to loopback, where no proxy
    could lead. A read without a byte for ``timeouts.stall_s`` ends with an error.

    Raises:
        UsageError: If ``REQUESTS_CA_BUNDLE`` names a file that is not there.
    """
    return aiohttp.ClientSession(
        trust_env=not is_loopback(url),
        connector=aiohttp.TCPConnector(ssl=_trusted()),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=timeouts.request_s, sock_read=timeouts.stall_s
        ),
        read_bufsize=READ_BYTES,
        headers={"User-Agent": "spicy-avocado-magic"},
    )


def _trusted() -> ssl.SSLContext:
    variables = os.environ.get
    places = (variables("SSL_CERT_FILE"), variables("SSL_CERT_DIR"))
    return _ssl_context(variables("REQUESTS_CA_BUNDLE", ""), *places)


@lru_cache(maxsize=4)
def _ssl_context(bundle: str, *_: str | None) -> ssl.SSLContext:
    """Trust what ``requests`` would, else the system; OpenSSL reads SSL_CERT_FILE.

    Reading all certificates takes longer than a small request, so it is done once.
    """
    if not bundle:
        context = ssl.create_default_context()
        if ssl.get_default_verify_paths().cafile is None:
            context.load_verify_locations(certifi.where())
        return context
    path = Path(bundle)
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise UsageError(
            f"REQUESTS_CA_BUNDLE names {bundle}, which is no certificate file.",
            "Correct the variable or remove it.",
        ) from error


def retry_after_s(response: aiohttp.ClientResponse) -> float:
    """Return the seconds that ``Retry-After`` asks to wait; 0 if it does not."""
    told = response.headers.get("Retry-After", "")
    if told.isascii() and told.isdigit():
        return float(told)
    try:
        until = parsedate_to_datetime(told)
    except ValueError:
        return 0.0
    return max(0.0, until.timestamp() - time.time())


@contextlib.contextmanager
def map_http_errors(url: str) -> Iterator[None]:
    """Turn what aiohttp raises on the way to ``url`` into our errors.

    Raises:
        NetworkUnreachable: If there is no way to the server.
        DownloadFailed: If the connection broke, or stood still.
    """
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise _to_error(urlsplit(url).hostname or url, error) from error


def _to_error(host: str, error: Exception) -> ComponentFailed:
    failure = classify_failure(error)
    problem, remedy = failure.explain(host, error)
    if isinstance(
        error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
    ):
        return NetworkUnreachable(problem, remedy)
    if failure is NetworkFailure.NO_ANSWER:
        problem = f"{host} stopped sending."
    return DownloadFailed(problem, "Run %avocado_up again: the download is resumed.")


async def get_text(url: str, timeouts: Timeouts, *, accept: str = "*/*") -> str:
    """Return a small text.

    Raises:
        StatusRefused: If the server answers with another status than 200.
        NetworkUnreachable, DownloadFailed: If nothing whole arrives.
    """
    with map_http_errors(url):
        async with (
            asyncio.timeout(timeouts.request_s),
            open_session(url, timeouts) as session,
            session.get(url, headers={"Accept": accept}) as response,
        ):
            body = await response.content.read(READ_BYTES)
            while chunk := await response.content.read(READ_BYTES):
                body += chunk
                if len(body) > _TEXT_BYTES:
                    break
    text = body.decode("utf-8", "replace")
    if response.status != 200:  # noqa: PLR2004  (HTTP's "OK")
        raise HTTPStatusError(response.status, text)
    return text
