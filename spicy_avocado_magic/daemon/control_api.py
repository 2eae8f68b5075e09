"""The control API: HTTP over a Unix socket that only this user can open."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

from ..config.api_key_options import ApiKeyRequest
from ..config.settings import Settings
from ..errors import AvocadoError, as_avocado_error
from ..protocol.json_codec import from_json, to_json
from ..system.redaction import Redactor
from .state_store import StateStore, to_failure
from .supervisor import Supervisor


class ControlServer:
    """Answers kernels: state, events, and what to change.

    ``GET /state``, ``GET /events?after=N`` (newline-delimited JSON),
    ``POST /up``, ``POST /withdraw``, ``POST /down``; ``GET /keys``, ``POST /keys``,
    ``POST /keys/revoke``; ``POST /create`` (told in newline-delimited JSON).
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._context = supervisor.context
        self._runner: web.AppRunner | None = None

    async def start(self, socket: Path) -> None:
        """Listen; a socket left by a dead host is replaced."""
        app = web.Application(middlewares=[self._tell_errors])
        app.router.add_get("/state", self._state)
        app.router.add_get("/events", self._events)
        app.router.add_post("/up", self._up)
        app.router.add_post("/withdraw", self._withdraw)
        app.router.add_post("/down", self._down)
        app.router.add_get("/keys", self._keys)
        app.router.add_post("/keys", self._add_key)
        app.router.add_post("/keys/revoke", self._revoke_key)
        app.router.add_post("/create", self._create)
        await asyncio.to_thread(socket.unlink, missing_ok=True)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(socket)).start()

    async def stop(self) -> None:
        """Close the socket; followers see the end of their stream."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _tell_errors(self, request: web.Request, handler: Any) -> Any:
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  (told to the kernel, whole)
            return web.json_response(self._failure(error), status=400)

    def _failure(self, error: Exception) -> dict[str, Any]:
        known = as_avocado_error(error)
        self._context.log(f"control: {type(error).__name__}: {known}")
        return {"failure": to_json(to_failure(known, self._context.redact))}

    async def _state(self, _request: web.Request) -> web.Response:
        return web.json_response(to_json(self._context.board.snapshot()))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        await response.prepare(request)
        after = int(request.query.get("after", "0"))
        with contextlib.suppress(ConnectionResetError):  # a follower may leave
            async for message in self._follow(after):
                await response.write(json.dumps(message).encode() + b"\n")
        return response

    async def _follow(self, after: int) -> AsyncIterator[dict[str, Any]]:
        board = self._context.board
        while not self._supervisor.ending.is_set():
            version, state = board.version, board.snapshot()
            news = [event for event in board.events if event.sequence > after]
            after = state.sequence
            yield {"state": to_json(state), "events": to_json(news)}
            await self._rest(board, after)
            if board.version == version:
                await self._next_change_or_heartbeat(board)

    async def _rest(self, board: StateStore, sequence: int) -> None:
        """Wait before the next message: progress can, a transition cannot."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._context.policy.state_every_s):
                while board.sequence == sequence:
                    await board.wait_change()

    async def _next_change_or_heartbeat(self, board: StateStore) -> None:
        waits = [
            asyncio.ensure_future(board.wait_change()),
            asyncio.ensure_future(self._supervisor.ending.wait()),
        ]
        _, pending = await asyncio.wait(
            waits,
            timeout=self._context.policy.heartbeat_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in pending:
            task.cancel()

    async def _up(self, request: web.Request) -> web.Response:
        wish = await request.json()
        number, changed = self._supervisor.change(
            decode_options(wish["given"]), only=wish["only"]
        )
        return web.json_response({"change": number, "changed": sorted(changed)})

    async def _withdraw(self, request: web.Request) -> web.Response:
        wish = await request.json()
        return web.json_response({"done": self._supervisor.undo_change(wish["change"])})

    async def _down(self, request: web.Request) -> web.Response:
        wish = await request.json()
        self._supervisor.request_stop("told to", keep_wanted=wish["keep_wanted"])
        return web.json_response({})

    async def _keys(self, _request: web.Request) -> web.Response:
        return web.json_response({"keys": to_json(self._supervisor.sharing.states())})

    async def _add_key(self, request: web.Request) -> web.Response:
        grant = from_json(ApiKeyRequest, (await request.json())["grant"])
        return web.json_response({"secret": self._supervisor.sharing.add(grant)})

    async def _revoke_key(self, request: web.Request) -> web.Response:
        self._supervisor.sharing.revoke((await request.json())["name"])
        return web.json_response({})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        """Make a model as long as the kernel listens, and tell how far it is."""
        wish = await request.json()
        told = [""]
        making = asyncio.create_task(
            self._supervisor.creating.create(
                wish["name"], wish["modelfile"], Path(wish["folder"]), told.append
            )
        )
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        try:
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError):  # it listens no more
                await self._tell_making(response, making, told)
        finally:
            making.cancel()
            await asyncio.wait([making])
        return response

    async def _tell_making(
        self,
        response: web.StreamResponse,
        making: asyncio.Task[tuple[str, ...]],
        told: list[str],
    ) -> None:
        while not making.done():
            await asyncio.wait([making], timeout=self._context.policy.state_every_s)
            del told[:-1]
            await _write(response, {"text": self._context.redact(told[-1])})
        error = making.exception()
        if isinstance(error, Exception):
            await _write(response, self._failure(error))
        else:
            await _write(response, {"pulled": making.result()})


async def _write(response: web.StreamResponse, message: dict[str, Any]) -> None:
    await response.write(json.dumps(message).encode() + b"\n")


def decode_options(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the options given, with JSON's lists as the tuples of ``Settings``."""
    settings = from_json(Settings, plain)
    return {name: getattr(settings, name) for name in plain}


def failure_line(error: AvocadoError, redact: Redactor) -> str:
    """Return what a host that cannot start says to its kernel."""
    return json.dumps({"failure": to_json(to_failure(error, redact))})
