"""The probe accepts a URL only if it leads to our gateway."""

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
from tests.machine_speed import scaled

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
    """The proof arrives through agent and edge."""
    async with serving(_gateway(_proven)) as gateway:
        await _probe(await make_agent().agent.connect(gateway), deadline_s=5)


async def test_answers_of_the_edge_itself_are_explained(
    make_agent: AgentMaker, service: Service
) -> None:
    """The gateway is down, the agent has ended, or the edge is gone."""
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
async def test_another_program_behind_the_url_is_not_accepted(
    answer: str,
) -> None:
    """A response without the right proof is another program's."""
    headers = {PROOF_HEADER: answer} if answer else {}
    app = _gateway(lambda _call, _request: web.Response(headers=headers))
    async with serving(app) as url:
        with pytest.raises(TunnelFailed, match="Another program answers"):
            await _probe(url)


async def test_an_endpoint_that_is_not_online_yet_is_retried() -> None:
    """Each attempt opens a new connection, which a pooled URL requires."""
    peers = set()

    def answer(call: int, request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return _edge_says("ERR_NGROK_3200") if call < 3 else _proven(call, request)

    async with serving(_gateway(answer)) as url:
        await _probe(url, deadline_s=5)
    assert len(peers) == 3, "an attempt reused a connection"


async def test_a_permanent_error_is_not_retried() -> None:
    """A month's quota that is used up stays so."""
    calls: list[int] = []

    def answer(call: int, _request: web.Request) -> web.Response:
        calls.append(call)
        return _edge_says("ERR_NGROK_727", 403)

    async with serving(_gateway(answer)) as url:
        with pytest.raises(EndpointUnavailable, match="727"):
            await _probe(url, deadline_s=5)
    assert calls == [1]


async def test_a_code_in_a_successful_response_is_not_the_edges() -> None:
    """Another program may serve a text that contains one."""
    page = web.Response
    app = _gateway(lambda _call, _request: page(text="about ERR_NGROK_107"))
    async with serving(app) as url:
        with pytest.raises(TunnelFailed, match="Another program"):
            await _probe(url)


async def test_a_url_that_does_not_answer_ends_in_time(unused_tcp_port: int) -> None:
    """The probe fails within the deadline and one short attempt."""
    began = time.monotonic()
    with pytest.raises(AvocadoError):
        await _probe(f"http://127.0.0.1:{unused_tcp_port}")
    assert time.monotonic() - began < scaled(1.5)


async def test_a_loopback_url_is_never_requested_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy of the environment does not see the rehearsal's URLs."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving(_gateway(_proven)) as url:
        await _probe(url)


async def test_a_member_of_the_pool_is_recognised() -> None:
    """Gateways with another key and other programs are not; nonces are never reused."""
    pool, member, outsider = Pool(SECRET), Pool(SECRET), Pool(b"of another key")
    nonces: list[str] = []

    def answer_as(answering_pool: Pool) -> Answer:
        def answer(call: int, request: web.Request) -> web.Response:
            nonces.append(request.headers[PROBE_HEADER])
            if call == 1:
                return _edge_says("ERR_NGROK_3200")
            challenge = request.headers[POOL_HEADER]
            answered = answering_pool.answer(nonces[-1], challenge, ["tiny"])
            return web.Response(headers={PROOF_HEADER: answered or "0" * 64})

        return answer

    async def ask(url: str) -> MemberInfo | None:
        return await probe_member(url, PROVIDER, pool=pool, models=[], deadline_s=5)

    async with serving(_gateway(answer_as(member))) as url:
        assert await ask(url) == MemberInfo(member=member.member, models=("tiny",))
    async with serving(_gateway(answer_as(outsider))) as url:
        assert await ask(url) is None
    assert len(set(nonces)) == len(nonces) == 4, "a nonce was used twice"
    page = web.Response
    async with serving(_gateway(lambda _call, _request: page(text="hello"))) as url:
        assert await ask(url) is None, "another program was not noticed"

    def busy_at_first(call: int, request: web.Request) -> web.Response:
        if call > 1:
            return answer_as(member)(call, request)
        return web.Response(status=429, headers={MEMBER_HEADER: member.member})

    async with serving(_gateway(busy_at_first)) as url:
        assert await ask(url) is not None, "a busy member was not recognised"


async def test_a_refusal_by_our_own_traffic_policy_is_not_retried() -> None:
    """The edge understands the policy in another way, which does not change."""
    calls: list[int] = []

    def answer(call: int, _request: web.Request) -> web.Response:
        calls.append(call)
        return web.Response(status=401, headers={DENIED_HEADER: "denied"})

    async with serving(_gateway(answer)) as url:
        with pytest.raises(TrafficPolicyRejected):
            await _probe(url, deadline_s=5)
    assert calls == [1]
