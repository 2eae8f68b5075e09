"""Access checks, body parsing and error responses of the stand-in engine.

The rules are those of ``server/routes.go`` in github.com/ollama/ollama; messages
and statuses are as observed on a server of 0.34.1.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import hdrs, web

from .dialects import JsonObject, error_body

_OWN_ORIGIN: Final = re.compile(
    r"https?://(localhost|127\.0\.0\.1|0\.0\.0\.0)(:\d+)?"
    r"|(app|file|tauri|vscode-webview|vscode-file)://.*"
)
"""The default of ``AllowedOrigins`` (``envconfig/config.go`` in ollama/ollama)."""

_LOCAL_NAME: Final = re.compile(r"|localhost|.+\.(localhost|local|internal)")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """An error for the client, formatted for the API of the path."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@web.middleware
async def access_middleware(
    request: web.Request, handler: _Handler
) -> web.StreamResponse:
    """Check Origin and Host as Ollama does on loopback, and format all errors."""
    origin = request.headers.get(hdrs.ORIGIN, "")
    is_same = origin.partition("://")[2] == request.host
    if origin and not is_same and not _OWN_ORIGIN.fullmatch(origin):
        return web.Response(status=403)
    if not _is_own_host(request.host):
        return web.Response(status=403)
    if request.method == hdrs.METH_OPTIONS:
        return web.Response(status=204)
    try:
        return await handler(request)
    except ApiError as error:
        body = error_body(request.path, error.status, str(error))
        return web.json_response(body, status=error.status)
    except web.HTTPNotFound:
        return web.Response(status=404, text="404 page not found")
    except web.HTTPMethodNotAllowed as error:
        text, allow = "405 method not allowed", {hdrs.ALLOW: error.headers[hdrs.ALLOW]}
        return web.Response(status=405, text=text, headers=allow)


def _is_own_host(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return _LOCAL_NAME.fullmatch(name.lower()) is not None
    return address.is_loopback or address.is_private or address.is_unspecified


async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Add the CORS header that lets a web page read the answer."""
    if hdrs.ORIGIN in request.headers and response.status != 403:  # noqa: PLR2004
        origin = request.headers[hdrs.ORIGIN]
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin


async def read_body(request: web.Request) -> JsonObject:
    """Parse JSON of any content type; keys ignore case, and the last one wins."""
    text = await request.text()
    is_native = request.path.startswith("/api/")
    if not text.strip():
        raise ApiError(400, "missing request body" if is_native else "EOF")
    try:
        body = json.loads(text, object_pairs_hook=_without_case)
    except json.JSONDecodeError as error:
        raise ApiError(400, "unexpected EOF") from error
    if not isinstance(body, dict):
        raise ApiError(400, "json: cannot unmarshal into Go value")
    return body


def _without_case(pairs: list[tuple[str, Any]]) -> JsonObject:
    return {key.lower(): value for key, value in pairs}
