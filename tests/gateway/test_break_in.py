"""Trying to get in: whatever is sent, the engine sees what the rules allow."""

from __future__ import annotations

import asyncio
import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spicy_avocado_magic.gateway.routes import ALL_ROUTES, Level

from .conftest import KEY, Engine, Front, Open, exchange

DIGEST = "sha256:" + "ab" * 32
NEVER = ("/api/me", "/api/signout", "/api/user/keys/x", "/api/experimental/web_search")
PATHS = [
    *(r.label.replace("{digest}", DIGEST).replace("{id}", "tiny") for r in ALL_ROUTES),
    *NEVER,
]
OPEN = {
    (method, r.label)
    for r in ALL_ROUTES
    if r.level is Level.OPEN
    for method in r.methods
}
WITH_KEY_TOO = OPEN | {
    (method, r.label.replace("{id}", "tiny"))
    for r in ALL_ROUTES
    if r.level is Level.KEY
    for method in r.methods
}


def _spelled(path: str, twist: int) -> str:
    return (
        path,
        path + "/",
        "/" + path,
        path.upper(),
        path.replace("a", "%61", 1),
        path.replace("/", "%2f"),
        "/." + path,
        "/v1/.." + path,
        path + "?x=/api/pull",
        path + "#x",
        path + ";x=y",
        path + "%00",
        "http://localhost" + path,
        f"/{KEY}" + path,
        f"/{KEY}/{KEY}" + path,
        f"/wrong{path}",
        f"{path}\\..\\pull",
        path.replace("/api/", "/api//"),
    )[twist % 18]


TARGETS = st.builds(_spelled, st.sampled_from(PATHS), st.integers(0, 17)) | st.text(
    st.characters(codec="latin-1", exclude_characters="\r\n "), max_size=20
).map(lambda text: "/" + text)
METHODS = st.sampled_from(
    [
        "GET",
        "HEAD",
        "POST",
        "DELETE",
        "PUT",
        "PATCH",
        "OPTIONS",
        "TRACE",
        "get",
        "PURGE",
    ]
)
KEYS = st.sampled_from(
    [
        "",
        "x-api-key: wrong\r\n",
        f"x-api-key: {KEY}\r\n",
        f"Authorization: Bearer {KEY}\r\n",
        f"Authorization: Bearer {KEY}\r\nx-api-key: wrong\r\n",
    ]
)
EXTRAS = st.lists(
    st.sampled_from(
        [
            "X-HTTP-Method-Override: DELETE",
            "X-Original-URL: /api/delete",
            "X-Rewrite-URL: /api/me",
            "Origin: https://evil.example",
            "Connection: x-api-key, Authorization",
            "Connection: Upgrade\r\nUpgrade: websocket",
            "Content-Encoding: gzip",
            "Host: evil.example",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Content-Length: 0",
            "X-Forwarded-Host: localhost",
            " folded: x",
            "Expect: 100-continue",
        ]
    ),
    max_size=3,
)
INNER = b"DELETE /api/delete HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODIES = st.sampled_from(
    [
        b'{"model":"tiny"}',
        b'{"model":"tiny","MODEL":"other"}',
        b'{"model":"other"}',
        INNER,
        b"0\r\n\r\n" + INNER,
        b"10\r\n" + b'{"model":"tiny"}' + b"\r\n0\r\n\r\n" + INNER,
    ]
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(method=METHODS, target=TARGETS, key=KEYS, extras=EXTRAS, body=BODIES)
@example("POST", "/api/delete", f"x-api-key: {KEY}\r\n", [], INNER)
@example("DELETE", "/api/delete", f"x-api-key: {KEY}\r\n", [], b'{"model":"tiny"}')
@example("POST", "/api/chat", f"x-api-key: {KEY}\r\n", [], b'{"model":"other"}')
async def test_no_request_reaches_a_closed_route_or_another_model(
    open_gateway: Open,
    engine: Engine,
    method: str,
    target: str,
    key: str,
    extras: list[str],
    body: bytes,
) -> None:
    """What counts is what the engine saw, not what the gateway answered."""
    front = await _front(open_gateway, engine)
    engine.seen.clear()
    fields = "".join(f"{extra}\r\n" for extra in extras)
    raw = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{key}{fields}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode("latin-1") + body
    # A probe behind it is answered last; an answer or the end of the connection
    # tells that all before it has been dealt with.
    await exchange(front.port, raw + b"GET /end HTTP/1.1\r\nHost: localhost\r\n\r\n")
    is_keyed = KEY in key or target.startswith(f"/{KEY}/")
    allowed = WITH_KEY_TOO if is_keyed else OPEN
    for seen in engine.seen:
        assert (seen.method, seen.target) in allowed, f"{raw!r} got in as {seen}"
        assert KEY not in str(seen), f"the key went on: {seen}"
        model = json.loads(seen.body)["model"] if seen.body else "tiny"
        assert model == "tiny", f"{raw!r} ran {model}"


_fronts: dict[int, Front] = {}


async def _front(open_gateway: Open, engine: Engine) -> Front:
    """Return one gateway for all examples of a run."""
    if id(engine) not in _fronts:
        _fronts.clear()
        _fronts[id(engine)] = await open_gateway(path_key=True)
    return _fronts[id(engine)]


async def test_a_flood_of_strangers_gets_nothing_through(
    front: Front, engine: Engine
) -> None:
    """Thousands of requests of all shapes without a key: none arrives."""
    paths = [path for path in PATHS if path not in {"/", "/api/version"}]

    async def knock(number: int) -> None:
        lines = b"".join(
            f"{method} {paths[(number + n) % len(paths)]} HTTP/1.1\r\n"
            f"Host: localhost\r\nx-api-key: guess-{number}-{n}\r\n"
            "Content-Length: 0\r\n\r\n".encode()
            for n, method in enumerate(("POST", "GET", "DELETE", "HEAD"))
        )
        await exchange(front.port, lines)

    for start in range(0, 500, 50):
        async with asyncio.TaskGroup() as group:
            for number in range(start, start + 50):
                group.create_task(knock(number))
    assert not engine.seen, f"the engine saw {engine.seen[:3]}"
    assert front.gateway.metrics.requests == 0, "a stranger was counted as a user"
    assert front.gateway.metrics.refused >= 500, "refusals were not counted"
