"""Is the public URL ours?"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from aiohttp import web

from spicy_avocado_magic.errors import (
    AvocadoError,
    EndpointUnavailable,
    NetworkUnreachable,
    TrafficPolicyRejected,
    TunnelFailed,
)
from spicy_avocado_magic.protocol.pool import (
    MEMBER_HEADER,
    POOL_HEADER,
    PROBE_HEADER,
    PROOF_HEADER,
    MemberInfo,
    Pool,
    gateway_proof,
)
from spicy_avocado_magic.tunnel.ngrok.provider import NgrokProvider
from spicy_avocado_magic.tunnel.ngrok.traffic_policy import DENIED_HEADER
from spicy_avocado_magic.tunnel.probe import probe, probe_member

from ..tunnel_parts import AgentMaker, Service, serving

SECRET = b"of this gateway"
NONCE = "fresh"
PROVIDER = NgrokProvider()
Answer = Callable[[int, web.Request], web.Response]


def _gateway(answer: Answer) -> web.Application:
    calls: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        calls.append(request.path)
        return answer(len(calls), request)

    app = web.Application()
    app.router.add_get("/api/version", handle)
    return app


def _proven(_call: int, request: web.Request) -> web.Response:
    answer = gateway_proof(SECRET, request.headers[PROBE_HEADER])
    return web.Response(headers={PROOF_HEADER: answer})


def _edge_says(code: str, status: int = 404) -> web.Response:
    return web.Response(status=status, headers={"Ngrok-Error-Code": code})


async def _probe(url: str, deadline_s: float = 0.3) -> None:
    expect = gateway_proof(SECRET, NONCE)
    await probe(url, PROVIDER, nonce=NONCE, expect=expect, deadline_s=deadline_s)


async def test_the_gateway_behind_a_real_relay_is_recognised(
    make_agent: AgentMaker,
) -> None:
    """Through agent and edge, the proof arrives."""
    async with serving(_gateway(_proven)) as gateway:
        await _probe(await make_agent().agent.connect(gateway), deadline_s=5)


async def test_the_edges_own_answers_are_told_apart(
    make_agent: AgentMaker, service: Service
) -> None:
    """A gateway that is down, an agent that is gone, and an edge that is away."""
    watched = make_agent()
    url = await watched.agent.connect("http://127.0.0.1:9")
    with pytest.raises(TunnelFailed, match="ERR_NGROK_8012"):
        await _probe(url)
    await watched.agent.close(1.0)
    with pytest.raises(TunnelFailed, match="ERR_NGROK_3200"):
        await _probe(url)
    await service.edge.close()
    with pytest.raises(NetworkUnreachable):
        await _probe(url)


@pytest.mark.parametrize("answer", ["", "0" * 64, gateway_proof(b"of another", NONCE)])
async def test_a_stranger_behind_the_url_is_not_taken_for_the_gateway(
    answer: str,
) -> None:
    """No proof, or a wrong one, is another program, whatever else it answers."""
    headers = {PROOF_HEADER: answer} if answer else {}
    app = _gateway(lambda _call, _request: web.Response(headers=headers))
    async with serving(app) as url:
        with pytest.raises(TunnelFailed, match="Another program answers"):
            await _probe(url)


async def test_an_endpoint_that_needs_a_moment_is_waited_for() -> None:
    """Each attempt is a new connection, as a pooled URL needs it."""
    peers = set()

    def answer(call: int, request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return _edge_says("ERR_NGROK_3200") if call < 3 else _proven(call, request)

    async with serving(_gateway(answer)) as url:
        await _probe(url, deadline_s=5)
    assert len(peers) == 3, "an attempt used the connection of the one before"


async def test_what_no_wait_mends_is_told_at_once() -> None:
    """A month's quota that is used up is not asked again."""
    calls: list[int] = []

    def answer(call: int, _request: web.Request) -> web.Response:
        calls.append(call)
        return _edge_says("ERR_NGROK_727", 403)

    async with serving(_gateway(answer)) as url:
        with pytest.raises(EndpointUnavailable, match="727"):
            await _probe(url, deadline_s=5)
    assert calls == [1]


async def test_a_code_in_a_good_answer_is_the_strangers_own_text() -> None:
    """Only a refusal of the edge is explained as one."""
    page = web.Response
    app = _gateway(lambda _call, _request: page(text="about ERR_NGROK_107"))
    async with serving(app) as url:
        with pytest.raises(TunnelFailed, match="Another program"):
            await _probe(url)


async def test_silence_is_bounded(unused_tcp_port: int) -> None:
    """A URL that nobody serves ends within the deadline and one short attempt."""
    began = time.monotonic()
    with pytest.raises(AvocadoError):
        await _probe(f"http://127.0.0.1:{unused_tcp_port}")
    assert time.monotonic() - began < 1.5


async def test_loopback_is_never_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy of the environment does not see the rehearsal's URLs."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving(_gateway(_proven)) as url:
        await _probe(url)


async def test_a_member_is_told_from_a_stranger() -> None:
    """A gateway with another key, or another program; each attempt has its nonce."""
    pool, member, stranger = Pool(SECRET), Pool(SECRET), Pool(b"of another key")
    nonces: list[str] = []

    def answer_as(who: Pool) -> Answer:
        def answer(call: int, request: web.Request) -> web.Response:
            nonces.append(request.headers[PROBE_HEADER])
            if call == 1:
                return _edge_says("ERR_NGROK_3200")
            asked = request.headers[POOL_HEADER]
            answered = who.answer(nonces[-1], asked, ["tiny"])
            return web.Response(headers={PROOF_HEADER: answered or "0" * 64})

        return answer

    async def ask(url: str) -> MemberInfo | None:
        return await probe_member(url, PROVIDER, pool=pool, models=[], deadline_s=5)

    async with serving(_gateway(answer_as(member))) as url:
        assert await ask(url) == MemberInfo(member=member.member, models=("tiny",))
    async with serving(_gateway(answer_as(stranger))) as url:
        assert await ask(url) is None
    assert len(set(nonces)) == len(nonces) == 4, "a nonce was used twice"
    page = web.Response
    async with serving(_gateway(lambda _call, _request: page(text="hello"))) as url:
        assert await ask(url) is None, "another program got what clients send, unseen"

    def busy_at_first(call: int, request: web.Request) -> web.Response:
        if call > 1:
            return answer_as(member)(call, request)
        return web.Response(status=429, headers={MEMBER_HEADER: member.member})

    async with serving(_gateway(busy_at_first)) as url:
        assert await ask(url) is not None, "a busy member was taken for a stranger"


async def test_a_denial_by_our_own_rule_is_told_at_once() -> None:
    """The edge reads the rule otherwise than we meant it; waiting mends nothing."""
    calls: list[int] = []

    def answer(call: int, _request: web.Request) -> web.Response:
        calls.append(call)
        return web.Response(status=401, headers={DENIED_HEADER: "denied"})

    async with serving(_gateway(answer)) as url:
        with pytest.raises(TrafficPolicyRejected):
            await _probe(url, deadline_s=5)
    assert calls == [1]
