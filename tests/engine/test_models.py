"""Models inside an engine: adopted, renamed, warmed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from spicy_avocado_magic.child_log import ChildLog
from spicy_avocado_magic.engine.blobs import fetch_blobs
from spicy_avocado_magic.engine.models import Loaded, adopt, copy, is_installed, warm
from spicy_avocado_magic.engine.registry import (
    installed_manifest,
    read_manifest,
    source_of,
)
from spicy_avocado_magic.engine.server import EngineServer
from spicy_avocado_magic.engine.tally import Tally
from spicy_avocado_magic.errors import (
    AvocadoError,
    DiskTooSmall,
    DownloadFailed,
    EngineFailed,
    ModelRefused,
    NetworkUnreachable,
)
from spicy_avocado_magic.model_name import ModelName
from spicy_avocado_magic.policy import Policy
from spicy_avocado_magic.rehearsal.registry import create_registry
from spicy_avocado_magic.settings import Settings

from .conftest import Serve

TINY = ModelName.parse("tiny")


@pytest.fixture
async def engine(
    real_ollama: Path, tmp_path: Path, policy: Policy
) -> AsyncIterator[EngineServer]:
    """Return a real engine that runs."""
    server = EngineServer(
        executable=real_ollama,
        models_dir=tmp_path / "models",
        log=ChildLog(tmp_path / "engine.log"),
        settings=Settings(context=512),
        policy=policy,
        on_spawn=lambda _identity: None,
    )
    try:
        await server.start()
        yield server
    finally:
        await server.stop(1)


async def pull(
    base_url: str, source: ModelName, policy: Policy
) -> list[tuple[int, int]]:
    """Let an engine pull; return what was told of its progress."""
    progress: list[tuple[int, int]] = []
    tally = Tally()

    def note(digest: str, done: int, size: int) -> None:
        tally.expect(digest, size)
        tally.note(digest, done)
        progress.append((tally.done_bytes, tally.total_bytes))

    await adopt(
        base_url,
        source,
        insecure=source.is_insecure,
        policy=policy,
        on_progress=note,
    )
    return progress


async def test_a_model_comes_from_a_registry_into_memory(
    engine: EngineServer, serve: Serve, tmp_path: Path, policy: Policy
) -> None:
    """Blobs are fetched by us, adopted, renamed to the short name, and run."""
    registry = (await serve(create_registry())).removeprefix("http://")
    source = source_of(TINY, registry)
    models_dir = tmp_path / "models"
    manifest = await read_manifest(source, policy=policy)
    assert await fetch_blobs(
        manifest, models_dir, policy=policy, on_progress=lambda _digest, _done: None
    )
    progress = await pull(engine.base_url, source, policy)
    assert progress[-1] == (manifest.size_bytes, manifest.size_bytes)
    await copy(engine.base_url, source, TINY, policy=policy)
    assert await is_installed(engine.base_url, TINY, policy=policy)
    assert not await is_installed(engine.base_url, source, policy=policy)
    assert installed_manifest(TINY, models_dir) is not None
    loaded = await warm(engine.base_url, TINY, policy=policy)
    assert loaded.memory_bytes > 0
    assert loaded.context in {0, 512}


async def test_the_engine_pulls_by_itself_what_we_did_not(
    engine: EngineServer, serve: Serve, policy: Policy
) -> None:
    """The fall-back brings a whole model, with progress that never runs back."""
    registry = (await serve(create_registry())).removeprefix("http://")
    source = source_of(TINY, registry)
    done = [done for done, _ in await pull(engine.base_url, source, policy)]
    assert done == sorted(done)
    assert await is_installed(engine.base_url, source, policy=policy)


@pytest.mark.parametrize(
    ("name", "text"),
    [("missing", "missing"), ("gated", "private or gated"), ("newer", "newer Ollama")],
)
async def test_real_refusals_of_a_pull_are_told_apart(
    engine: EngineServer, serve: Serve, policy: Policy, name: str, text: str
) -> None:
    """What the real engine says inside its stream becomes our error."""
    registry = (await serve(create_registry())).removeprefix("http://")
    with pytest.raises(ModelRefused, match=text):
        await pull(engine.base_url, source_of(ModelName.parse(name), registry), policy)


async def test_a_registry_that_is_gone_is_told_by_a_real_pull(
    engine: EngineServer, policy: Policy, unused_tcp_port: int
) -> None:
    """The engine's words for a refused connection are understood."""
    source = source_of(TINY, f"127.0.0.1:{unused_tcp_port}")
    with pytest.raises(NetworkUnreachable):
        await pull(engine.base_url, source, policy)


async def test_a_real_pull_that_stands_still_is_ended_and_taken_up_again(
    engine: EngineServer, serve: Serve, policy: Policy
) -> None:
    """The engine waits half a minute for a dead connection; we do not."""
    let_go: list[asyncio.Event] = []

    @web.middleware
    async def hold_the_first(request: web.Request, handler: Any) -> Any:
        if "/blobs/" in request.path and request.method == "GET":
            let_go.append(asyncio.Event())
            if len(let_go) == 1:
                await let_go[0].wait()
        return await handler(request)

    app = create_registry()
    app.middlewares.append(hold_the_first)
    registry = (await serve(app)).removeprefix("http://")
    source = source_of(TINY, registry)
    try:
        async with asyncio.timeout(20):
            await pull(
                engine.base_url, source, replace(policy, stall_s=1.0, pull_pause_s=1.0)
            )
    finally:
        for event in let_go:
            event.set()
    assert len(let_go) > 1, "nothing stood still"
    assert await is_installed(engine.base_url, source, policy=policy)


async def test_a_model_that_is_not_there_is_told(
    engine: EngineServer, policy: Policy
) -> None:
    """Warming and looking for an unknown model are clear, not crashes."""
    assert not await is_installed(engine.base_url, TINY, policy=policy)
    with pytest.raises(ModelRefused, match="tiny:latest is not installed"):
        await warm(engine.base_url, TINY, policy=policy)


class PullStub:
    """An engine whose pulls say what they are told, one list for each attempt."""

    def __init__(self, *attempts: list[dict[str, Any]]) -> None:
        self.attempts = list(attempts)
        self.bodies: list[dict[str, Any]] = []

    def application(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_post("/api/pull", self._pull)
        return app

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        response = web.StreamResponse()
        await response.prepare(request)
        for line in self.attempts.pop(0):
            if "raw" in line:
                await response.write(line["raw"])
                continue
            for _ in range(line.pop("repeat", 1)):
                await response.write(json.dumps(line).encode() + b"\n")
                await asyncio.sleep(line.get("pause", 0))
        return response


def layer(completed: int, **more: Any) -> dict[str, Any]:
    """Return a progress line."""
    return {"status": "pulling", "digest": "d", "total": 9, "completed": completed} | (
        more
    )


SUCCESS = {"status": "success"}


async def test_progress_of_a_pull_never_runs_backwards(
    policy: Policy, serve: Serve
) -> None:
    """Ollama's ``completed`` can fall; ours does not."""
    stub = PullStub([layer(5), layer(3), layer(9), SUCCESS])
    progress = await pull(await serve(stub.application()), TINY, policy)
    assert progress == [(5, 9), (5, 9), (9, 9)]
    assert stub.bodies == [{"model": "tiny:latest", "insecure": False}]


async def test_a_pull_that_stands_still_is_begun_anew(
    policy: Policy, serve: Serve
) -> None:
    """Lines that come while no byte does are a stall."""
    still = layer(4, repeat=1000, pause=0.02)
    stub = PullStub([layer(2), still], [layer(4), layer(9), SUCCESS])
    url = await serve(stub.application())
    async with asyncio.timeout(5):
        progress = await pull(url, TINY, policy)
    assert progress[-1] == (9, 9)
    assert len(stub.bodies) == 2


@pytest.mark.parametrize(
    "step",
    [{"status": "pulling manifest"}, layer(4)],
    ids=["before the manifest", "between two lines"],
)
async def test_a_pull_that_says_nothing_is_begun_anew(
    policy: Policy, serve: Serve, step: dict[str, Any]
) -> None:
    """No line is no byte."""
    stub = PullStub([step | {"pause": 30}], [SUCCESS])
    async with asyncio.timeout(5):
        await pull(await serve(stub.application()), TINY, policy)
    assert len(stub.bodies) == 2


async def test_an_engine_that_takes_the_pull_and_never_answers_is_told(
    policy: Policy, serve: Serve
) -> None:
    """Not even a first line is a stall as well."""

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_post("/api/pull", hang)
    url = await serve(app)
    with pytest.raises(DownloadFailed, match="stands still"):
        async with asyncio.timeout(10):
            await pull(url, TINY, policy)


async def test_a_new_attempt_has_its_own_patience(policy: Policy, serve: Serve) -> None:
    """Steps that an earlier attempt told are steps again."""
    late = {"status": "pulling manifest", "pause": 0.7 * policy.stall_s}
    stub = PullStub(
        [{"status": "pulling manifest"}],
        [layer(1, pause=0.7 * policy.stall_s), late, SUCCESS],
    )
    await pull(await serve(stub.application()), TINY, policy)
    assert len(stub.bodies) == 2, "a pull that goes on was ended"


async def test_verifying_may_take_longer_than_a_stall(
    policy: Policy, serve: Serve
) -> None:
    """Nothing is told for minutes while a slow disk is read."""
    verifying = {"status": "verifying sha256 digest", "pause": 3 * policy.stall_s}
    stub = PullStub([layer(9), verifying, SUCCESS])
    await pull(await serve(stub.application()), TINY, policy)
    assert len(stub.bodies) == 1, "a pull was ended while it verified"


async def test_bytes_that_are_fetched_again_are_no_stall(
    policy: Policy, serve: Serve
) -> None:
    """After a part is lost, bytes below the highest mark are still bytes."""
    again = [layer(done, pause=policy.stall_s / 2) for done in range(1, 8)]
    stub = PullStub([layer(8), *again, SUCCESS])
    await pull(await serve(stub.application()), TINY, policy)
    assert len(stub.bodies) == 1, "a pull that works was ended"


async def test_two_layers_that_take_turns_without_bytes_are_a_stall(
    policy: Policy, serve: Serve
) -> None:
    """Lines that differ only by their layer do not hide it."""
    one, two = layer(4, pause=0.02), layer(4, pause=0.02, status="other", digest="e")
    stub = PullStub([one, two] * 500, [SUCCESS])
    async with asyncio.timeout(5):
        await pull(await serve(stub.application()), TINY, policy)
    assert len(stub.bodies) == 2


async def test_a_pull_is_asked_again_only_after_a_pause(
    policy: Policy, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked at once, the engine attaches it to the download that is dying."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    stub = PullStub([{"error": "context canceled"}], [SUCCESS])
    url = await serve(stub.application())
    await pull(url, TINY, replace(policy, pull_pause_s=1.5))
    assert 1.5 in pauses, "the pull was asked again at once"


async def test_a_line_that_is_no_json_is_passed_over(
    policy: Policy, serve: Serve
) -> None:
    """Only what we know is believed."""
    stub = PullStub([{"raw": b"<html>\n[1]\n"}, SUCCESS])
    await pull(await serve(stub.application()), TINY, policy)


async def test_a_pull_that_ends_early_is_begun_anew(
    policy: Policy, serve: Serve
) -> None:
    """Only ``success`` is success."""
    stub = PullStub([layer(9)], [{"error": "context canceled"}], [SUCCESS])
    await pull(await serve(stub.application()), TINY, policy)
    assert len(stub.bodies) == 3


async def test_a_pull_that_never_works_is_given_up(
    policy: Policy, serve: Serve
) -> None:
    """The last error is shown in the engine's own words, freed of escapes."""
    stub = PullStub(*[[{"error": "max retries \x1b[31mexceeded"}]] * 20)
    with pytest.raises(DownloadFailed, match="max retries exceeded"):
        await pull(await serve(stub.application()), TINY, policy)
    assert len(stub.bodies) < 10


async def test_a_full_disk_in_a_pull_is_not_repeated(
    policy: Policy, serve: Serve
) -> None:
    """What no retry can mend ends at once."""
    stub = PullStub([{"error": "write /x: no space left on device"}])
    with pytest.raises(DiskTooSmall):
        await pull(await serve(stub.application()), TINY, policy)


async def test_an_engine_that_does_not_answer_is_told(
    policy: Policy, unused_tcp_port: int
) -> None:
    """Every call maps a dead engine to one error."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(EngineFailed):
        await pull(url, TINY, policy)
    with pytest.raises(EngineFailed):
        await is_installed(url, TINY, policy=policy)
    with pytest.raises(EngineFailed):
        await warm(url, TINY, policy=policy)


def loading_engine(status: int, text: str, loaded: str = "tiny:latest") -> Any:
    """Return an engine that answers a load with a status and an error."""

    async def generate(_request: web.Request) -> web.Response:
        return web.json_response({"error": text} if text else {}, status=status)

    async def embed(_request: web.Request) -> web.Response:
        return web.json_response({"embeddings": []})

    async def ps(_request: web.Request) -> web.Response:
        entry = {"name": loaded, "size": 5, "size_vram": 3, "context_length": 7}
        return web.json_response({"models": [{"name": "b@d"}, entry]})

    app = web.Application()
    app.router.add_post("/api/generate", generate)
    app.router.add_post("/api/embed", embed)
    app.router.add_get("/api/ps", ps)
    return app


@pytest.mark.parametrize(
    ("status", "text"),
    [(200, ""), (400, '"tiny:latest" does not support generate')],
)
async def test_memory_is_told_for_models_of_every_kind(
    policy: Policy, serve: Serve, status: int, text: str
) -> None:
    """An embedding model is loaded by the call that it supports."""
    url = await serve(loading_engine(status, text))
    loaded = await warm(url, TINY, policy=policy)
    assert loaded == Loaded(memory_bytes=5, gpu_bytes=3, context=7)


@pytest.mark.parametrize(
    ("status", "text", "kind", "told"),
    [
        (500, "cudaMalloc failed: out of memory", EngineFailed, "not enough memory"),
        (
            500,
            "model requires more system memory (9 GiB) than is available (1 GiB)",
            EngineFailed,
            "not enough memory",
        ),
        (500, "runner process has terminated: signal: killed", EngineFailed, "memory"),
        (500, "runner process has terminated: exit status 2", EngineFailed, "crashed"),
        (500, "\x1b[31mstrange", EngineFailed, "loaded: .31mstrange|loaded: strange"),
        (403, "remote model", ModelRefused, "cloud"),
    ],
)
async def test_why_a_model_does_not_load_is_told_plainly(
    policy: Policy,
    serve: Serve,
    status: int,
    text: str,
    kind: type[AvocadoError],
    told: str,
) -> None:
    """Memory, crashes and the cloud are told apart."""
    url = await serve(loading_engine(status, text))
    with pytest.raises(kind, match=told) as caught:
        await warm(url, TINY, policy=policy)
    assert "\x1b" not in str(caught.value)


async def test_a_model_that_left_memory_at_once_is_told(
    policy: Policy, serve: Serve
) -> None:
    """A load that leaves nothing loaded is no success."""
    url = await serve(loading_engine(200, "", loaded="other:latest"))
    with pytest.raises(EngineFailed, match="left memory"):
        await warm(url, TINY, policy=policy)
