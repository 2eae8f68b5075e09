"""A stand-in ngrok v3 agent, which unmodified pyngrok starts and accepts.

It logs and answers what pyngrok 9.1 expects of an agent (its modules ``process`` and
``ngrok``) and connects to ``fake_ngrok.edge``. Settings come from the agent's own YAML
file, version 3 (https://ngrok.com/docs/agent/config/v3): ``authtoken``,
``connect_url`` and ``web_addr``.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import web

from ...system import IMPORT_ROOT
from .session_client import EdgeRejected, EdgeSession, host_and_port, log

VERSION: Final = "3.30.0"
_API_PORTS_TRIED: Final = 100


def write_agent_script(path: Path, module: str = __name__) -> Path:
    """Write an executable ``ngrok`` that runs a module, and return its path.

    This module's version is printed by the shell, since an agent prints it at once.
    """
    print_version = f'test "$*" = --version && echo "ngrok version {VERSION}" && exit\n'
    path.write_text(
        "#!/bin/sh\n"
        f"{print_version if module == __name__ else ''}"
        f"export PYTHONPATH={shlex.quote(str(IMPORT_ROOT))}"
        '${PYTHONPATH:+":$PYTHONPATH"}\n'
        f'exec {shlex.quote(sys.executable)} -P -m {module} "$@"\n'
    )
    path.chmod(0o700)
    return path


class StandInAgent:
    """One agent process: its session with the edge, and its local API."""

    def __init__(self, settings: dict[str, Any]) -> None:
        token = str(settings.get("authtoken") or "")
        self._session = EdgeSession(token, str(settings.get("connect_url") or ""))
        self._api = host_and_port(str(settings.get("web_addr") or ""), 4040)

    async def run(self) -> int:
        """Serve until a signal arrives or the edge refuses the token."""
        runner = web.AppRunner(self.create_app(), access_log=None)
        await runner.setup()
        await self._open_api(runner)
        session = asyncio.ensure_future(self._session.stay_connected())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, session.cancel)
        try:
            await session
        except asyncio.CancelledError:
            log("info", "received stop request", obj="app")
            return 0
        except EdgeRejected as error:
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
        raise EdgeRejected(f"no free port for the local API from {first}")

    def create_app(self) -> web.Application:
        """Return the local API."""
        app = web.Application(middlewares=[_logged])
        app.router.add_get("/api/status", self._on_status)
        app.router.add_get("/api/endpoints", self._on_list)
        app.router.add_post("/api/endpoints", self._on_create)
        app.router.add_delete("/api/endpoints/{name:.+}", self._on_delete)
        return app

    async def _on_status(self, _request: web.Request) -> web.Response:
        status = "online" if self._session.is_online else "reconnecting"
        return web.json_response({"status": status, "agent_version": VERSION})

    async def _on_list(self, _request: web.Request) -> web.Response:
        online = [_shown(e) for e in self._session.endpoints.values() if "url" in e]
        return web.json_response({"endpoints": online})

    async def _on_create(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = str(body["name"])
        endpoint: dict[str, Any] = {
            "name": name,
            "uri": f"/api/endpoints/{name}",
            "upstream": {"url": str(body["upstream"]["url"])},
            "pooling_enabled": bool(body.get("pooling_enabled")),
            "asked": str(body.get("url") or ""),
        }
        if "traffic_policy" in body:
            endpoint["traffic_policy"] = str(body["traffic_policy"])
        self._session.endpoints[name] = endpoint
        try:
            await self._session.claim(endpoint)
        except EdgeRejected as error:
            del self._session.endpoints[name]
            failure = {
                "error_code": 103,
                "status_code": 502,
                "msg": "failed to start endpoint",
                "details": {"err": str(error)},
            }
            return web.json_response(failure, status=502)
        return web.json_response(_shown(endpoint), status=201)

    async def _on_delete(self, request: web.Request) -> web.Response:
        endpoint = self._session.endpoints.pop(request.match_info["name"], None)
        if endpoint is None:
            raise web.HTTPNotFound
        await self._session.ask({"unbind": endpoint["asked"]})
        return web.Response(status=204)


@web.middleware
async def _logged(request: web.Request, handler: Any) -> web.StreamResponse:
    """Log each request, since pyngrok reads a log line between its health checks."""
    log("info", "request", obj="web", method=request.method, path=request.path)
    response: web.StreamResponse = await handler(request)
    return response


def _shown(endpoint: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in endpoint.items() if name != "asked"}


def _save_token(path: Path, token: str) -> None:
    settings = _read_settings(path) if path.exists() else {}
    config = {"version": "3", "agent": {**settings, "authtoken": token}}
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)


def _read_settings(path: Path) -> dict[str, Any]:
    config = yaml.safe_load(path.read_text()) or {}
    return dict(config.get("agent") or {})


def main(
    argv: Sequence[str] | None = None,
    agent_class: type[StandInAgent] = StandInAgent,
    version: str = VERSION,
) -> int:
    """Run the agent's command line and return its exit code.

    Args:
        argv: The command line without the program's name; by default this process's.
        agent_class: The agent to run.
        version: What ``--version`` prints.
    """
    parser = argparse.ArgumentParser(prog="ngrok")
    printed = f"ngrok version {version}"
    parser.add_argument("--version", action="version", version=printed)
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--authtoken")
    for ignored in ("--log", "--log-format", "--log-level", "--region"):
        parser.add_argument(ignored)
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
    return asyncio.run(agent_class(settings).run())


if __name__ == "__main__":
    sys.exit(main())
