"""The engine asked on behalf of a client, again where it has just been restarted."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from ..config.timeouts import Policy
from .error_responses import RETRY_AFTER_S, SERVER_NAME, Refusal, still_loading
from .headers import onward_headers
from .response import Errand, go_on, pass_on
from .routes import Level, Sends
from .upstream import Upstream
from .upstream_client import (
    EngineBroke,
    EngineLink,
    EngineSilent,
    EngineUnreachable,
    Reply,
)

_REPEATABLE: Final = (Sends.NOTHING, Sends.MODEL_CALL, Sends.FORM)
"""What may be asked twice: it changes nothing that is installed."""
_NOT_FOUND: Final = 404


class EngineGone(Exception):
    """The engine did not answer.

    Attributes:
        has_heard: Whether it may have received the request.
    """

    def __init__(self, *, has_heard: bool) -> None:
        super().__init__(has_heard)
        self.has_heard = has_heard


class Relay:
    """Asks one engine on behalf of many clients."""

    def __init__(self, upstream: Upstream, policy: Policy) -> None:
        """Open no connection yet; must be made inside the running loop.

        Args:
            upstream: Where the engine is; its limits hold here too.
            policy: ``upstream_connect_s`` and ``retry_every_s`` count.
        """
        self._upstream, self._policy = upstream, policy
        self._link = EngineLink(policy.upstream_connect_s)

    def close(self) -> None:
        """Close what is open to the engine."""
        self._link.close()

    async def forward(self, errand: Errand) -> web.StreamResponse:
        """Ask the engine and return its reply, which by then has been passed on.

        Raises:
            Refusal: 502, 503 or 504 if the engine does not answer, or not to its end.
        """
        reply = await self._ask(errand)
        try:
            begun = None
            if errand.patience is not None:
                begun = await errand.patience.end()
            # An answer is a mapping too, and empty: its truth tells nothing.
            silence_s = self._upstream.limits.silence_s
            if begun is not None:
                return await go_on(errand, reply, begun, silence_s)
            return await pass_on(errand, reply, silence_s)
        finally:
            reply.close()

    async def listing(self, errand: Errand) -> web.Response:
        """Return the engine's list of models without those that are not served.

        Raises:
            Refusal: 502, 503 or 504 if the engine does not answer, or not with a list.
        """
        route, served = errand.visit.route, errand.visit.served
        reply = await self._ask(errand)
        try:
            listed = await reply.json()
            kept = listed | {route.lists: served.only_served(listed[route.lists])}
        except (aiohttp.ClientError, LookupError, TypeError, ValueError) as error:
            raise _no_answer() from error
        finally:
            reply.close()
        return web.Response(
            body=json.dumps(kept).encode(),
            content_type="application/json",
            headers={"Server": SERVER_NAME, **errand.headers},
        )

    async def _ask(self, errand: Errand) -> Reply:
        """Return a reply whose head is there; wait for an engine that restarts.

        A request during which the engine went away is sent once more, not for ever:
        it may be what ended the engine.
        """
        route, loop = errand.visit.route, asyncio.get_running_loop()
        deadline = loop.time() + self._upstream.limits.hold_wait_s
        if route.level is Level.OPEN:
            deadline = loop.time()  # strangers cannot make us hold anything
        repeats = 1 if route.sends in _REPEATABLE else 0
        while True:
            base_url = await self._upstream.wait(deadline)
            try:
                return await self._ask_once(errand, base_url)
            except EngineGone as gone:
                if gone.has_heard and not repeats:
                    raise _no_answer() from gone
                if loop.time() + self._policy.retry_every_s > deadline:
                    raise still_loading() from gone
                repeats -= gone.has_heard
            await asyncio.sleep(self._policy.retry_every_s)

    async def _ask_once(self, errand: Errand, base_url: str) -> Reply:
        outgoing, visit = errand.outgoing, errand.visit
        headers = CIMultiDict(Host=base_url.rpartition("/")[2])
        headers.extend(onward_headers(errand.request.headers))
        if visit.route.lists:
            headers["Accept-Encoding"] = "identity"
        if outgoing.content_type:
            headers["Content-Type"] = outgoing.content_type
        if outgoing.length is not None:
            headers["Content-Length"] = str(outgoing.length)
        method = "GET" if visit.route.lists else errand.request.method
        silence_s = self._upstream.limits.silence_s
        try:
            reply = await self._link.ask(
                base_url, f"{method} {visit.path}", headers, outgoing.body, silence_s
            )
        except EngineUnreachable as error:
            raise EngineGone(has_heard=False) from error
        except EngineSilent as error:
            raise Refusal(
                504, f"The engine said nothing for {silence_s:g} seconds."
            ) from error
        except EngineBroke as error:
            raise EngineGone(has_heard=True) from error
        if reply.status == _NOT_FOUND and visit.route.level is not Level.MANAGE:
            if reply.content_type == "text/plain":
                reply.close()
                raise _no_such_api(visit.path)
            if visit.served.awaits(outgoing.model):
                # Its files have been deleted: they are fetched again.
                reply.close()
                raise still_loading()
        return reply


def _no_such_api(path: str) -> Refusal:
    """Return the answer where an older engine's router knows no such path."""
    return Refusal(
        404,
        f"This Ollama is too old for {path}: whoever runs it needs a newer one.",
    )


def _no_answer() -> Refusal:
    return Refusal(
        502,
        "The engine did not answer; try again.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
