"""Entry of the host process: ``python -m spicy_avocado_magic.daemon FOLDER``.

Reads one line of JSON on standard input (a ``Launch``, which may hold secrets),
answers one on standard output (``{"ready": …}`` or ``{"failure": …}``), and lives
until it is told to end.
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
from ..protocol.json_codec import from_json
from ..protocol.state import State
from ..protocol.state_folder import DaemonRecord, StateFolder, read_private
from ..system.file_lock import hold_lock
from ..system.paths import cache_folder
from ..system.platforms import detect_platform
from ..system.processes import Identity, identify
from ..system.redaction import Redactor
from ..tunnel.registry import PROVIDERS
from .context import ChildProcesses, DaemonContext
from .control_api import ControlServer, decode_options, failure_line
from .desired_state import no_model, public_settings, secrets_of
from .reaper import Reaper
from .rehearsal_process import RehearsalProcess, start_world
from .state_store import StateStore
from .supervisor import Supervisor, with_key

LOCKED = 75
"""Exit status of a host that found another one alive (``EX_TEMPFAIL``)."""


def main() -> int:
    """Become the host of the folder named, unless there is one."""
    folder = StateFolder(Path(sys.argv[1]))
    launch = json.loads(sys.stdin.readline())
    redact = Redactor(_secrets_in(launch["given"]))
    with hold_lock(folder.lock) as is_ours:
        if not is_ours:
            return LOCKED
        try:
            uvloop.run(_host(folder, launch, redact))
        except AvocadoError as error:
            _answer(failure_line(error, redact))
            return 1
        except Exception as error:
            _answer(failure_line(as_avocado_error(error), redact))
            raise
    return 0


async def _host(folder: StateFolder, launch: dict[str, Any], redact: Redactor) -> None:
    log = EventLog(folder.path / FILE_NAME, redact)
    settings = _settings(folder, launch)
    redact.add(*secrets_of(settings))
    policy = from_json(Timeouts, launch["policy"])
    host = identify(os.getpid())
    if host is None:
        raise DaemonUnreachable(
            "This system does not tell about processes.", "Is /proc mounted?"
        )
    record = DaemonRecord(version=__version__, host=host)
    guard = Reaper(folder.agent_config, folder.log("host"))
    guard.start()
    children = ChildProcesses(folder, record, guard)
    world = await _world(folder, children, launch, policy)
    if world is not None:
        settings = replace(settings, sources=world.sources)
    context = DaemonContext(
        settings=settings,
        folder=folder,
        policy=policy,
        platform=detect_platform(),
        board=StateStore(
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
    owner = launch.get("owner")
    supervisor = Supervisor(context, from_json(Identity, owner) if owner else None)
    control = ControlServer(supervisor)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        name = signal.Signals(number).name
        loop.add_signal_handler(number, supervisor.request_stop, f"got {name}")
    guarding = asyncio.create_task(guard.keep(policy.heartbeat_s), name="guard")
    try:
        await control.start(folder.socket)
        children.publish()
        _answer(json.dumps({"ready": os.getpid()}))
        _leave_the_kernel()
        log.record("host", STARTED, facts=_facts(host, context))
        with _bugs_told(log):
            await supervisor.run()
    finally:
        guarding.cancel()
        await control.stop()
        if world is not None:
            await world.stop()
        guard.stop()
        kept = folder.restart_files if supervisor.keep_desired_state else ()
        folder.remove(keep=(*kept, *folder.logs))
        log.record("host", ENDED, supervisor.why or "by a mistake of its own")


@contextlib.contextmanager
def _bugs_told(log: EventLog) -> Iterator[None]:
    """Let the recorder know of what only the host's own log would hold."""
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


def _settings(folder: StateFolder, launch: dict[str, Any]) -> Settings:
    """Merge what was given into what a host that died or restarts has left."""
    given = decode_options(launch["given"])
    base = Settings(sources=from_json(Endpoints, launch["sources"]))
    left = read_private(folder.desired_state)
    # What cannot be read is what a full disk cut short: nothing was left then.
    with contextlib.suppress(ValueError, TypeError):
        stored = from_json(Settings, json.loads(left or ""))
        base = replace(stored, sources=base.sources)
    if folder.agent_config.exists():
        provider = PROVIDERS[base.sources.tunnel]
        base = replace(base, token=provider.read_token(folder.agent_config))
    settings = with_key(base.merged(given, only=launch["only"]))
    if not settings.models:
        raise no_model()
    return settings


async def _world(
    folder: StateFolder,
    children: ChildProcesses,
    launch: dict[str, Any],
    policy: Timeouts,
) -> RehearsalProcess | None:
    if not launch["sources"]["rehearsal"]:
        return None
    place = cache_folder(rehearsal=True)
    world = await start_world(place, folder.log("rehearsal"), ready_s=policy.launch_s)
    if world.identity is not None:
        children.add("rehearsal", world.identity)
    return world


def _answer(line: str) -> None:
    """Say one line to the kernel, if it still listens."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        return


def _leave_the_kernel() -> None:
    """Let go of the kernel's pipes, so that neither can block the other."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
