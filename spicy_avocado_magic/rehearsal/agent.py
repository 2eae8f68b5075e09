"""A stand-in ngrok v3 agent, which unmodified pyngrok starts and accepts.

It says and answers what pyngrok 9.1 asks of an agent (its ``process`` and ``ngrok``
modules) and joins ``rehearsal.edge``. Settings come from the agent's own YAML file,
version 3 (https://ngrok.com/docs/agent/config/v3): ``authtoken``, ``connect_url``
and ``web_addr``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import web

from .wire import read_message, splice, write_message

VERSION: Final = "3.30.0"
_RECONNECT_FIRST_S: Final = 0.1
_RECONNECT_MAX_S: Final = 2.0
_API_PORTS_TRIED: Final = 100


def write_agent_script(path: Path) -> Path:
    """Write an executable ``ngrok`` that runs this module, and return its path."""
    package_root = Path(__file__).resolve().parents[2]
    path.write_text(
        "#!/bin/sh\n"
        f"export PYTHONPATH={shlex.quote(str(package_root))}"
        '${PYTHONPATH:+":$PYTHONPATH"}\n'
        f'exec {shlex.quote(sys.executable)} -P -m {__name__} "$@"\n'
    )
    path.chmod(0o700)
    return path


def log(level: str, message: str, **fields: object) -> None:
    """Print one line of the agent's log, in logfmt."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    pairs = [f"t={now} lvl={level} msg={json.dumps(message)}"]
    pairs += [f"{name}={_logfmt(value)}" for name, value in fields.items()]
    print(*pairs, flush=True)  # noqa: T201  (the log is this program's output)


def _logfmt(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or set(text) & set(" =\"'\r\n") else text


class Refused(Exception):
    """The edge said no, with its reason."""


class StandInAgent:
    """One agent process: its session with the edge, and its local API."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._token = str(settings.get("authtoken") or "")
        self._edge = _host_and_port(str(settings.get("connect_url") or ""), 443)
        self._api = _host_and_port(str(settings.get("web_addr") or ""), 4040)
        self._endpoints: dict[str, dict[str, Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count(1)
        self._streams: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve until a signal ends it, or the edge refuses the token."""
        runner = web.AppRunner(self._app(), access_log=None)
        await runner.setup()
        await self._open_api(runner)
        session = asyncio.ensure_future(self._stay_connected())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, session.cancel)
        try:
            await session
        except asyncio.CancelledError:
            log("info", "received stop request", obj="app")
            return 0
        except Refused as error:
            log("eror", "session closing", obj="tunnels.session", err=error)
            log("crit", "command failed", err=error)
            print(f"ERROR:  {error}", file=sys.stderr)  # noqa: T201  (as agents do)
            return 1
        finally:
            await runner.cleanup()
        return 0

    async def _open_api(self, runner: web.AppRunner) -> None:
        host, first = self._api
        for port in range(first, first + _API_PORTS_TRIED):
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError:
                continue
            log("info", "starting web service", obj="web", addr=f"{host}:{port}")
            return
        raise Refused(f"no free port for the local API from {first}")

    async def _stay_connected(self) -> None:
        wait_s = _RECONNECT_FIRST_S
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self._edge)
            except OSError as error:
                err = f"failed to dial ngrok server with address {self._edge}: {error}"
                log("eror", "failed to reconnect session", obj="csess", err=err)
                await asyncio.sleep(wait_s)
                wait_s = min(_RECONNECT_MAX_S, wait_s * 2)
                continue
            try:
                if await self._session(reader, writer):
                    wait_s = _RECONNECT_FIRST_S
                    log("warn", "session closed, starting reconnect loop", obj="csess")
            finally:
                self._writer = None
                for reply in self._replies.values():
                    reply.cancel()
                writer.close()
            await asyncio.sleep(wait_s)

    async def _session(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Live through one session; False if the edge went before it began."""
        write_message(writer, {"token": self._token})
        welcome = await read_message(reader)
        if welcome is None:
            return False
        if "error" in welcome:
            raise Refused(welcome["error"])
        self._writer = writer
        log("info", "tunnel session started", obj="tunnels.session")
        log("info", "client session established", obj="csess", id=os.getpid())
        claims = asyncio.ensure_future(self._claim_again())
        try:
            while (message := await read_message(reader)) is not None:
                if "open" in message:
                    self._relay(message)
                elif (reply := self._replies.pop(message["id"], None)) is not None:
                    reply.set_result(message)
        finally:
            claims.cancel()
        return True

    async def _claim_again(self) -> None:
        for endpoint in list(self._endpoints.values()):
            try:
                await self._claim(endpoint)
            except Refused as error:
                log("eror", "failed to start endpoint", obj="csess", err=error)

    async def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._writer is None:
            raise Refused("the session with the ngrok service is not established")
        number = next(self._ids)
        self._replies[number] = asyncio.get_running_loop().create_future()
        write_message(self._writer, {"id": number, **message})
        reply = await self._replies[number]
        if "error" in reply:
            raise Refused(reply["error"])
        return reply

    async def _claim(self, endpoint: dict[str, Any]) -> None:
        reply = await self._ask(
            {"bind": endpoint["asked"], "pool": endpoint["pooling_enabled"]}
        )
        endpoint["url"] = reply["url"]
        upstream = endpoint["upstream"]["url"]
        log("info", "started tunnel", obj="tunnels", addr=upstream, url=reply["url"])

    def _relay(self, message: dict[str, Any]) -> None:
        task = asyncio.ensure_future(self._carry(message["open"], message["url"]))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    async def _carry(self, ticket: str, url: str) -> None:
        """Join one public connection to the upstream."""
        hello = {"data": ticket}
        upstream = None
        for endpoint in self._endpoints.values():
            if endpoint.get("url") == url:
                address = _host_and_port(endpoint["upstream"]["url"], 80)
                try:
                    upstream = await asyncio.open_connection(*address)
                except OSError as error:
                    hello["error"] = f"dial tcp {address[0]}:{address[1]}: {error}"
        with contextlib.suppress(OSError):
            data = await asyncio.open_connection(*self._edge)
            write_message(data[1], hello if upstream else {"error": "gone", **hello})
            if upstream is None:
                data[1].close()
            else:
                await splice(upstream, data)

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[_logged])
        app.router.add_get("/api/status", self._on_status)
        app.router.add_get("/api/endpoints", self._on_list)
        app.router.add_post("/api/endpoints", self._on_create)
        app.router.add_delete("/api/endpoints/{name:.+}", self._on_delete)
        return app

    async def _on_status(self, _request: web.Request) -> web.Response:
        status = "online" if self._writer is not None else "reconnecting"
        return web.json_response({"status": status, "agent_version": VERSION})

    async def _on_list(self, _request: web.Request) -> web.Response:
        online = [_shown(e) for e in self._endpoints.values() if "url" in e]
        return web.json_response({"endpoints": online})

    async def _on_create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name = str(asked["name"])
        endpoint: dict[str, Any] = {
            "name": name,
            "uri": f"/api/endpoints/{name}",
            "upstream": {"url": str(asked["upstream"]["url"])},
            "pooling_enabled": bool(asked.get("pooling_enabled")),
            "asked": str(asked.get("url") or ""),
        }
        self._endpoints[name] = endpoint
        try:
            await self._claim(endpoint)
        except Refused as error:
            del self._endpoints[name]
            body = {
                "error_code": 103,
                "status_code": 502,
                "msg": "failed to start endpoint",
                "details": {"err": str(error)},
            }
            return web.json_response(body, status=502)
        return web.json_response(_shown(endpoint), status=201)

    async def _on_delete(self, request: web.Request) -> web.Response:
        endpoint = self._endpoints.pop(request.match_info["name"], None)
        if endpoint is None:
            raise web.HTTPNotFound
        await self._ask({"unbind": endpoint["asked"]})
        return web.Response(status=204)


@web.middleware
async def _logged(request: web.Request, handler: Any) -> web.StreamResponse:
    """Log each request: pyngrok reads a line between its checks of the API."""
    log("info", "request", obj="web", method=request.method, path=request.path)
    response: web.StreamResponse = await handler(request)
    return response


def _shown(endpoint: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in endpoint.items() if name != "asked"}


def _host_and_port(address: str, default_port: int) -> tuple[str, int]:
    host, _, port = address.rpartition("://")[2].rstrip("/").partition(":")
    return host or "127.0.0.1", int(port or default_port)


def _save_token(path: Path, token: str) -> None:
    settings = _read_settings(path) if path.exists() else {}
    plain = {"version": "3", "agent": {**settings, "authtoken": token}}
    path.write_text(yaml.safe_dump(plain))
    path.chmod(0o600)


def _read_settings(path: Path) -> dict[str, Any]:
    plain = yaml.safe_load(path.read_text()) or {}
    return dict(plain.get("agent") or {})


def main(argv: Sequence[str] | None = None) -> int:
    """Do what an agent does for this command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="ngrok")
    version = f"ngrok version {VERSION}"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--authtoken")
    for passed_over in ("--log", "--log-format", "--log-level", "--region"):
        parser.add_argument(passed_over)
    parser.add_argument("--none", action="store_true")
    options = parser.parse_intermixed_args(argv)
    if options.command[:2] == ["config", "add-authtoken"]:
        _save_token(options.config, options.command[2])
        print(f"Authtoken saved to configuration file: {options.config}")  # noqa: T201
        return 0
    settings = _read_settings(options.config)
    if options.authtoken:
        settings["authtoken"] = options.authtoken
    log("info", "open config file", path=options.config)
    return asyncio.run(StandInAgent(settings).run())


if __name__ == "__main__":
    sys.exit(main())
