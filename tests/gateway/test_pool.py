"""A gateway as a member of a pool: whom it proves itself to, and its mark."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from spicy_avocado_magic.protocol.pool import (
    MEMBER_HEADER,
    POOL_HEADER,
    PROBE_HEADER,
    PROOF_HEADER,
    MemberInfo,
    Pool,
    gateway_proof,
)

from .conftest import OWNER, PROBE_SECRET, WITH_KEY, Engine, Front, exchange

CHAT = b'{"model":"tiny"}'
POOL_SECRET = b"derived from the key"


async def test_a_member_of_the_pool_gets_a_proof_and_our_models(front: Front) -> None:
    """Its own proof comes first; then both know each other and what they serve."""
    ours, theirs = Pool(POOL_SECRET), Pool(POOL_SECRET)
    front.gateway.pool = ours
    asked = theirs.ask("nonce-1", ["other"])
    headers = {PROBE_HEADER: "nonce-1", POOL_HEADER: asked}
    _, reply, _ = await front.call("GET", "/api/version", headers=headers)
    card = theirs.verify_answer("nonce-1", reply.headers[PROOF_HEADER])
    assert card == MemberInfo(member=ours.member, models=OWNER.models)
    known = ours.members((), within_s=60)
    assert [(member.id, member.models) for member in known[1:]] == [
        (theirs.member, ("other",))
    ]


@pytest.mark.parametrize(
    "asked",
    [None, "", "x", Pool(b"of another key").ask("nonce-1", [])],
    ids=["nothing", "empty", "short", "another key's"],
)
async def test_only_members_get_a_proof_to_try_keys_against(
    front: Front, asked: str | None
) -> None:
    """Without a member's proof, the pool's secret is not used to answer."""
    front.gateway.pool = Pool(POOL_SECRET)
    headers = {PROBE_HEADER: "nonce-1"}
    headers |= {} if asked is None else {POOL_HEADER: asked}
    _, reply, body = await front.call("GET", "/api/version", headers=headers)
    assert reply.headers[PROOF_HEADER] == gateway_proof(PROBE_SECRET, "nonce-1")
    assert b"tiny" not in body, "the models were revealed without a key"
    assert len(front.gateway.pool.members((), within_s=60)) == 1, "it counts as one"


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("GET", "/", {}),
        ("POST", "/api/chat", WITH_KEY),
        ("POST", "/api/chat", {}),
        ("OPTIONS", "/api/chat", {}),
        ("GET", "/nowhere", {}),
        ("GET", "/api/version", {PROBE_HEADER: "n"}),
    ],
)
async def test_every_reply_says_which_member_gave_it(
    front: Front, method: str, path: str, key: dict[str, str]
) -> None:
    """Relayed, refused or our own; without a pool there is no member header."""
    call = {"data": CHAT, "headers": key} if method == "POST" else {"headers": key}
    _, reply, _ = await front.call(method, path, **call)
    assert MEMBER_HEADER not in reply.headers
    front.gateway.pool = Pool(POOL_SECRET)
    _, reply, _ = await front.call(method, path, **call)
    assert reply.headers.getall(MEMBER_HEADER) == [front.gateway.pool.member]


async def test_a_streamed_reply_says_which_member_gave_it(
    front: Front, engine: Engine
) -> None:
    """Its head leaves long before its end."""

    async def stream(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"a")
            await asyncio.sleep(0.01)
        return response

    engine.reply = stream
    front.gateway.pool = Pool(POOL_SECRET)
    _, reply, body = await front.call("POST", "/api/chat", data=CHAT, headers=WITH_KEY)
    assert body == b"aaa"
    assert reply.headers[MEMBER_HEADER] == front.gateway.pool.member


async def test_what_is_no_http_is_answered_by_a_member_too(front: Front) -> None:
    """Also what the library refuses before we see it."""
    front.gateway.pool = Pool(POOL_SECRET)
    answer = await exchange(front.port, b"GET / HTTP/1.1\r\nbroken\r\n\r\n")
    assert front.gateway.pool.member.encode() in answer, answer
