"""The tunnel's rows."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from spicy_avocado_magic.system.processes import Identity, identify
from tests.machine_speed import scaled

from .fault import DIVISOR, EXIT_S, HANG_S, Fault
from .service import TOKEN, Service

_HANG_S: Final = HANG_S / DIVISOR
_QUOTAS: Final = {725: "bandwidth", 726: "connections", 727: "requests"}
_NGROK_ANSWERS: Final = (
    "While no agent is connected ngrok answers in our place, with a code of its own."
)


def _edge_goes(service: Service) -> None:
    service.mark()
    service.world.run(service.world.edge.close())


def _edge_returns_after(seconds: float) -> Any:
    def repair(service: Service) -> None:
        time.sleep(max(0.0, service.broken_at + seconds - time.monotonic()))
        address = urlsplit(f"//{service.world.sources.edge_address}")
        host, port = address.hostname or "", address.port or 0
        service.world.run(service.world.edge.start(host, port))

    return repair


def _edge_with(service: Service, **troubles: Any) -> None:
    """Let the edge be in trouble, and cut the session, so that the agent notices."""
    edge = service.world.edge

    async def trouble() -> None:
        for name, value in troubles.items():
            setattr(edge, name, value)
        service.mark()
        edge.drop_sessions()

    service.world.run(trouble())


def _edge_is_well(service: Service) -> None:
    edge = service.world.edge
    edge.max_sessions, edge.is_occupied, edge.quota_code = 3, False, 0
    edge.revoked.clear()


def _forgotten_session(service: Service) -> None:
    _edge_with(service, is_occupied=True)


def _quota_quota_code(code: int) -> Any:
    def use_up(service: Service) -> None:
        service.mark()
        service.world.edge.quota_code = code

    return use_up


def _kill_with(**faults: Any) -> Any:
    """Kill the agent; the next one has these faults."""

    def act(service: Service) -> None:
        service.switch(**faults)
        service.kill(service.agent)

    return act


def _api_hangs(service: Service) -> None:
    service.switch(api_s=60)
    service.mark()
    # The API must have been missed for longer than a hang may take to be noticed.
    time.sleep(scaled(2 * _HANG_S))


def _port_is_taken(service: Service) -> None:
    agent = psutil.Process(service.agent)
    ports = [c.laddr[1] for c in agent.net_connections("tcp") if c.status == "LISTEN"]
    service.kill(agent.pid)
    for port in ports:
        taken = service.undo.enter_context(socket.socket())
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # by somebody else: as good
            taken.bind(("127.0.0.1", port))
            taken.listen()


def _stale_agent_has_the_url(service: Service) -> None:
    """Let an agent of our own configuration take the URL in a moment without ours."""
    config = str(service.folder.agent_config)
    stale = subprocess.Popen(
        [
            *(service.world.sources.tunnel_program, "start", "--none"),
            *("--config", config, "--log", "stdout"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    service.undo.callback(_end, stale, identify(stale.pid))
    assert stale.stdout is not None
    output = ""
    while "client session established" not in output:
        line = stale.stdout.readline()
        assert line, f"the stale agent ended: {output}"
        output += line
    api = re.search(r"addr=(\S+)", output)
    assert api is not None, output
    upstream = {"url": service.state().local_url}
    body = json.dumps({"name": "stale", "upstream": upstream}).encode()
    service.kill(service.agent)
    deadline = time.monotonic() + scaled(5)
    while True:
        asked = urllib.request.Request(f"http://{api[1]}/api/endpoints", body)
        asked.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(asked, timeout=scaled(5)):
                return
        except urllib.error.HTTPError as error:  # our own agent's session still ends
            error.close()
        assert time.monotonic() < deadline, "the stale agent does not get the URL"


def _end(process: subprocess.Popen[str], identity: Identity | None) -> None:
    if identity is not None and identity.is_alive:
        process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


_EDGE_GONE = tuple(
    Fault(
        name=f"edge-gone-{seconds}-s",
        area="tunnel",
        expected="waited for without limit, same URL",
        breaks=_edge_goes,
        bound_s=8.0,
        part="tunnel",
        user_sees=("the tunnel is reconnecting",),
        repairs=_edge_returns_after(seconds / DIVISOR),
    )
    for seconds in (3, 30, 300)
)

_QUOTA = tuple(
    Fault(
        name=f"quota-of-{kind}-used-up",
        area="tunnel",
        expected="shown at the next probe, failed; up tries again",
        breaks=_quota_quota_code(code),
        bound_s=12.0,
        part="tunnel",
        user_sees=(f"ERR_NGROK_{code}", "next month"),
        gives_up=True,
        repairs=_edge_is_well,
        timeouts={"probe_idle_s": 1.0},
        note="Shown within 15 minutes: more probes would use the quota up themselves.",
    )
    for code, kind in _QUOTAS.items()
)

ROWS = (
    Fault(
        name="agent-killed",
        area="tunnel",
        expected="same URL again",
        breaks=lambda service: service.kill(service.agent),
        bound_s=8.0,
        part="tunnel",
        detect_s=EXIT_S,
        user_sees=("The ngrok agent ended unexpectedly.",),
        note=_NGROK_ANSWERS,
    ),
    Fault(
        name="agent-hangs",
        area="tunnel",
        expected="noticed, killed, same URL again",
        breaks=lambda service: service.freeze(service.agent),
        bound_s=8.0,
        part="tunnel",
        detect_s=_HANG_S,
        user_sees=("The ngrok agent hangs",),
    ),
    *_EDGE_GONE,
    Fault(
        name="edge-has-another-session",
        area="tunnel",
        expected="334 from our own lost session is waited out",
        breaks=_forgotten_session,
        bound_s=10.0,
        part="tunnel",
        user_sees=("already online elsewhere (ERR_NGROK_334)",),
        repairs=_edge_is_well,
    ),
    Fault(
        name="url-taken-by-our-stale-agent",
        area="tunnel",
        expected="found by its private config and ended",
        breaks=_stale_agent_has_the_url,
        bound_s=8.0,
        part="tunnel",
    ),
    Fault(
        name="url-in-use-elsewhere",
        area="tunnel",
        expected="334 shown with the remedy, failed; up tries again",
        breaks=_forgotten_session,
        bound_s=15.0,
        part="tunnel",
        user_sees=("already online elsewhere (ERR_NGROK_334)", "--domain"),
        gives_up=True,
        repairs=_edge_is_well,
        note="The other agent keeps the URL; only its owner can end it.",
    ),
    Fault(
        name="agents-too-many",
        area="tunnel",
        expected="108 shown with the remedy, failed; up tries again",
        breaks=lambda service: _edge_with(service, max_sessions=0),
        bound_s=15.0,
        part="tunnel",
        user_sees=("as many agents as its plan allows", "ERR_NGROK_108"),
        gives_up=True,
        repairs=_edge_is_well,
    ),
    Fault(
        name="token-revoked-in-flight",
        area="tunnel",
        expected="107 shown, failed at once: no retry helps",
        breaks=lambda service: _edge_with(service, revoked={TOKEN}),
        bound_s=10.0,
        part="tunnel",
        user_sees=("revoked or reset (ERR_NGROK_107)", "Copy the Authtoken again"),
        gives_up=True,
        repairs=_edge_is_well,
        note="A revoked token never works again; the user must give another.",
    ),
    *_QUOTA,
    Fault(
        name="api-port-taken",
        area="tunnel",
        expected="another port; same URL again",
        breaks=_port_is_taken,
        bound_s=8.0,
        part="tunnel",
        detect_s=EXIT_S,
    ),
    Fault(
        name="log-flood",
        area="tunnel",
        expected="5,000 lines at start do no harm",
        breaks=_kill_with(flood=5_000),
        bound_s=10.0,
        part="tunnel",
    ),
    Fault(
        name="api-slow",
        area="tunnel",
        expected="waited for; same URL again",
        breaks=_kill_with(api_s=0.5),
        bound_s=10.0,
        part="tunnel",
    ),
    Fault(
        name="api-hangs-at-start",
        area="tunnel",
        expected="bounded, shown, failed; up tries again",
        breaks=_kill_with(api_s=60),
        bound_s=25.0,
        part="tunnel",
        user_sees=("was not ready within",),
        gives_up=True,
        repairs=lambda service: service.switch(),
        # Enough for a good start on a busy machine, and few tries of it.
        timeouts={"agent_start_s": 4.0, "restart_tries": 2},
    ),
    Fault(
        name="api-hangs-while-serving",
        area="tunnel",
        expected="a tunnel that works is left alone",
        breaks=_api_hangs,
        bound_s=8.0,
        repairs=lambda service: service.switch(),
        keeps_all=True,
    ),
    Fault(
        name="agent-too-old",
        area="tunnel",
        expected="shown with the version, failed at once; up tries again",
        breaks=_kill_with(agent_version="3.5.0"),
        bound_s=10.0,
        part="tunnel",
        user_sees=("agent 3.5.0 is older than 3.30", "Delete"),
        gives_up=True,
        repairs=lambda service: service.switch(),
    ),
)
