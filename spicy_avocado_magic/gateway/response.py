"""The engine's answer passed on as it arrives, and never half of it as if whole."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp import web

from .authorization import AuthorizedRequest
from .error_responses import ErrorResponse
from .headers import downstream_response_headers
from .json_body import UpstreamBody
from .keepalive import EVENT_STREAM, KeepAlive
from .request_context import RequestContext
from .streaming import BodyStreamer
from .upstream_client import ReadTimeout, RemoteProtocolError, UpstreamResponse

_LINES: Final = "application/x-ndjson"
_ENDS: Final = {EVENT_STREAM: (b"\n\n", b"\r\n\r\n"), _LINES: (b"\n",)}
"""What stands between two events of a stream."""
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardContext:
    """What is to be asked of the engine, for whom, and how the answer is given.

    Attributes:
        request: Of the client.
        visit: How it was let in.
        outgoing: The body for the engine.
        exchange: What is known of it so far.
        headers: Further headers of the answer.
        patience: Keeps the client's connection alive; None where nothing can.
    """

    request: web.BaseRequest
    visit: AuthorizedRequest
    outgoing: UpstreamBody
    exchange: RequestContext
    headers: Mapping[str, str]
    patience: KeepAlive | None = None


async def send_response(
    errand: ForwardContext, reply: UpstreamResponse, silence_s: float
) -> web.StreamResponse:
    """Return the reply, which by then has been sent to the client.

    Raises:
        Refusal: If the engine breaks off.
    """
    request, exchange = errand.request, errand.exchange
    headers = [*downstream_response_headers(reply.headers), *errand.headers.items()]
    head: Any = {"status": reply.status, "headers": headers}
    content = reply.content
    if content.is_eof() and content.exception() is None:
        # A reply that is here whole leaves in one write, head and all.
        whole = content.read_nowait()
        exchange.record_chunk(whole)
        _check_end(exchange, reply)
        return web.Response(body=whole, **head)
    has_bytes = content.total_bytes > 0 and content.exception() is None
    response = (_WithFirstBytes if has_bytes else web.StreamResponse)(**head)
    await response.prepare(request)
    if "Transfer-Encoding" in response.headers:
        exchange.stream = reply.content_type
    await _pump(errand, reply, silence_s)
    return response


async def continue_response(
    errand: ForwardContext,
    reply: UpstreamResponse,
    begun: web.StreamResponse,
    silence_s: float,
) -> web.StreamResponse:
    """Finish an answer that was begun before the engine said anything.

    Raises:
        Refusal: If the engine refuses or breaks off: its status comes too late.
    """
    if reply.status != _OK:
        said = await _error_of(reply)
        raise ErrorResponse(reply.status, said or "The engine refused the request.")
    await _pump(errand, reply, silence_s)
    return begun


class _WithFirstBytes(web.StreamResponse):
    """An answer whose head leaves in one segment with the bytes that follow at once."""

    _send_headers_immediately = False


async def _pump(
    errand: ForwardContext, reply: UpstreamResponse, silence_s: float
) -> None:
    exchange = errand.exchange

    def heard(chunk: bytes) -> ErrorResponse | None:
        exchange.record_chunk(chunk)
        if exchange.quota_exceeded:
            return ErrorResponse(429, "This key has used all of its tokens.")
        return None

    try:
        await BodyStreamer(reply, errand.request, heard).run(silence_s)
    except ReadTimeout as error:
        raise ErrorResponse(504, "The engine fell silent before the end.") from error
    except (RemoteProtocolError, ConnectionError) as error:
        raise _broke_off() from error
    _check_end(exchange, reply)


def _check_end(exchange: RequestContext, reply: UpstreamResponse) -> None:
    """Let no stream that was ended in the middle pass for a whole one.

    Raises:
        Refusal: If it was.
    """
    is_stream = reply.status == _OK and reply.content_type == EVENT_STREAM
    if is_stream and not is_stream_complete(exchange.route, exchange.meter.ending):
        raise _broke_off()


def _broke_off() -> ErrorResponse:
    return ErrorResponse(502, "The engine broke off before the end.")


async def fail_stream(
    request: web.BaseRequest, exchange: RequestContext, why: ErrorResponse
) -> None:
    """End an answer that has begun, so that nobody can take it for a whole one.

    A stream of events gets one that tells the error, in the client's own dialect,
    unless it was cut in the middle of an event.
    """
    ends = _ENDS.get(exchange.stream, ())
    if ends and (not exchange.last_chunk or exchange.last_chunk.endswith(ends)):
        try:
            await request.writer.write(why.event(exchange.dialect, exchange.route))
        except ConnectionError:
            return
    abort_connection(request)


def abort_connection(request: web.BaseRequest) -> None:
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


async def _error_of(reply: UpstreamResponse) -> str:
    """Return the message in an error of the engine, in any of its dialects."""
    try:
        body = await reply.json()
        error = body["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (aiohttp.ClientError, LookupError, TypeError, ValueError):
        return ""


_OPENAI: Final = (b"data: [DONE]", b'data: {"error"')
_TERMINAL_EVENTS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "/v1/chat/completions": _OPENAI,
    "/v1/completions": _OPENAI,
    "/v1/messages": (b"event: message_stop", b"event: error"),
    "/v1/responses": (
        b'"type":"response.completed"',
        b'"type":"response.incomplete"',
        b'"type":"response.failed"',
        b"event: error",
    ),
}
"""By route, what stands in the last bytes of a whole stream, or of one that told why
it is none. Inside a text the quotes and line ends of these would be escaped."""


def is_stream_complete(route: str, ending: bytes) -> bool:
    """Return whether the last bytes of a stream of events are its end.

    Args:
        route: The route's label; streams of those that are not known always end.
        ending: Its last bytes, 500 or more if there are so many.
    """
    ends = _TERMINAL_EVENTS.get(route, ())
    return not ends or any(end in ending for end in ends)
