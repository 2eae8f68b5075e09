"""Entry of the daemon: ``python -m spicy_avocado_magic.daemon FOLDER``.

It reads a ``LaunchRequest`` from standard input, writes a ``LaunchReply`` to standard
output, and runs until it is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import secrets
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from .. import __version__
from ..config.options import OPTIONS
from ..config.settings import Endpoints, Settings
from ..config.timeouts import Timeouts
from ..errors import AvocadoError, DaemonUnreachable, as_avocado_error
from ..protocol.event_log import ENDED, FILE_NAME, STARTED, EventLog
from ..protocol.json_codec import from_json, to_json
from ..protocol.launch_request import LaunchReply, LaunchRequest
from ..protocol.state import State
from ..protocol.state_folder import DaemonRecord, StateFolder, read_private
from ..system.file_lock import hold_lock
from ..system.paths import cache_folder
from ..system.platforms import detect_platform
from ..system.processes import Identity, identify
from ..system.redaction import Redactor
from ..tunnel.registry import PROVIDERS
from .context import ChildProcesses, DaemonContext
from .control_api import ControlServer, decode_options
from .desired_state import no_model, public_settings, secrets_of
from .reaper import Reaper
from .rehearsal_process import RehearsalProcess, start_world
from .state_store import StateStore, to_failure
from .supervisor import Supervisor, with_key

LOCKED = 75
"""Exit status of a daemon that found another one running (``EX_TEMPFAIL``)."""


def main() -> int:
    """Run the daemon of a state folder, unless one is running."""
    folder = StateFolder(Path(sys.argv[1]))
    request = from_json(LaunchRequest, json.loads(sys.stdin.readline()))
    redact = Redactor(_secrets_in(request.given))
    with hold_lock(folder.lock) as is_ours:
        if not is_ours:
            return LOCKED
        try:
            uvloop.run(_run(folder, request, redact))
        except AvocadoError as error:
            _answer(LaunchReply(failure=to_failure(error, redact)))
            return 1
        except Exception as error:
            failure = to_failure(as_avocado_error(error), redact)
            _answer(LaunchReply(failure=failure))
            raise
    return 0


async def _run(folder: StateFolder, request: LaunchRequest, redact: Redactor) -> None:
    log = EventLog(folder.path / FILE_NAME, redact)
    settings = _settings(folder, request)
    redact.add(*secrets_of(settings))
    timeouts = from_json(Timeouts, request.timeouts)
    host = identify(os.getpid())
    if host is None:
        raise DaemonUnreachable(
            "This system gives no information about processes.",
            "Mount /proc, then run %avocado_up again.",
        )
    record = DaemonRecord(version=__version__, host=host)
    reaper = Reaper(folder.agent_config, folder.log("host"))
    reaper.start()
    children = ChildProcesses(folder, record, reaper)
    world = await _world(folder, children, request, timeouts)
    if world is not None:
        settings = replace(settings, sources=world.sources)
    context = DaemonContext(
        settings=settings,
        folder=folder,
        timeouts=timeouts,
        platform=detect_platform(),
        store=StateStore(
            State(
                rehearsal=settings.sources.rehearsal,
                version=__version__,
                pid=os.getpid(),
                log_path=str(folder.path / FILE_NAME),
            ),
            redact=redact,
        ),
        children=children,
        log=log,
        redact=redact,
        probe_secret=secrets.token_bytes(32),
    )
    supervisor = Supervisor(context, request.owner)
    control = ControlServer(supervisor)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        name = signal.Signals(number).name
        loop.add_signal_handler(number, supervisor.request_stop, f"got {name}")
    reaping = asyncio.create_task(reaper.keep(timeouts.heartbeat_s), name="reaper")
    try:
        await control.start(folder.socket)
        children.publish()
        _answer(LaunchReply(ready=os.getpid()))
        _detach_from_kernel()
        log.record("host", STARTED, facts=_facts(host, context))
        with _log_bugs(log):
            await supervisor.run()
    finally:
        reaping.cancel()
        await control.stop()
        if world is not None:
            await world.stop()
        reaper.stop()
        kept = folder.restart_files if supervisor.keep_desired_state else ()
        folder.remove(keep=(*kept, *folder.logs))
        log.record("host", ENDED, supervisor.reason or "after an internal error")


@contextlib.contextmanager
def _log_bugs(log: EventLog) -> Iterator[None]:
    """Write an unexpected error to the event log, too."""
    try:
        yield
    except Exception as error:
        log(f"broke: {type(error).__name__}: {error}")
        raise


def _facts(host: Identity, context: DaemonContext) -> dict[str, Any]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "where": context.platform.name,
        "start": host.start,
        "rehearsal": context.settings.sources.rehearsal,
        "settings": public_settings(context.settings),
    }


def _secrets_in(given: dict[str, Any]) -> list[str]:
    return [given[o.name] for o in OPTIONS if o.is_secret and given.get(o.name)]


def _settings(folder: StateFolder, request: LaunchRequest) -> Settings:
    """Merge the given options into the desired state that an earlier daemon left."""
    given = decode_options(request.given)
    base = Settings(sources=from_json(Endpoints, request.endpoints))
    left = read_private(folder.desired_state)
    # A file that is unreadable was cut short by a full disk: it counts as missing.
    with contextlib.suppress(ValueError, TypeError):
        stored = from_json(Settings, json.loads(left or ""))
        base = replace(stored, sources=base.sources)
    if folder.agent_config.exists():
        provider = PROVIDERS[base.sources.tunnel]
        base = replace(base, token=provider.read_token(folder.agent_config))
    settings = with_key(base.merged(given, only=request.only))
    if not settings.models:
        raise no_model()
    return settings


async def _world(
    folder: StateFolder,
    children: ChildProcesses,
    request: LaunchRequest,
    timeouts: Timeouts,
) -> RehearsalProcess | None:
    if not from_json(Endpoints, request.endpoints).rehearsal:
        return None
    place = cache_folder(rehearsal=True)
    world = await start_world(place, folder.log("rehearsal"), ready_s=timeouts.launch_s)
    if world.identity is not None:
        children.add("rehearsal", world.identity)
    return world


def _answer(reply: LaunchReply) -> None:
    """Write the reply to the kernel, if it still reads."""
    try:
        sys.stdout.write(json.dumps(to_json(reply)) + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        return


def _detach_from_kernel() -> None:
    """Close the kernel's pipes, so that neither process can block the other."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
