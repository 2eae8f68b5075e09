"""Keep-alive bytes while the engine is silent, so that the tunnel stays open.

ngrok closes a connection after five minutes without a byte
(https://ngrok.com/docs/http/limits). Clients of server-sent events skip comments, and
JSON may begin with spaces; lines of JSON allow neither, so ``/api`` gets none.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from ..config.timeouts import Timeouts
from .error_responses import SERVER_NAME
from .request_context import RequestContext

EVENT_STREAM: Final = "text/event-stream"
_COMMENT: Final = b": the model is still busy\n\n"
_SPACE: Final = b" "


class KeepAlive:
    """Response that begins before the engine's, if the engine takes too long."""

    def __init__(self, context: RequestContext, timeouts: Timeouts) -> None:
        """Start the timer; must be called inside the running loop.

        Args:
            context: The request; its body decides between an event stream and one JSON
                object.
            timeouts: Of which ``comment_after_s``, ``space_after_s`` and
                ``comment_every_s`` are used.
        """
        self._context = context
        self._is_stream = context.body.is_stream
        self._every_s = timeouts.comment_every_s
        self._response: web.StreamResponse | None = None
        self._task: asyncio.Task[None] | None = None
        after_s = timeouts.space_after_s
        if self._is_stream:
            after_s = timeouts.comment_after_s
        self._timer = asyncio.get_running_loop().call_later(after_s, self._begin)

    async def end(self) -> web.StreamResponse | None:
        """Stop sending; return the response if it has begun."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        return self._response

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        self._response = response = web.StreamResponse(
            headers={
                "Content-Type": EVENT_STREAM if self._is_stream else "application/json",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                "Server": SERVER_NAME,
                **self._context.cors,
            }
        )
        if self._is_stream:
            self._context.stream_type = EVENT_STREAM
        filler = _COMMENT if self._is_stream else _SPACE
        try:
            await response.prepare(self._context.request)
            while True:
                await response.write(filler)
                await asyncio.sleep(self._every_s)
        except ConnectionError:
            return  # the request's own task sees that its client has gone
