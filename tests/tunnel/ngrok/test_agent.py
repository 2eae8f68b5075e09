"""Unmodified pyngrok with the fake agent and edge."""

from __future__ import annotations

import asyncio
import io
import json
import os
import secrets
import signal
import socket
import sys
import time
import urllib.request
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import web
from pyngrok import ngrok, process
from pyngrok.conf import PyngrokConfig
from pyngrok.process import NgrokProcess

from spicy_avocado_magic.errors import (
    AvocadoError,
    EndpointUnavailable,
    InvalidToken,
    NetworkUnreachable,
    TrafficPolicyRejected,
    TunnelFailed,
)
from spicy_avocado_magic.tunnel.ngrok.agent import session_event
from spicy_avocado_magic.tunnel.ngrok.traffic_policy import (
    DENIED_HEADER,
    require_key_policy,
)
from tests.machine_speed import scaled

from ...tunnel_parts import TOKEN, AgentMaker, Service, Upstream, answering, serving

WriteProgram = Callable[[str], Path]

HUNG_API = f"""#!{sys.executable}
import socket
server = socket.create_server(("127.0.0.1", 0))
print(f'lvl=info msg="starting web service" addr=127.0.0.1:{{server.getsockname()[1]}}')
print('lvl=info msg="tunnel session started"')
print('lvl=info msg="client session established"', flush=True)
connection = server.accept()[0]
input() if False else connection.recv(1) and __import__("time").sleep(60)
"""


def _alive_in_group(group: int) -> list[int]:
    """Return the group's processes, except zombies."""
    alive = []
    for found in psutil.process_iter(["pid", "status"]):
        with suppress(ProcessLookupError):
            is_member = os.getpgid(found.info["pid"]) == group
            if is_member and found.info["status"] != psutil.STATUS_ZOMBIE:
                alive.append(found.info["pid"])
    return alive


def _in_proc(text: str) -> list[Path]:
    """Return the command lines and environments that contain a text."""
    found = []
    for path in (*Path("/proc").glob("*/cmdline"), *Path("/proc").glob("*/environ")):
        with suppress(OSError):
            if text.encode() in path.read_bytes():
                found.append(path)
    return found


async def _get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_a_large_body_comes_back_whole(
    make_agent: AgentMaker, upstream: Upstream
) -> None:
    """Bytes pass in both directions unchanged, even more than fit in buffers."""
    url = await make_agent().agent.connect(upstream.url)
    body = os.urandom(3_000_000)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/echo", data=io.BytesIO(body)) as response,
    ):
        assert await response.read() == body, "the tunnel changed the bytes"


async def test_a_response_is_streamed(
    make_agent: AgentMaker, upstream: Upstream
) -> None:
    """A part arrives before the next part exists."""
    url = await make_agent().agent.connect(upstream.url)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/stream") as response,
    ):
        async with asyncio.timeout(scaled(2)):
            assert await response.content.readexactly(3) == b"one"
        upstream.go_on.set()
        assert await response.content.readexactly(3) == b"two"


async def test_a_client_that_disconnects_cancels_the_upstream_handler(
    make_agent: AgentMaker, upstream: Upstream
) -> None:
    """The upstream's handler is cancelled when the public client closes."""
    url = await make_agent().agent.connect(upstream.url)
    async with aiohttp.ClientSession() as session:
        response = await session.get(f"{url}/stream")
        response.close()
    async with asyncio.timeout(scaled(2)):
        await upstream.was_cancelled.wait()


@pytest.mark.alone
async def test_a_killed_agent_is_noticed_and_its_url_comes_back(
    make_agent: AgentMaker,
) -> None:
    """After kill -9 ``wait_exit`` returns, and ``connect`` gets the same URL."""
    watched = make_agent()
    async with answering("here") as upstream_url:
        url = await watched.agent.connect(upstream_url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watched.agent.wait_exit(), 0.05)
        os.kill(watched.spawned[0].pid, signal.SIGKILL)
        began = time.monotonic()
        await watched.agent.wait_exit()
        assert time.monotonic() - began < scaled(0.2), "the exit was noticed too late"
        assert (await _get(url))[0] == 404, "a dead agent's URL is still online"
        assert await watched.agent.connect(upstream_url) == url
        assert await _get(url) == (200, "here")
    assert len(watched.spawned) == 2


@pytest.mark.parametrize(
    ("token", "kind", "number"),
    [
        ("malformed_2abcdefghijklmnopqrst", InvalidToken, 105),
        ("revoked_2abcdefghijklmnopqrstuv", InvalidToken, 107),
    ],
)
async def test_the_error_of_a_refused_token_does_not_contain_it(
    make_agent: AgentMaker,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    token: str,
    kind: type[AvocadoError],
    number: int,
) -> None:
    """The code is explained; the token that ngrok repeats appears nowhere."""
    watched = make_agent(token=token)
    with pytest.raises(kind, match=f"ERR_NGROK_{number}") as caught:
        await watched.agent.connect("http://127.0.0.1:9")
    shown = str(caught.value) + "".join(caught.value.log_tail) + "".join(watched.lines)
    assert "Your authtoken" in shown, "the agent's own words are missing"
    assert token not in shown, "the token is in an error or in a line"
    assert token not in "".join(capfd.readouterr()), "the token was printed"
    assert token not in caplog.text, "the token was logged"
    assert watched.processes == [], "a refused agent was left running"


async def test_too_many_agents_is_an_error_with_the_limit(
    make_agent: AgentMaker, service: Service
) -> None:
    """ERR_NGROK_108 contains the number of agents that the account may have."""
    service.edge.max_sessions = 1
    await make_agent().agent.connect("http://127.0.0.1:9")
    with pytest.raises(EndpointUnavailable, match=r"plan allows: 1 \(ERR_NGROK_108\)"):
        await make_agent().agent.connect("http://127.0.0.1:9")


async def test_a_url_that_is_online_is_refused_unless_both_pool(
    make_agent: AgentMaker,
) -> None:
    """ERR_NGROK_334 is explained, and the refused agent is ended."""
    await make_agent().agent.connect("http://127.0.0.1:9", domain="a.ngrok.app")
    second = make_agent()
    with pytest.raises(EndpointUnavailable, match="ERR_NGROK_334"):
        await second.agent.connect(
            "http://127.0.0.1:9", domain="a.ngrok.app", pool=True
        )
    assert second.processes == [], "the refused agent was left running"


async def test_pooled_agents_share_one_url(make_agent: AgentMaker) -> None:
    """Both members of a pool get requests of the same URL."""
    async with AsyncExitStack() as servers:
        urls = []
        for text in ("left", "right"):
            upstream_url = await servers.enter_async_context(answering(text))
            urls.append(await make_agent().agent.connect(upstream_url, pool=True))
        assert urls[0] == urls[1]
        answers = {(await _get(urls[0]))[1] for _ in range(40)}
    assert answers == {"left", "right"}, "one member of the pool got no request"


async def test_each_request_of_a_connection_reaches_any_member(
    make_agent: AgentMaker,
) -> None:
    """The edge balances requests, not connections."""

    def named(name: str) -> web.Application:
        async def answer(_request: web.Request) -> web.Response:
            return web.Response(text=name)

        app = web.Application()
        app.router.add_get("/", answer)
        return app

    made: list[str] = []

    async def on_connection(*_: object) -> None:
        made.append("connection")

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(on_connection)
    async with AsyncExitStack() as servers:
        urls = []
        for name in ("left", "right"):
            upstream_url = await servers.enter_async_context(serving(named(name)))
            urls.append(await make_agent().agent.connect(upstream_url, pool=True))
        async with aiohttp.ClientSession(trace_configs=[trace]) as session:
            answers = set()
            for _ in range(40):
                async with session.get(urls[0]) as reply:
                    answers.add(await reply.text())
    assert len(made) == 1, "the client had to reconnect"
    assert answers == {"left", "right"}, "a connection reached only one member"


async def test_the_edge_applies_the_traffic_policy(make_agent: AgentMaker) -> None:
    """It is passed as a string through unmodified pyngrok and the agent's API."""
    async with answering("through") as upstream_url:
        url = await make_agent().agent.connect(
            upstream_url, traffic_policy=require_key_policy()
        )
        with_key = {"Authorization": "Bearer any"}
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/?a") as reply:
                assert await reply.text() == "through"
            async with session.post(url) as reply:
                assert (reply.status, DENIED_HEADER in reply.headers) == (401, True)
            async with session.get(url, headers=with_key) as reply:
                assert await reply.text() == "through"


@pytest.mark.parametrize(
    ("token", "policy"),
    [("ruleless_" + TOKEN, require_key_policy()), (TOKEN, '{"on_http_request": 1}')],
)
async def test_a_rejected_traffic_policy_has_its_own_error(
    make_agent: AgentMaker, token: str, policy: str
) -> None:
    """The caller can connect again without it."""
    watched = make_agent(token=token)
    with pytest.raises(TrafficPolicyRejected):
        await watched.agent.connect("http://127.0.0.1:9", traffic_policy=policy)
    assert watched.processes == [], "the refused agent was left running"
    assert await watched.agent.connect("http://127.0.0.1:9")


@pytest.mark.parametrize("text", ["#!/bin/sh\nexec sleep 60\n", HUNG_API])
async def test_an_agent_that_never_gets_ready_is_ended_in_time(
    make_agent: AgentMaker, program: WriteProgram, text: str
) -> None:
    """A silent agent, or one with a hanging API, is an error within the time limit."""
    watched = make_agent(program=program(text), agent_start_s=0.6)
    began = time.monotonic()
    with pytest.raises(TunnelFailed, match=r"not ready within 0\.6 s"):
        await watched.agent.connect("http://127.0.0.1:9")
    assert time.monotonic() - began < scaled(3.0), "the hung agent blocked the caller"
    assert watched.spawned, "the process was not reported"
    assert watched.processes == [], "the hung agent was left running"


async def test_the_error_of_an_agent_that_ends_at_once_has_its_output(
    make_agent: AgentMaker, program: WriteProgram
) -> None:
    """The last lines of its log are in the error."""
    broken = program("#!/bin/sh\necho 'ERROR: bad configuration' >&2\nexit 1\n")
    with pytest.raises(TunnelFailed) as caught:
        await make_agent(program=broken).agent.connect("http://127.0.0.1:9")
    assert "ERROR: bad configuration" in caught.value.log_tail


async def test_an_unreachable_edge_is_a_network_problem(
    make_agent: AgentMaker, service: Service
) -> None:
    """An agent that cannot connect to ngrok raises NetworkUnreachable."""
    await service.edge.close()
    with pytest.raises(NetworkUnreachable):
        await make_agent(agent_start_s=4.0).agent.connect("http://127.0.0.1:9")


async def test_a_dropped_session_is_reported_and_comes_back_with_its_url(
    make_agent: AgentMaker, service: Service
) -> None:
    """The agent reconnects by itself, both events are reported, and the URL works."""
    watched = make_agent()
    async with answering("here") as upstream_url:
        url = await watched.agent.connect(upstream_url)
        await watched.line_with("started tunnel")
        seen, before = len(watched.lines), len(watched.sessions)
        service.edge.drop_sessions()
        await watched.line_with("started tunnel", after=seen)
        assert await _get(url) == (200, "here")
    assert watched.sessions[before:] == ["lost", "established"]


async def test_an_occupied_api_port_is_skipped(make_agent: AgentMaker) -> None:
    """Another agent may use the usual port of the local API."""
    watched = make_agent()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = json.loads(watched.config_path.read_text())
        settings["agent"]["web_addr"] = address
        watched.config_path.write_text(json.dumps(settings))
        await watched.agent.connect("http://127.0.0.1:9")
    lines = [line for line in watched.lines if "starting web service" in line]
    assert len(lines) == 1
    assert f"addr={address}" not in lines[0]


async def test_the_token_is_in_no_command_line_and_no_environment(
    make_agent: AgentMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not in /proc, even if our environment contains it."""
    token = secrets.token_hex(20)  # of nobody else who tests on this machine
    monkeypatch.setenv("NGROK_AUTHTOKEN", token)
    watched = make_agent(token=token)
    await watched.agent.connect("http://127.0.0.1:9")
    assert await asyncio.to_thread(_in_proc, token) == [], "the token is in /proc"
    assert token not in "".join(watched.lines)


async def test_the_local_api_is_not_requested_through_a_proxy(
    make_agent: AgentMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``http_proxy`` does not apply to pyngrok's calls to its agent."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.org")
    # It remembers the proxies of its first use.
    monkeypatch.setattr(urllib.request, "_opener", None)
    await make_agent(agent_start_s=5.0).agent.connect("http://127.0.0.1:9")


async def test_a_cancelled_connect_leaves_nothing_running(
    make_agent: AgentMaker, program: WriteProgram
) -> None:
    """``connect`` ends what it started, at whatever step it is cancelled."""
    watched = make_agent(program=program("#!/bin/sh\nexec sleep 60\n"))
    for delay_s in (0.0, 0.1):
        connecting = asyncio.create_task(watched.agent.connect("http://127.0.0.1:9"))
        await asyncio.sleep(delay_s)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert watched.processes == [], f"left after {delay_s} s"


async def test_a_start_in_progress_is_waited_for_and_ended(
    make_agent: AgentMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that pyngrok starts after the cancellation is ended too."""
    watched = make_agent()
    get_ngrok_process = ngrok.get_ngrok_process

    def slowly(config: PyngrokConfig) -> NgrokProcess:
        time.sleep(0.2)
        return get_ngrok_process(config)

    monkeypatch.setattr(ngrok, "get_ngrok_process", slowly)
    connecting = asyncio.create_task(watched.agent.connect("http://127.0.0.1:9"))
    await asyncio.sleep(0.01)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert watched.agent._idle.is_set(), "pyngrok was still starting an agent"
    assert watched.processes == []


async def test_an_agent_that_ignores_sigterm_is_killed(
    make_agent: AgentMaker, program: WriteProgram
) -> None:
    """After the grace period the whole group is killed, grandchildren included."""
    stubborn = program(
        "#!/bin/sh\ntrap '' TERM\nsleep 60 &\nwhile :; do sleep 1; done\n"
    )
    watched = make_agent(program=stubborn)
    connecting = asyncio.create_task(watched.agent.connect("http://127.0.0.1:9"))
    await watched.was_spawned.wait()
    began = time.monotonic()
    await watched.agent.close(0.3)
    assert time.monotonic() - began < scaled(2.0)
    with pytest.raises(TunnelFailed):
        await connecting
    assert watched.processes == []
    assert not _alive_in_group(watched.spawned[0].pid), "a grandchild is still running"


async def test_the_next_start_waits_for_a_close_that_was_cancelled(
    make_agent: AgentMaker,
) -> None:
    """Two agents of one configuration never overlap."""
    watched = make_agent()
    await watched.agent.connect("http://127.0.0.1:9")
    os.kill(watched.spawned[0].pid, signal.SIGSTOP)  # so that it ends late
    closing = asyncio.create_task(watched.agent.close(0.3))
    await asyncio.sleep(0)
    closing.cancel()
    with suppress(asyncio.CancelledError):
        await closing
    await watched.agent.connect("http://127.0.0.1:9")
    assert watched.processes == [watched.spawned[1]]


async def test_repeated_connects_leave_no_open_files(make_agent: AgentMaker) -> None:
    """A closed agent leaves no pipe, no file and no entry in pyngrok."""
    watched = make_agent()
    counts = []
    for _ in range(3):
        await watched.agent.connect("http://127.0.0.1:9")
        await watched.agent.close(1.0)
        counts.append(psutil.Process().num_fds())
    assert counts[-1] == counts[0], "each connect leaves a file open"
    known = [path for path in process._current_processes if "agent-0" in path]
    assert known == [], "pyngrok still knows the closed agent"
    left = list(watched.config_path.parent.iterdir())
    assert left == [watched.config_path], "a closed agent leaves its script behind"


async def test_close_and_wait_exit_work_without_an_agent(
    make_agent: AgentMaker,
) -> None:
    """Both return at once if nothing was started."""
    watched = make_agent()
    await watched.agent.wait_exit()
    await watched.agent.close(1.0)


def test_only_lines_about_the_session_are_events() -> None:
    """Other lines are ignored."""
    assert session_event('lvl=info msg="client session established" obj=csess') == (
        "established"
    )
    assert session_event('msg="session closed, starting reconnect loop"') == "lost"
    assert session_event('msg="starting web service"') is None


async def test_a_stale_agent_of_the_same_configuration_is_ended(
    make_agent: AgentMaker, upstream: Upstream, tmp_path: Path
) -> None:
    """One that a killed daemon left would keep the session and the URL (334)."""
    watched = make_agent()
    command = [str(tmp_path / "ngrok"), "start", "--none", "--config"]
    stale = await asyncio.create_subprocess_exec(
        *(*command, str(watched.config_path), "--log", "stdout"),
        stdout=PIPE,
        start_new_session=True,
    )
    assert stale.stdout is not None
    await stale.stdout.readline()
    await watched.agent.connect(upstream.url)
    async with asyncio.timeout(scaled(5)):
        await stale.communicate()
    assert [process.pid for process in watched.spawned] != [stale.pid]
