"""The port for scrapers: one page, behind a token that reads and nothing else."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web

from ..config.limits import Limits
from ..system.redaction import Secret
from .connection import Connection
from .listener import Listener
from .refusal import SERVER_NAME, Dialect, Refusal

PATH: Final = "/metrics"


class ScrapePort:
    """Answers ``GET /metrics`` to those who have its own token."""

    def __init__(
        self, read: Callable[[], tuple[str, bytes]], token: Secret, limits: Limits
    ) -> None:
        """Open nothing yet.

        Args:
            read: Returns the page's content type and its text.
            token: What a scraper must send as bearer.
            limits: The bounds of its connections.
        """
        self._read = read
        self._token = _digest(token.open())
        self._listener = Listener(self._handle, limits)

    async def start(self, address: str, port: int) -> str:
        """Listen there; return the page's URL.

        Raises:
            PortTaken: If another program has the port.
            GatewayFailed: If the system does not give it, or has no such address.
        """
        bound = await self._listener.start(port, address.strip("[]"))
        return f"http://{address}:{bound}{PATH}"

    async def stop(self, grace_s: float) -> None:
        """Close the port; answers under way have the grace (seconds) to end."""
        await self._listener.stop(grace_s)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            self._check(request)
        except Refusal as refusal:
            return refusal.response(Dialect.NATIVE)
        cast("Connection", request.protocol).know()
        content_type, text = self._read()
        head = {"Content-Type": content_type, "Server": SERVER_NAME}
        return web.Response(body=text, headers=head)

    def _check(self, request: web.BaseRequest) -> None:
        """Refuse whoever has not the token, and then whatever is not the page."""
        sent = request.headers.getall("Authorization", [])
        scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        is_right = hmac.compare_digest(_digest(token.strip()), self._token)
        if not is_right or scheme.lower() != "bearer":
            raise Refusal(
                401,
                "The token for metrics is needed: 'Authorization: Bearer TOKEN'.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if request.raw_path != PATH:
            raise Refusal(404, f"There is {PATH} here, and nothing else.")
        if request.method != "GET":
            raise Refusal(405, "Use GET for this path.", headers={"Allow": "GET"})


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
