"""Signs of life while the engine says nothing, so that the tunnel stays open.

ngrok cuts a connection after five minutes without a byte
(https://ngrok.com/docs/http/limits). Clients of SSE pass over comments, and JSON may
begin with spaces; lines of JSON have nothing of the kind, so ``/api`` gets none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from ..config.timeouts import Timeouts
from .error_responses import SERVER_NAME
from .request_context import RequestContext

EVENT_STREAM: Final = "text/event-stream"
_COMMENT: Final = b": the model is still busy\n\n"
_SPACE: Final = b" "


class KeepAlive:
    """Begins the answer to a request in the engine's place, if it takes too long.

    Args:
        request: Who waits.
        exchange: Is told of the stream that begins.
        headers: Further headers of the answer.
        policy: ``comment_after_s``, ``space_after_s`` and ``comment_every_s`` count.
        is_stream: Whether a stream of events was asked for, rather than one object.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        exchange: RequestContext,
        headers: Mapping[str, str],
        policy: Timeouts,
        *,
        is_stream: bool,
    ) -> None:
        self._request, self._exchange, self._headers = request, exchange, headers
        self._every_s = policy.comment_every_s
        self.is_stream = is_stream
        self._response: web.StreamResponse | None = None
        self._speaking: asyncio.Task[None] | None = None
        after_s = policy.comment_after_s if is_stream else policy.space_after_s
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(after_s, self._begin)

    async def end(self) -> web.StreamResponse | None:
        """Say no more; return the answer that has begun, if it has."""
        self._timer.cancel()
        if self._speaking is not None:
            self._speaking.cancel()
            await asyncio.wait([self._speaking])
        return self._response

    def _begin(self) -> None:
        self._speaking = asyncio.create_task(self._speak())

    async def _speak(self) -> None:
        response = web.StreamResponse(
            headers={
                "Content-Type": EVENT_STREAM if self.is_stream else "application/json",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                "Server": SERVER_NAME,
                **self._headers,
            }
        )
        self._response = response
        if self.is_stream:
            self._exchange.stream = EVENT_STREAM
        sign = _COMMENT if self.is_stream else _SPACE
        try:
            await response.prepare(self._request)
            while True:
                await response.write(sign)
                await asyncio.sleep(self._every_s)
        except ConnectionError:
            return  # the client has gone, as its request's own task is told
