"""Network failures of both HTTP libraries are explained in the same words."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
import requests
import trustme

from spicy_avocado_magic.system.network import (
    NetworkFailure,
    classify_failure,
    is_loopback,
    iter_causes,
)

from ..doctor.small_host import SmallHost


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:5000/x", True),
        ("http://127.8.8.8/x", True),
        ("http://localhost:1", True),
        ("http://[::1]:1/", True),
        ("https://localhost.example/", False),
        ("https://127.0.0.1.example/", False),
        ("https://10.0.0.1/", False),
    ],
)
def test_a_loopback_url_is_recognised_by_its_host(url: str, *, expected: bool) -> None:
    """Names that only look like loopback are not."""
    assert is_loopback(url) is expected


Get = Callable[[str], Awaitable[BaseException]]


async def _get_with_aiohttp(url: str) -> BaseException:
    timeout = aiohttp.ClientTimeout(total=0.5)
    with pytest.raises((aiohttp.ClientError, TimeoutError)) as caught:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await session.get(url)
    return caught.value


async def _get_with_requests(url: str) -> BaseException:
    with pytest.raises(requests.RequestException) as caught:
        await asyncio.to_thread(requests.get, url, timeout=0.5)
    return caught.value


@pytest.fixture(params=[_get_with_aiohttp, _get_with_requests])
def get(request: pytest.FixtureRequest) -> Get:
    """Return a function that requests a URL and returns the library's error."""
    function: Get = request.param
    return function


async def test_a_refused_connection_is_recognised(get: Get) -> None:
    """Nothing listens on the port."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await get(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert classify_failure(error) is NetworkFailure.REFUSED


async def test_an_unknown_name_is_recognised(get: Get) -> None:
    """The top-level domain ``invalid`` has no names by RFC 6761."""
    error = await get("http://host.invalid/")
    assert classify_failure(error) is NetworkFailure.UNKNOWN_NAME


async def test_an_untrusted_certificate_is_recognised(get: Get) -> None:
    """No authority that is trusted here has signed it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with SmallHost().running(context) as address:
        error = await get(f"https://{address}/")
    assert classify_failure(error) is NetworkFailure.UNTRUSTED


async def test_a_silent_host_is_recognised(get: Get) -> None:
    """It accepts the request and sends nothing."""
    with SmallHost(silent=True).running() as address:
        error = await get(f"http://{address}/")
    assert classify_failure(error) is NetworkFailure.NO_ANSWER


def test_a_missing_route_is_unreachable_and_the_rest_is_a_broken_connection() -> None:
    """The message of a broken connection names the innermost error."""
    no_route = OSError(errno.ENETUNREACH, "no route")
    assert classify_failure(no_route) is NetworkFailure.UNREACHABLE
    error = aiohttp.ServerDisconnectedError()
    failure = classify_failure(error)
    assert failure is NetworkFailure.BROKEN
    problem, remedy = failure.explain("host.example", error)
    assert problem == (
        "The connection to host.example broke (ServerDisconnectedError)."
    )
    assert remedy


def test_errors_that_cause_each_other_are_walked_once() -> None:
    """A circle of causes ends."""
    first, second = OSError(), OSError()
    first.__cause__, second.__cause__ = second, first
    assert list(iter_causes(first)) == [first, second]
