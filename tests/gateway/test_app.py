"""The gateway as a whole: the order of its questions, probes, log and counts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from aiohttp import web

from spicy_avocado_magic.gateway.authorization import AccessPolicy
from spicy_avocado_magic.gateway.routes import ALL_ROUTES, NO_ROUTE, BodyKind, Route
from spicy_avocado_magic.protocol.pool import PROBE_HEADER, PROOF_HEADER, gateway_proof
from spicy_avocado_magic.system.redaction import Secret

from .conftest import (
    KEY,
    OWNER,
    PROBE_SECRET,
    PUBLIC_HOST,
    WITH_KEY,
    Engine,
    Front,
    Open,
    bounds,
    exchange,
)
from .fake_requests import make_context

CHAT = b'{"model":"tiny"}'
HEAD = "POST /api/chat HTTP/1.1\r\nHost: localhost\r\n"


async def test_a_wrong_key_is_refused_before_the_body_is_read(front: Front) -> None:
    """The answer is there though not one byte of the body was sent."""
    raw = f"{HEAD}x-api-key: wrong\r\nContent-Length: 99\r\n\r\n"
    answer = await exchange(front.port, raw.encode(), until=b"}")
    assert answer.startswith(b"HTTP/1.1 401 "), answer


async def test_no_continue_is_sent_before_the_key_is_checked(
    front: Front, engine: Engine
) -> None:
    """``100 Continue`` would invite the body of an unauthenticated client."""
    expecting = f"{HEAD}Expect: 100-continue\r\nContent-Length: {len(CHAT)}\r\n"
    raw = f"{expecting}x-api-key: wrong\r\n\r\n"
    answer = await exchange(front.port, raw.encode(), until=b"}")
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(f"{expecting}x-api-key: {KEY}\r\nConnection: close\r\n\r\n".encode())
    received = await reader.readuntil(b"\r\n\r\n")
    assert received == b"HTTP/1.1 100 Continue\r\n\r\n", "the right key waits in vain"
    writer.write(CHAT)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 "), "no answer follows"
    writer.close()
    assert [seen.body for seen in engine.seen] == [CHAT]


async def test_an_unknown_expectation_is_refused(front: Front) -> None:
    """What cannot be met is not promised."""
    raw = f"{HEAD}Expect: magic\r\nContent-Length: 2\r\nx-api-key: {KEY}\r\n\r\n"
    answer = await exchange(front.port, raw.encode(), until=b"}")
    assert answer.startswith(b"HTTP/1.1 417 "), answer


@pytest.mark.parametrize(
    "encoding",
    [
        "Content-Encoding: zstd",
        "Content-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
    ],
)
async def test_an_encoded_body_is_refused(
    front: Front, engine: Engine, encoding: str
) -> None:
    """The engine would decode what was never checked."""
    length = "" if encoding.startswith("T") else "Content-Length: 2\r\n"
    raw = f"{HEAD}{encoding}\r\n{length}x-api-key: {KEY}\r\n\r\n0\r\n\r\n"
    answer = await exchange(front.port, raw.encode(), until=b"}")
    assert answer.startswith(b"HTTP/1.1 415 "), answer
    assert not engine.seen, "an encoded body went on"


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/api/chat", {"error": str}),
        ("/v1/chat/completions", {"error": dict}),
        ("/v1/messages", {"error": dict, "type": str}),
    ],
)
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"headers": {}}, 401),
        ({"headers": {**WITH_KEY, "Origin": "https://evil.example"}}, 403),
        ({"data": b"{"}, 400),
        ({"json": {"model": "other"}}, 404),
        ({"data": CHAT, "headers": {**WITH_KEY, "Content-Encoding": "gzip"}}, 415),
    ],
)
async def test_each_caller_is_refused_in_its_own_dialect(
    front: Front,
    path: str,
    shape: dict[str, type],
    sent: dict[str, object],
    status: int,
) -> None:
    """Whatever is wrong, the error has the shape that the path's clients read."""
    got, _, body = await front.call("POST", path, **{"headers": WITH_KEY, **sent})
    assert got == status
    error = json.loads(body)
    assert {name: type(value) for name, value in error.items()} == shape, error


async def test_without_an_engine_the_response_is_503_loading(
    open_gateway: Open, engine: Engine
) -> None:
    """503 and when to try again, but only for those who may know."""
    front = await open_gateway(limits=bounds(hold_wait_s=0.05))
    front.gateway.set_upstream(None)
    for path in ("/api/tags", "/v1/models"):
        status, reply, body = await front.call("GET", path, headers=WITH_KEY)
        assert (status, "Retry-After" in reply.headers) == (503, True)
        assert b"still loading" in body
        status, _, _ = await front.call("GET", path)
        assert status == 401, "an unauthenticated client learns the engine's state"
    front.gateway.set_upstream(engine.base_url)
    status, _, _ = await front.call("GET", "/api/version")
    assert status == 200, "a new upstream is not used"


async def test_new_access_holds_from_the_next_request_on(
    front: Front, engine: Engine
) -> None:
    """Key, models and management change without a restart, open streams go on."""
    go = asyncio.Event()

    async def slow(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        await go.wait()
        return web.Response(body=b"done")

    engine.reply = slow
    running = asyncio.create_task(
        front.call("POST", "/api/chat", data=CHAT, headers=WITH_KEY)
    )
    await engine.arrived.wait()
    front.gateway.access = replace(
        OWNER, key=Secret("another-key"), manage=True, models=("other",)
    )
    go.set()
    assert (await running)[2] == b"done", "a running request was disturbed"
    status, _, _ = await front.call("POST", "/api/chat", data=CHAT, headers=WITH_KEY)
    assert status == 401, "the old key still opens"
    headers = {"x-api-key": "another-key"}
    status, _, _ = await front.call(
        "POST", "/api/chat", json={"model": "other"}, headers=headers
    )
    assert status == 200, "the new key or model is not known"
    status, _, _ = await front.call(
        "DELETE", "/api/delete", json={"model": "tiny"}, headers=headers
    )
    assert status == 200, "management did not open"


async def test_a_probe_is_answered_even_while_the_engine_loads(
    front: Front, engine: Engine
) -> None:
    """The proof comes from the gateway itself, and is not counted as use."""
    front.gateway.set_upstream(None)
    headers = {PROBE_HEADER: "nonce-1", "Host": PUBLIC_HOST}
    status, reply, _ = await front.call("GET", "/api/version", headers=headers)
    assert status == 200
    assert reply.headers[PROOF_HEADER] == gateway_proof(PROBE_SECRET, "nonce-1")
    assert front.gateway.metrics.requests == 0, "a probe was counted"
    assert front.gateway.metrics.last_tunnel_request is not None


@pytest.mark.parametrize("nonce", ["", "a b", "x" * 129, "é"])
async def test_an_odd_nonce_proves_nothing(front: Front, nonce: str) -> None:
    """Only short plain nonces are answered."""
    line = "GET /api/version HTTP/1.1\r\nHost: localhost"
    raw = f"{line}\r\n{PROBE_HEADER}: {nonce}\r\n\r\n"
    answer = await exchange(front.port, raw.encode(), until=b"}")
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert PROOF_HEADER.encode() not in answer


async def test_two_nonces_prove_nothing(front: Front) -> None:
    """It must be clear which nonce was answered."""
    lines = f"Host: localhost\r\n{PROBE_HEADER}: a\r\n{PROBE_HEADER}: b\r\n"
    raw = f"GET /api/version HTTP/1.1\r\n{lines}\r\n"
    answer = await exchange(front.port, raw.encode(), until=b"}")
    assert answer.startswith(b"HTTP/1.1 400 "), answer


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/api/version"), ("GET", "/")])
async def test_only_the_version_answers_probes(
    front: Front, method: str, path: str
) -> None:
    """Elsewhere the header means nothing."""
    _, reply, _ = await front.call(method, path, headers={PROBE_HEADER: "nonce-1"})
    assert PROOF_HEADER not in reply.headers


async def test_options_is_answered_here(front: Front, engine: Engine) -> None:
    """The engine's CORS rules never come into play."""
    status, reply, _ = await front.call("OPTIONS", "/api/chat")
    assert (status, reply.headers["Allow"]) == (204, "POST, OPTIONS")
    assert not engine.seen, "a preflight reached the engine"


async def test_the_body_of_a_deletion_is_checked(
    open_gateway: Open, engine: Engine
) -> None:
    """Nothing that names no model reaches the engine; the body of a GET never does."""
    front = await open_gateway(manage=True)
    headers = WITH_KEY | {"Content-Type": "application/json"}
    status, _, _ = await front.call(
        "DELETE", "/api/delete", data=b"[]", headers=headers
    )
    assert (status, engine.seen) == (400, []), "the body was not checked"
    status, _, _ = await front.call("GET", "/api/status", data=b"[]", headers=headers)
    assert status == 200, "the body of a GET was checked"
    assert engine.seen[0].body == b"", "the body of a GET was forwarded"


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: route.label)
async def test_the_engine_counts_as_blocking_for_inference_routes_alone(
    front: Front, route: Route
) -> None:
    """Detection of a hung engine follows the row of the route."""
    context = make_context(route=route, is_counted=True)
    front.gateway.metrics.request_started(context)
    assert front.gateway.is_blocked_on_engine is route.is_inference
    front.gateway.metrics.request_started(make_context(route=NO_ROUTE))
    assert front.gateway.is_blocked_on_engine is route.is_inference, (
        "an uncounted request changes it"
    )


def test_inference_routes_are_all_that_run_a_model() -> None:
    """Reading about a model and managing models are not inference."""
    model_calls = (BodyKind.MODEL_CALL, BodyKind.MULTIPART)
    expected = {r.label for r in ALL_ROUTES if r.body in model_calls} - {"/api/show"}
    assert {r.label for r in ALL_ROUTES if r.is_inference} == expected


async def test_requests_are_counted_by_how_they_ended(front: Front) -> None:
    """Use, refusals and the tunnel are counted separately."""
    metrics = front.gateway.metrics
    await front.call("GET", "/")
    assert (metrics.requests, metrics.refused) == (0, 0), "an open route was counted"
    await front.call("GET", "/api/tags")
    assert (metrics.requests, metrics.refused) == (0, 1), "a refusal was not"
    await front.call("POST", "/api/chat", data=CHAT, headers=WITH_KEY)
    assert (metrics.requests, metrics.refused) == (1, 1), "a use was not"
    assert metrics.in_flight == 0
    assert metrics.last_tunnel_request is None, "loopback passed for the tunnel"
    await front.call("GET", "/", headers={"Host": PUBLIC_HOST})
    assert metrics.last_tunnel_request is not None, "the tunnel was not noticed"


async def test_the_access_log_holds_no_secret(open_gateway: Open) -> None:
    """One line a request, made of what we know and nothing that a client wrote."""
    front = await open_gateway(path_key=True)
    await front.call(
        "POST",
        f"/{KEY}/api/chat?api_key={KEY}",
        json={"model": "tiny", "prompt": "my secret"},
        headers={"User-Agent": "spy"},
    )
    await front.call("GET", f"/{KEY}/nowhere")
    lines = [json.loads(line) for line in front.lines]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/api/chat", 200),
        ("-", 404),
    ]
    assert [line["key"] for line in lines] == ["owner", None]
    assert [line["model"] for line in lines] == ["tiny:latest", None]
    text = "".join(front.lines)
    for secret in (KEY, "my secret", "spy", "nowhere"):
        assert secret not in text, f"{secret} was logged"


async def test_a_path_key_does_not_reach_the_engine(
    open_gateway: Open, engine: Engine
) -> None:
    """The engine sees the bare route."""
    front = await open_gateway(path_key=True)
    status, _, _ = await front.call("HEAD", f"/{KEY}/")
    assert status == 200, "the ollama program's first request fails"
    assert KEY not in str(engine.seen), "the key went on"
    assert engine.seen[0].target == "/"


async def test_a_bug_of_the_gateway_is_500_without_its_text(
    front: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug ends in 500 in the caller's dialect, and in the log."""

    def bug(*parts: object, **options: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr("spicy_avocado_magic.gateway.handler.sanitize_json_body", bug)
    status, _, body = await front.call(
        "POST", "/v1/messages", data=CHAT, headers=WITH_KEY
    )
    assert (status, json.loads(body)["error"]["type"]) == (500, "api_error")
    assert b"Zero" not in body, "the reason is sent to the client"
    assert "ZeroDivisionError" in caplog.text, "the reason is lost"


async def test_without_a_key_by_choice_the_rest_still_holds(
    open_gateway: Open, engine: Engine
) -> None:
    """``--no-auth`` serves any caller, but no page, no foreign host, no other model."""
    front = await open_gateway(AccessPolicy(key=None, models=("tiny",)))
    status, _, _ = await front.call("POST", "/api/chat", data=CHAT)
    assert status == 200
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        status, _, _ = await front.call("POST", "/api/chat", data=CHAT, headers=headers)
        assert status == 403, f"{headers} came through"
    status, _, _ = await front.call("POST", "/api/chat", json={"model": "other"})
    assert status == 404
    assert len(engine.seen) == 1
