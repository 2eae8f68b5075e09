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
from ..errors import as_avocado_error
from ..protocol.control_messages import (
    Acknowledged,
    AddKeyMessage,
    AddKeyReply,
    CreateEvent,
    CreateMessage,
    DownMessage,
    KeysReply,
    RevokeKeyMessage,
    StateMessage,
    UpMessage,
    UpReply,
    WithdrawMessage,
    WithdrawReply,
)
from ..protocol.json_codec import from_json, to_json
from ..protocol.state import Failure
from .state_store import StateStore, to_failure
from .supervisor import Supervisor


class ControlServer:
    """HTTP server of the control socket; messages as in ``protocol.control_messages``.

    ``GET /state``, ``GET /events?after=N`` (newline-delimited JSON),
    ``POST /up``, ``POST /withdraw``, ``POST /down``; ``GET /keys``, ``POST /keys``,
    ``POST /keys/revoke``; ``POST /create`` (newline-delimited JSON).
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._context = supervisor.context
        self._runner: web.AppRunner | None = None

    async def start(self, socket: Path) -> None:
        """Listen; a socket left by a dead daemon is replaced."""
        app = web.Application(middlewares=[self._return_errors])
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
    async def _return_errors(self, request: web.Request, handler: Any) -> Any:
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  (returned to the kernel)
            body = {"failure": to_json(self._failure(error))}
            return web.json_response(body, status=400)

    def _failure(self, error: Exception) -> Failure:
        known = as_avocado_error(error)
        self._context.log(f"control: {type(error).__name__}: {known}")
        return to_failure(known, self._context.redact)

    async def _state(self, _request: web.Request) -> web.Response:
        return _reply(self._context.store.snapshot())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        await response.prepare(request)
        after = int(request.query.get("after", "0"))
        with contextlib.suppress(ConnectionResetError):  # a follower may leave
            async for message in self._follow(after):
                await _write(response, message)
        return response

    async def _follow(self, after: int) -> AsyncIterator[StateMessage]:
        board = self._context.store
        while not self._supervisor.ending.is_set():
            version, state = board.version, board.snapshot()
            news = [event for event in board.events if event.sequence > after]
            after = state.sequence
            yield StateMessage(state=state, events=tuple(news))
            await self._rest(board, after)
            if board.version == version:
                await self._next_change_or_heartbeat(board)

    async def _rest(self, board: StateStore, sequence: int) -> None:
        """Wait before the next message, but not if a transition occurs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._context.timeouts.state_every_s):
                while board.sequence == sequence:
                    await board.wait_change()

    async def _next_change_or_heartbeat(self, board: StateStore) -> None:
        waits = [
            asyncio.ensure_future(board.wait_change()),
            asyncio.ensure_future(self._supervisor.ending.wait()),
        ]
        _, pending = await asyncio.wait(
            waits,
            timeout=self._context.timeouts.heartbeat_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in pending:
            task.cancel()

    async def _up(self, request: web.Request) -> web.Response:
        message = from_json(UpMessage, await request.json())
        number, changed = self._supervisor.change(
            decode_options(message.given), only=message.only
        )
        return _reply(UpReply(change=number, changed=tuple(sorted(changed))))

    async def _withdraw(self, request: web.Request) -> web.Response:
        message = from_json(WithdrawMessage, await request.json())
        done = self._supervisor.undo_change(message.change)
        return _reply(WithdrawReply(done=done))

    async def _down(self, request: web.Request) -> web.Response:
        message = from_json(DownMessage, await request.json())
        reason = "stopped by the user"
        self._supervisor.request_stop(reason, keep_wanted=message.keep_wanted)
        return _reply(Acknowledged())

    async def _keys(self, _request: web.Request) -> web.Response:
        return _reply(KeysReply(keys=tuple(self._supervisor.api_keys.states())))

    async def _add_key(self, request: web.Request) -> web.Response:
        message = from_json(AddKeyMessage, await request.json())
        grant = from_json(ApiKeyRequest, message.grant)
        return _reply(AddKeyReply(secret=self._supervisor.api_keys.add(grant)))

    async def _revoke_key(self, request: web.Request) -> web.Response:
        message = from_json(RevokeKeyMessage, await request.json())
        self._supervisor.api_keys.revoke(message.name)
        return _reply(Acknowledged())

    async def _create(self, request: web.Request) -> web.StreamResponse:
        """Create a model while the kernel reads, and stream the progress."""
        message = from_json(CreateMessage, await request.json())
        lines = [""]
        creation = asyncio.create_task(
            self._supervisor.model_builder.create(
                message.name, message.modelfile, Path(message.folder), lines.append
            )
        )
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        try:
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError):  # the kernel left
                await self._stream_creation(response, creation, lines)
        finally:
            creation.cancel()
            await asyncio.wait([creation])
        return response

    async def _stream_creation(
        self,
        response: web.StreamResponse,
        creation: asyncio.Task[tuple[str, ...]],
        lines: list[str],
    ) -> None:
        while not creation.done():
            await asyncio.wait([creation], timeout=self._context.timeouts.state_every_s)
            del lines[:-1]
            text = self._context.redact(lines[-1])
            await _write(response, CreateEvent(text=text))
        error = creation.exception()
        if isinstance(error, Exception):
            await _write(response, CreateEvent(failure=self._failure(error)))
        else:
            await _write(response, CreateEvent(pulled=creation.result()))


def _reply(message: object) -> web.Response:
    return web.json_response(to_json(message))


async def _write(response: web.StreamResponse, message: object) -> None:
    await response.write(json.dumps(to_json(message)).encode() + b"\n")


def decode_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return the given options with the types of ``Settings``."""
    settings = from_json(Settings, given)
    return {name: getattr(settings, name) for name in given}
