"""Trying to get in: whatever is sent, the engine sees what the rules allow."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.parse
from typing import Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spicy_avocado_magic.gateway.routes import ALL_ROUTES, Permission

from .conftest import KEY, WITH_KEY, Engine, Front, Open, bounds, exchange

DIGEST = "sha256:" + "ab" * 32
NEVER = ("/api/me", "/api/signout", "/api/user/keys/x", "/api/experimental/web_search")
PATHS = [
    *(r.label.replace("{digest}", DIGEST).replace("{id}", "tiny") for r in ALL_ROUTES),
    *NEVER,
]
OPEN = {
    (method, r.label)
    for r in ALL_ROUTES
    if r.permission is Permission.PUBLIC
    for method in r.methods
}
WITH_KEY_TOO = OPEN | {
    (method, r.label.replace("{id}", "tiny"))
    for r in ALL_ROUTES
    if r.permission is Permission.KEY
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
    # shows that all before it has been handled.
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


FLOOD: Final = 10_000
AT_ONCE: Final = 100
_STRANGE_KEYS: Final = (
    "",
    "x-api-key: \r\n",
    "x-api-key: {guess}\r\n",
    "Authorization: Bearer {guess}\r\n",
    "Authorization: Basic {guess}\r\n",
    f"Authorization: {KEY}\r\n",
    f"Cookie: x-api-key={KEY}\r\n",
    f"X-Forwarded-Authorization: Bearer {KEY}\r\n",
    f"x-api-key: {KEY[:-1]}\r\n",
    f"x-api-key: {KEY}\r\nx-api-key: {KEY}\r\n",
    f"x-api-key: {KEY}\r\nAuthorization: Bearer {{guess}}\r\n",
)
_FRAMINGS: Final = (
    ("Content-Length: 16\r\n", '{"model":"tiny"}'),
    ("Content-Length: 99999\r\n", '{"model":"tiny"}'),
    ("Transfer-Encoding: chunked\r\n", '10\r\n{"model":"tiny"}\r\n0\r\n\r\n'),
    ("Expect: 100-continue\r\nContent-Length: 16\r\n", ""),
    ("", ""),
    ("X-HTTP-Method-Override: GET\r\n", INNER.decode()),
)
_SHAPES: Final = (
    "{path}",
    "{path}?key={key}&api-key={key}",
    "{path}/",
    "/{path}",
    "/{guess}{path}",
    "http://localhost{path}",
    "/%2e{path}",
)


def _strange(number: int) -> bytes:
    """Return one of ever different requests without the right key."""
    paths = [path for path in PATHS if path not in {"/", "/api/version"}]
    methods = ("GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "TRACE")
    guess = f"guess-{number:09}"
    shape = _SHAPES[number % len(_SHAPES)]
    path = paths[number // 3 % len(paths)]
    key = _STRANGE_KEYS[number % len(_STRANGE_KEYS)].format(guess=guess)
    framing, body = _FRAMINGS[number // 5 % len(_FRAMINGS)]
    target = shape.format(path=path, key=KEY, guess=guess)
    return (
        f"{methods[number // 7 % len(methods)]} {target} HTTP/1.1\r\n"
        f"Host: localhost\r\n{key}{framing}\r\n{body}"
    ).encode()


async def test_a_flood_of_unauthenticated_requests_reaches_no_engine(
    open_gateway: Open, engine: Engine
) -> None:
    """Ten thousand requests of all shapes without a key: none arrives.

    Meanwhile one with the key is served.
    """
    front = await open_gateway(path_key=True)
    numbers = iter(range(FLOOD))
    answered = 0

    async def knock() -> None:
        nonlocal answered
        for number in numbers:
            answer = await exchange(front.port, _strange(number), until=b"\r\n")
            assert answer.startswith(b"HTTP/1.1 4"), f"{_strange(number)!r}: {answer!r}"
            answered += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(knock())
        status, _, _ = await front.call("GET", "/api/tags", headers=WITH_KEY)
    assert answered == FLOOD, f"{FLOOD - answered} were not answered"
    assert status == 502, "the stand-in's answer, which is no listing, did not come"
    targets = [seen.target for seen in engine.seen]
    assert targets == ["/api/tags"], f"the engine saw {targets[:5]}"
    metrics = front.gateway.metrics
    assert metrics.requests == 1, "an unauthenticated client was counted as a user"
    assert metrics.refused == FLOOD, "refusals were not counted"
    assert KEY not in "".join(front.lines), "the log holds a key"
    assert "guess-" not in "".join(front.lines), (
        "the log has text of unauthenticated clients"
    )


EVIL: Final = "X-Injected: yes"
_BREAKS: Final = (
    "\r\n",
    "\n",
    "\r",
    "%0d%0a",
    "\\r\\n",
    "\u010d\u010a",
    "\u2028",
    "\x85",
)
OUR_HEADERS: Final = {
    "access-control-allow-origin",
    "access-control-expose-headers",
    "connection",
    "content-length",
    "content-type",
    "date",
    "retry-after",
    "server",
    "vary",
    "www-authenticate",
    "x-accel-buffering",
}


def _head(answer: bytes) -> dict[str, str]:
    """Return the headers of the one answer, split as leniently as a client may."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = re.split(rb"[\r\n]+", head)[1:]
    assert b"HTTP/1." not in body, f"a second answer was made up: {answer!r}"
    pairs = (line.decode("latin-1").partition(": ") for line in lines)
    return {name.lower(): value for name, _, value in pairs}


@pytest.mark.parametrize("between", _BREAKS, ids=ascii)
async def test_what_comes_back_of_a_request_makes_no_header(
    open_gateway: Open, engine: Engine, between: str
) -> None:
    """Origin, target, model and key: none of them becomes a line of the answer."""
    front = await open_gateway(path_key=True, cors=("*",))
    evil = f"x{between}{EVIL}"
    page = f"Origin: {evil}" if between not in {"\r\n", "\n", "\r"} else "Origin: x"
    quoted = urllib.parse.quote(evil)
    for start, key, model in (
        (f"GET /api/{quoted}", KEY, "tiny"),
        (f"GET /{quoted}/api/tags", KEY, "tiny"),
        (f"GET /v1/models/{quoted}", KEY, "tiny"),
        ("POST /api/chat", quoted, "tiny"),
        ("POST /api/chat", KEY, evil),
        ("POST /v1/messages", KEY, evil),
        ("POST /v1/chat/completions", KEY, evil),
    ):
        body = json.dumps({"model": model}).encode()
        head = (
            f"{start} HTTP/1.1\r\nHost: localhost\r\n{page}\r\nx-api-key: {key}\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        answer = await exchange(front.port, head.encode() + body)
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer
        names = set(_head(answer))
        assert names <= OUR_HEADERS, f"{head!r} made {names - OUR_HEADERS}"
        payload = answer.partition(b"\r\n\r\n")[2]
        assert json.loads(payload), "the error is no JSON"
        assert payload.isascii(), "the error holds raw characters of the request"
    assert not engine.seen, f"the engine saw {engine.seen}"
    for line in front.lines:
        assert line.isascii(), f"not ASCII: {line!r}"
        assert line.isprintable(), f"control characters: {line!r}"
        assert EVIL not in line, f"what a client sent is in the log: {line!r}"
        assert json.loads(line)["route"] in {"-", "/api/tags", *CALLED}, line


CALLED: Final = ("/api/chat", "/v1/messages", "/v1/chat/completions")


async def test_when_to_try_again_is_a_plain_number(open_gateway: Open) -> None:
    """``Retry-After`` is ours in every refusal that has one."""
    front = await open_gateway(limits=bounds(rpm=1, bodies_bytes=10, hold=0))
    answers = [await front.call("GET", "/api/ps", headers=WITH_KEY) for _ in range(2)]
    assert answers[1][0] == 429, "the bound of requests a minute did not hold"
    assert 0 < int(answers[1][1].headers["Retry-After"]) <= 61
    front = await open_gateway(limits=bounds(bodies_bytes=10, hold=0))
    front.gateway.set_upstream(None)
    for method, path, status in (("POST", "/api/chat", 429), ("GET", "/api/ps", 503)):
        got, reply, _ = await front.call(
            method, path, data=b'{"model":"tiny"}', headers=WITH_KEY
        )
        assert got == status, f"{path} was answered with {got}"
        assert int(reply.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b"a\tb", b"\xc2\x85X", b"\xe2\x80\xa8X", b"a" * 4000]
)
async def test_odd_bytes_in_headers_reach_nobody_as_more_than_text(
    open_gateway: Open, engine: Engine, value: bytes
) -> None:
    """Neither the reply's head nor the engine's request gets a line more."""
    front = await open_gateway(cors=("*",))
    raw = (
        b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nOrigin: %b\r\n"
        b"User-Agent: %b\r\nAccept: %b\r\nConnection: close\r\n\r\n"
    ) % (value, value, value)
    answer = await exchange(front.port, raw)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert set(_head(answer)) <= OUR_HEADERS, answer
    (seen,) = engine.seen
    names = {name.lower() for name in seen.headers}
    assert names <= {"host", "accept", "user-agent"}, f"the engine got {names}"
