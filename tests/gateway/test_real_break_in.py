"""Attempts to reach a real Ollama; the engine's own log decides.

Its access log has the requested routes, and ``/api/ps`` the models that ran.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import aiohttp
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from spicy_avocado_magic.config.api_keys import ApiKey
from tests.machine_speed import scaled

from .conftest import KEY, OWNER, Front, exchange
from .real_gateway import FEW, LOG, done, real_gateway
from .test_break_in import EXTRAS, METHODS, OPEN, TARGETS, WITH_KEY_TOO

__all__ = ["real_gateway"]

ANA: Final = ApiKey(name="ana", secret="anas-key-0123456789", models=("tiny",))
EVE: Final = replace(ANA, name="eve", secret="eves-key-0123456789", manage=True)
SHARED: Final = replace(
    OWNER, path_key=True, named=(ANA, EVE), models=("tiny", "mine"), manage=False
)
"""Installed are *tiny*, *mine* and *other*; served the first two; Ana's is *tiny*."""
BRIEF: Final = settings(
    max_examples=100,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_OURS: Final = "watch"
"""Marks in the engine's log what did not come through the gateway."""
_GIN: Final = re.compile(r'\[GIN\].*\| *(\d+) \|.*\| *(\w+) +"(.*)"')


class Watch:
    """Looks at the engine past the gateway."""

    def __init__(self, front: Front, log: Path) -> None:
        self.url = front.gateway.upstream.require_base_url()
        self._log = log
        self._from = log.stat().st_size

    async def ask(self, method: str, path: str, **sent: Any) -> Any:
        """Return the engine's own answer."""
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, f"{self.url}{path}?{_OURS}", **sent) as reply,
        ):
            assert reply.status == 200, await reply.text()
            return await reply.json() if method == "GET" else await reply.read()

    async def running(self) -> set[str]:
        """Return the models that ran lately."""
        return {model["name"] for model in (await self.ask("GET", "/api/ps"))["models"]}

    async def installed(self) -> dict[str, str]:
        """Return the digest of each model."""
        models = (await self.ask("GET", "/api/tags"))["models"]
        return {model["name"]: model["digest"] for model in models}

    def start(self) -> None:
        """Count from here."""
        self._from = self._log.stat().st_size

    def asked(self) -> list[tuple[str, str]]:
        """Return method and target of what the engine has answered since."""
        with self._log.open("rb") as log:
            log.seek(self._from)
            text = log.read().decode()
        asked = [(match[2], match[3]) for match in _GIN.finditer(text)]
        return [request for request in asked if not request[1].endswith(f"?{_OURS}")]


_watches: dict[int, Watch] = {}


async def watch(front: Front, tmp_path: Path) -> Watch:
    """Return one watch for all examples of a run, with three models behind it."""
    if id(front) not in _watches:
        _watches.clear()
        made = _watches[id(front)] = Watch(front, tmp_path / LOG)
        await made.ask(
            "POST", "/api/copy", json={"source": "other", "destination": "mine"}
        )
        front.gateway.access = SHARED
        made.start()
    return _watches[id(front)]


NAMES: Final = st.sampled_from(
    [
        '"tiny"',
        '"other"',
        '"mine"',
        '"OTHER:latest"',
        '"library/other"',
        '"registry.ollama.ai/library/other:latest"',
        '"\\u006fther"',
        '" other"',
        '"other "',
        '"other\\u0000"',
        '"tiny\\u0000/other"',
        '"tiny:latest\\n"',
        '"./other"',
        '"../library/other"',
        '"other:cloud"',
        '"other:local"',
        '"tiny:local"',
        '"other:1b-cloud"',
        '"other@sha256:00"',
        '"https://registry.ollama.ai/library/other"',
        '"oth\\ud800er"',
        '"other\u0130"',
        '""',
        "null",
        "1",
        '["other"]',
        '{"model":"other"}',
    ]
)
FIELDS: Final = st.sampled_from(
    [
        "model",
        "model",
        "MODEL",
        "Model",
        r"\u006dodel",
        r"\u004dodel",
        "mode\u217c",
        "model ",
        r"model\u0000",
        "name",
        "NAME",
        "n\u00e4me",
        "options",
        "from",
        "x",
    ]
)
REST: Final = (
    '"prompt":"a","input":"a","max_tokens":4,"stream":false,'
    '"messages":[{"role":"user","content":"a"}]'
)
WRAPS: Final = st.sampled_from(
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-32"),
        lambda text: text.encode() + b'{"model":"other"}',
        lambda text: text.encode() + b"\0",
        lambda text: b'{"model":"other"}\n' + text.encode(),
        lambda text: b" \r\n\t" + text.encode() + b" \n",
        lambda text: b"[" + text.encode() + b"]",
        lambda text: text.encode()[:-1] + b',"x":NaN}',
        lambda text: text.encode()[:-1] + b',"x":1e999}',
        lambda text: text.encode()[:-1] + b',"x":' + b"9" * 5000 + b"}",
        lambda text: text.encode()[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
        lambda text: text.encode()[:-1] + b',"\xff":1}',
        lambda text: text.encode()[:-1] + b',"options":{"MODEL":"other"}}',
        lambda text: text.encode()[:-1] + b',//"x":1\n"y":1}',
        lambda text: text.encode()[:-1] + b",}",
        lambda text: text.replace('"', "'").encode(),
    ]
)
CALLS: Final = st.sampled_from(
    [
        "/api/generate",
        "/api/chat",
        "/api/embed",
        "/api/embeddings",
        "/api/show",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
    ]
)


@BRIEF
@given(
    path=CALLS,
    pairs=st.lists(st.tuples(FIELDS, NAMES), min_size=1, max_size=3),
    wrap=WRAPS,
)
@example("/api/generate", [("model", '"tiny"'), ("MODEL", '"other"')], str.encode)
@example("/api/chat", [("MODEL", '"tiny"'), ("model", '"mine"')], str.encode)
@example("/v1/messages", [("model", '"mine"')], str.encode)
@example("/v1/chat/completions", [("model", '"tiny"')], str.encode)
@example("/api/show", [("model", '"tiny"'), ("name", '"other"')], str.encode)
async def test_no_json_runs_another_model(
    real: Front,
    tmp_path: Path,
    path: str,
    pairs: list[tuple[str, str]],
    wrap: Any,
) -> None:
    """With a key for *tiny*, however a body is written, *tiny* runs or nothing."""
    watched = await watch(real, tmp_path)
    fields = ",".join(f'"{name}":{value}' for name, value in pairs)
    body = wrap(f"{{{fields},{REST}}}")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {ANA.secret}\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = await exchange(real.port, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 "), f"{body!r} was answered with {answer!r}"
    assert b" 500 " not in answer[:20] or b"gateway" not in answer, answer
    ran = await watched.running()
    assert ran <= {"tiny:latest"}, f"{path} with {body!r} ran {ran}"
    if path == "/api/show" and answer.startswith(b"HTTP/1.1 200"):
        assert b'"model":"tiny' in body.lower(), f"{body!r} showed another model"


@BRIEF
@given(
    method=METHODS,
    target=TARGETS,
    key=st.sampled_from(["", "x-api-key: wrong\r\n", f"x-api-key: {ANA.secret}\r\n"]),
    extras=EXTRAS,
    body=st.sampled_from(
        [
            b'{"model":"other"}',
            b'{"name":"other","source":"other","destination":"tiny","from":"other"}',
            b"DELETE /api/delete HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ]
    ),
)
@example(
    "DELETE", "/api/delete", f"x-api-key: {ANA.secret}\r\n", [], b'{"model":"other"}'
)
@example("GET", "/api/tags", "", [], b"")
async def test_no_request_reaches_a_closed_route_of_the_engine(
    real: Front,
    tmp_path: Path,
    method: str,
    target: str,
    key: str,
    extras: list[str],
    body: bytes,
) -> None:
    """Its own log names none but those which the key opens."""
    watched = await watch(real, tmp_path)
    watched.start()
    fields = "".join(f"{extra}\r\n" for extra in extras)
    raw = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{key}{fields}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode("latin-1") + body
    await exchange(real.port, raw + b"GET /end HTTP/1.1\r\nHost: localhost\r\n\r\n")
    is_keyed = ANA.secret in key or target.startswith(f"/{KEY}/")
    allowed = WITH_KEY_TOO if is_keyed else OPEN
    assert await watched.running() <= {"tiny:latest"}, f"{raw!r} ran another model"
    assert set(await watched.installed()) == {
        "tiny:latest",
        "mine:latest",
        "other:latest",
    }, f"{raw!r} changed what is installed"
    asked = set(watched.asked())
    assert asked <= allowed, f"{raw!r} got in as {asked - allowed}"


async def test_the_watch_sees_what_an_engine_does(real: Front, tmp_path: Path) -> None:
    """Else the tests above would see nothing wrong whatever happened."""
    watched = await watch(real, tmp_path)
    for model in ("mine", "tiny"):
        asked = {"model": model, "prompt": "a", "stream": False, "options": FEW}
        await done(real, "POST", "/api/generate", json=asked)
    assert await watched.running() == {"mine:latest", "tiny:latest"}
    async with asyncio.timeout(scaled(5)):
        while watched.asked() != [("POST", "/api/generate")] * 2:  # noqa: ASYNC110  (another program's log)
            await asyncio.sleep(0.01)


async def test_a_key_that_manages_one_model_has_no_way_to_another(
    real: Front, tmp_path: Path
) -> None:
    """Neither by copies nor by orders in other spellings; its own it may copy."""
    watched = await watch(real, tmp_path)
    real.gateway.access = replace(SHARED, manage=True)
    before = await watched.installed()
    key = {"x-api-key": EVE.secret}
    for method, path, body in (
        ("POST", "/api/copy", {"source": "other", "destination": "tiny"}),
        ("POST", "/api/copy", {"Source": "OTHER", "destination": "tiny"}),
        ("POST", "/api/copy", {"source": "tiny", "destination": "other"}),
        ("POST", "/api/create", {"model": "tiny", "from": "other"}),
        ("POST", "/api/create", {"model": "tiny", "FROM": "library/other"}),
        ("POST", "/api/create", {"model": "other", "from": "tiny"}),
        (
            "POST",
            "/api/create",
            {"model": "tiny", "remote_host": "https://x"},
        ),
        (
            "POST",
            "/api/pull",
            {"model": "10.0.0.1/a/b", "insecure": True},
        ),
        ("POST", "/api/pull", {"model": "tiny", "name": "other"}),
        ("POST", "/api/push", {"model": "other"}),
        ("DELETE", "/api/delete", {"model": "other"}),
        ("DELETE", "/api/delete", {"name": "mine"}),
    ):
        watched.start()
        status, _, answer = await real.call(method, path, json=body, headers=key)
        assert status in {403, 404}, f"{path} {body}: {status} {answer!r}"
        assert not watched.asked(), f"{body} reached the engine"
    assert await watched.installed() == before, "something was changed"
    await done(real, "POST", "/api/copy", json={"source": "tiny", "destination": "new"})
    assert "new:latest" in await watched.installed(), "the owner may not copy"
