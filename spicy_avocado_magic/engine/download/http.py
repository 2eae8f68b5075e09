"""HTTP client sessions: proxies, certificates, and errors mapped to ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import certifi

from ...config.timeouts import Timeouts
from ...config.validators import parse_whole_number
from ...errors import (
    AvocadoError,
    ComponentFailed,
    DownloadFailed,
    NetworkUnreachable,
    UsageError,
)
from ...system.network import NetworkFailure, classify_failure, is_loopback
from .retry import RetryableError, retry_while_progressing

READ_BYTES: Final = 1 << 18
"""Also the most that is lost when a connection breaks: aiohttp drops its buffer."""

_TEXT_BYTES: Final = 4 << 20
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class HTTPStatusError(Exception):
    """An HTTP status other than the expected one; never leaves this package."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


def open_session(url: str, timeouts: Timeouts) -> aiohttp.ClientSession:
    """Return a session for one server; the caller closes it.

    Proxy variables apply, but never to loopback. A read without a byte for
    ``timeouts.stall_s`` raises an error.

    Raises:
        UsageError: If ``REQUESTS_CA_BUNDLE`` names a file that cannot be read.
    """
    return aiohttp.ClientSession(
        trust_env=not is_loopback(url),
        connector=aiohttp.TCPConnector(ssl=_ssl_context_of_environ()),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=timeouts.request_s, sock_read=timeouts.stall_s
        ),
        read_bufsize=READ_BYTES,
        headers={"User-Agent": "spicy-avocado-magic"},
    )


def _ssl_context_of_environ() -> ssl.SSLContext:
    get = os.environ.get
    return _ssl_context(
        get("REQUESTS_CA_BUNDLE", ""), get("SSL_CERT_FILE"), get("SSL_CERT_DIR")
    )


@lru_cache(maxsize=4)
def _ssl_context(bundle: str, *_: str | None) -> ssl.SSLContext:
    """Return a context that trusts the bundle, or else the system's certificates.

    OpenSSL itself reads ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``. Contexts are cached,
    since reading all certificates takes longer than a small request.
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
            f"REQUESTS_CA_BUNDLE names {bundle}, which is not a certificate file.",
            "Correct the variable or remove it.",
        ) from error


def retry_after_s(response: aiohttp.ClientResponse) -> float:
    """Return the seconds in ``Retry-After``; 0 without that header."""
    header = response.headers.get("Retry-After", "")
    if (seconds := parse_whole_number(header)) is not None:
        return float(seconds)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, until.timestamp() - time.time())


@contextlib.contextmanager
def map_http_errors(url: str) -> Iterator[None]:
    """Map the exceptions of aiohttp for a request to ``url`` to our errors.

    Raises:
        NetworkUnreachable: If the server cannot be reached.
        DownloadFailed: If the connection broke or timed out.
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


@contextlib.asynccontextmanager
async def get(
    url: str, timeouts: Timeouts, headers: Mapping[str, str], *, redirects: bool = True
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send a short GET request, bounded by ``timeouts.request_s``.

    Raises:
        NetworkUnreachable, DownloadFailed: If no complete response arrives.
    """
    with map_http_errors(url):
        async with (
            asyncio.timeout(timeouts.request_s),
            open_session(url, timeouts) as session,
            session.get(url, headers=headers, allow_redirects=redirects) as response,
        ):
            yield response


async def read_at_most(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """Return the body, or its first bytes if it is longer."""
    body = b""
    while len(body) < limit_bytes:
        chunk = await response.content.read(limit_bytes - len(body))
        if not chunk:
            break
        body += chunk
    return body


async def get_text(url: str, timeouts: Timeouts, *, accept: str = "*/*") -> str:
    """Return the text of a small response.

    Raises:
        HTTPStatusError: If the status is not 200.
        NetworkUnreachable, DownloadFailed: If no complete response arrives.
    """
    async with get(url, timeouts, {"Accept": accept}) as response:
        text = (await read_at_most(response, _TEXT_BYTES)).decode("utf-8", "replace")
    if response.status != 200:  # noqa: PLR2004  (HTTP's "OK")
        raise HTTPStatusError(response.status, text)
    return text


async def get_text_with_retries(
    url: str,
    timeouts: Timeouts,
    *,
    accept: str = "*/*",
    status_error: Callable[[HTTPStatusError], AvocadoError],
) -> str:
    """Return the text of a small response; retry what may pass by itself.

    Args:
        url: Where it is.
        timeouts: Of each request, and of the backoff.
        accept: The media type to ask for.
        status_error: Returns the error for a status other than 200.

    Raises:
        AvocadoError: As ``status_error`` returns; its cause is the status.
        NetworkUnreachable, DownloadFailed: If no complete response arrives.
    """

    async def attempt() -> str:
        try:
            return await get_text(url, timeouts, accept=accept)
        except HTTPStatusError as response:
            error = status_error(response)
            is_transient = response.status in TRANSIENT_STATUSES
            if is_transient and isinstance(error, ComponentFailed):
                raise RetryableError(error) from response
            raise error from response
        except DownloadFailed as error:
            raise RetryableError(error) from error

    return await retry_while_progressing(attempt, timeouts=timeouts)


def status_of(error: BaseException) -> int:
    """Return the HTTP status that caused an error; 0 for another cause."""
    cause = error.__cause__
    return cause.status if isinstance(cause, HTTPStatusError) else 0
