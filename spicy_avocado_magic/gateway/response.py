"""Streaming of the engine's response to the client, in which no cut goes unnoticed."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

import aiohttp
from aiohttp import web

from ..protocol.error_shapes import error_message
from .error_responses import ErrorResponse, quota_used_up
from .headers import downstream_response_headers
from .keepalive import EVENT_STREAM
from .request_context import RequestContext
from .streaming import BodyStreamer
from .upstream_client import ReadTimeout, RemoteProtocolError, UpstreamResponse

_EVENT_ENDS: Final = {
    EVENT_STREAM: (b"\n\n", b"\r\n\r\n"),
    "application/x-ndjson": (b"\n",),
}
"""Separators of the events of a stream."""
_OK: Final = 200


async def send_response(
    context: RequestContext, upstream: UpstreamResponse, silence_s: float
) -> web.StreamResponse:
    """Return the response, which has then been sent to the client.

    Raises:
        ErrorResponse: If the engine breaks off.
    """
    headers = [*downstream_response_headers(upstream.headers), *context.cors.items()]
    start: Any = {"status": upstream.status, "headers": headers}
    content = upstream.content
    if content.is_eof() and content.exception() is None:
        # A response that has arrived whole leaves in one write, headers included.
        body = content.read_nowait()
        context.record_chunk(body)
        _check_end(context, upstream)
        return web.Response(body=body, **start)
    has_bytes = content.total_bytes > 0 and content.exception() is None
    response = (_HeadersWithFirstBytes if has_bytes else web.StreamResponse)(**start)
    await response.prepare(context.request)
    if "Transfer-Encoding" in response.headers:
        context.stream_type = upstream.content_type
    await _stream(context, upstream, silence_s)
    return response


async def continue_response(
    context: RequestContext,
    upstream: UpstreamResponse,
    begun: web.StreamResponse,
    silence_s: float,
) -> web.StreamResponse:
    """Finish a response that ``KeepAlive`` has begun.

    Raises:
        ErrorResponse: If the engine breaks off, or answers with an error: it is too
            late for its status.
    """
    if upstream.status != _OK:
        message = await _error_message(upstream)
        raise ErrorResponse(
            upstream.status, message or "The engine refused the request."
        )
    await _stream(context, upstream, silence_s)
    return begun


class _HeadersWithFirstBytes(web.StreamResponse):
    """Response that sends its headers in one segment with the bytes that follow."""

    _send_headers_immediately = False


async def _stream(
    context: RequestContext, upstream: UpstreamResponse, silence_s: float
) -> None:
    def on_chunk(chunk: bytes) -> ErrorResponse | None:
        context.record_chunk(chunk)
        return quota_used_up() if context.quota_exceeded else None

    try:
        await BodyStreamer(upstream, context.request, on_chunk).run(silence_s)
    except ReadTimeout as error:
        raise ErrorResponse(504, "The engine fell silent before the end.") from error
    except (RemoteProtocolError, ConnectionError) as error:
        raise _broke_off() from error
    _check_end(context, upstream)


def _check_end(context: RequestContext, upstream: UpstreamResponse) -> None:
    """Require that an event stream ends as its API says.

    Raises:
        ErrorResponse: If it was cut.
    """
    is_stream = upstream.status == _OK and upstream.content_type == EVENT_STREAM
    if is_stream and not context.route.is_stream_complete(context.tokens.ending):
        raise _broke_off()


def _broke_off() -> ErrorResponse:
    return ErrorResponse(502, "The engine broke off before the end.")


async def fail_stream(context: RequestContext, error: ErrorResponse) -> None:
    """End a response that has begun, so that no client can take it for complete.

    A stream of events gets the error as its last event, in the client's dialect,
    unless it was cut in the middle of an event.
    """
    request = context.request
    ends = _EVENT_ENDS.get(context.stream_type, ())
    if ends and (not context.last_chunk or context.last_chunk.endswith(ends)):
        try:
            await request.writer.write(
                error.event(context.dialect, context.route.label)
            )
        except ConnectionError:
            return
    abort_connection(request)


def abort_connection(request: web.BaseRequest) -> None:
    """Close the connection so that the client sees an incomplete response.

    HTTP/1.0 does not mark the end of a stream; only a reset shows the difference.
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


async def _error_message(upstream: UpstreamResponse) -> str:
    """Return the message of an error in any dialect; empty where there is none."""
    try:
        return error_message(await upstream.content.read())
    except aiohttp.ClientError:
        return ""
