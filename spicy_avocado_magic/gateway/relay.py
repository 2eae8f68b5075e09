"""Bytes between client and engine: passed on as they arrive, cut when one leaves."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import aiohttp
from aiohttp import web

from .access import Headers, Visit
from .refusal import RETRY_AFTER_S, SERVER_NAME, Refusal, still_loading
from .served import ServedModels

Body = bytes | AsyncIterator[bytes] | None

_PASSED_ON: Final = (
    "Accept",
    "Accept-Encoding",
    "User-Agent",
    "anthropic-beta",
    "anthropic-version",
)
"""All that reaches the engine of a request's head, besides what describes its body."""

_KEPT_BACK: Final = frozenset(
    {
        "alt-svc",
        "connection",
        "date",
        "keep-alive",
        "location",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "server",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-powered-by",
    }
)
"""Headers of the engine's reply that are about its own connection, or tell of it."""

_CONNECT_FAILED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class Relay:
    """Asks one engine on behalf of many clients."""

    def __init__(self, connect_s: float) -> None:
        """Open no connection yet; must be made inside the running loop.

        Args:
            connect_s: Longest wait for the engine to accept a connection, in seconds.
        """
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
            skip_auto_headers=(
                "Accept",
                "Accept-Encoding",
                "Content-Type",
                "User-Agent",
            ),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close what is open to the engine."""
        await self._session.close()

    async def forward(
        self, request: web.BaseRequest, visit: Visit, base_url: str, body: Body
    ) -> web.StreamResponse:
        """Ask the engine and return its reply, which by then has been passed on.

        Raises:
            Refusal: 502 or 503 if the engine does not answer.
        """
        headers = onward_headers(request.headers)
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        elif body is not None and request.content_length is not None:
            headers["Content-Length"] = str(request.content_length)
        reply = await self._ask(request.method, base_url + visit.path, headers, body)
        try:
            return await _pass_on(request, reply)
        finally:
            reply.close()

    async def listing(
        self, visit: Visit, base_url: str, served: ServedModels
    ) -> web.Response:
        """Return the engine's list of models without those that are not served.

        Raises:
            Refusal: 502 or 503 if the engine does not answer, or not with a list.
        """
        headers = {"Accept-Encoding": "identity"}
        reply = await self._ask("GET", base_url + visit.path, headers, None)
        try:
            listed = await reply.json(content_type=None)
            kept = listed | {
                visit.route.lists: served.only_served(listed[visit.route.lists])
            }
        except (aiohttp.ClientError, LookupError, TypeError, ValueError) as error:
            raise _no_answer() from error
        finally:
            reply.close()
        return web.Response(
            body=json.dumps(kept).encode(),
            content_type="application/json",
            headers={"Server": SERVER_NAME},
        )

    async def _ask(
        self, method: str, url: str, headers: dict[str, str], body: Body
    ) -> aiohttp.ClientResponse:
        try:
            return await self._session.request(
                method, url, headers=headers, data=body, allow_redirects=False
            )
        except _CONNECT_FAILED as error:
            raise still_loading() from error
        except (aiohttp.ClientError, OSError) as error:
            raise _no_answer() from error


def onward_headers(headers: Headers) -> dict[str, str]:
    """Return what the engine may see of a request's head.

    An allowlist, so that no key, cookie, origin, forwarding header or method
    override gets through; what ``Connection`` names belongs to this hop alone.
    """
    named = _named_by_connection(headers)
    return {
        name: headers[name]
        for name in _PASSED_ON
        if name in headers and headers[name].isascii() and name.lower() not in named
    }


def reply_headers(headers: Headers) -> Iterator[tuple[str, str]]:
    """Yield what the client may see of the head of the engine's reply."""
    named = _named_by_connection(headers)
    for name, value in headers.items():
        lower = name.lower()
        if lower in _KEPT_BACK or lower in named:
            continue
        if not lower.startswith("access-control-"):
            yield name, value
    yield "Server", SERVER_NAME
    yield "X-Accel-Buffering", "no"


async def _pass_on(
    request: web.BaseRequest, reply: aiohttp.ClientResponse
) -> web.StreamResponse:
    head: Any = {"status": reply.status, "headers": list(reply_headers(reply.headers))}
    content = reply.content
    if content.is_eof() and content.exception() is None:
        # A reply that is here whole leaves in one write, head and all.
        return web.Response(body=content.read_nowait(), **head)
    response = web.StreamResponse(**head)
    await response.prepare(request)
    write, read = request.writer.write, content.readany
    try:
        while chunk := await read():
            await write(chunk)
    except (aiohttp.ClientError, ConnectionError):
        cut(request)
    return response


def cut(request: web.BaseRequest) -> None:
    """End the connection so that what was sent cannot pass for a whole answer.

    HTTP/1.0 has no mark for the end of a stream: there, only a reset tells.
    """
    transport = request.transport
    if transport is None:
        return
    if request.version < aiohttp.HttpVersion11:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()


def _named_by_connection(headers: Headers) -> frozenset[str]:
    values = headers.getall("Connection", [])
    names = (name.strip().lower() for value in values for name in value.split(","))
    return frozenset(names)


def _no_answer() -> Refusal:
    return Refusal(
        502,
        "The engine did not answer; try again.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
