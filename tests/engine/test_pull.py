"""Pulls by the engine: refusals, stalls and progress."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.ollama_process import OllamaProcess
from spicy_avocado_magic.engine.registry import resolve_source
from spicy_avocado_magic.errors import (
    DiskTooSmall,
    DownloadFailed,
    ModelUnavailable,
    NetworkUnreachable,
)
from spicy_avocado_magic.rehearsal.fake_downloads.registry import create_registry
from tests.machine_speed import scaled

from .conftest import Serve
from .running import has_model, pull

TINY = ModelName.parse("tiny")


async def test_the_engine_pulls_a_whole_model_by_itself(
    engine: OllamaProcess, serve: Serve, timeouts: Timeouts
) -> None:
    """The fall-back brings the whole model, and its progress never decreases."""
    registry = (await serve(create_registry())).removeprefix("http://")
    source = resolve_source(TINY, registry)
    done = [done for done, _ in await pull(engine.base_url, source, timeouts)]
    assert done == sorted(done)
    assert await has_model(engine.base_url, source)


@pytest.mark.parametrize(
    ("name", "text"),
    [("missing", "missing"), ("gated", "private or gated"), ("newer", "newer Ollama")],
)
async def test_each_refusal_of_a_real_pull_has_its_own_message(
    engine: OllamaProcess, serve: Serve, timeouts: Timeouts, name: str, text: str
) -> None:
    """Errors in the stream of the real engine become ours."""
    registry = (await serve(create_registry())).removeprefix("http://")
    with pytest.raises(ModelUnavailable, match=text):
        await pull(
            engine.base_url, resolve_source(ModelName.parse(name), registry), timeouts
        )


async def test_an_unreachable_registry_is_recognised_in_a_real_pull(
    engine: OllamaProcess, timeouts: Timeouts, unused_tcp_port: int
) -> None:
    """The engine's text for a refused connection is recognised."""
    source = resolve_source(TINY, f"127.0.0.1:{unused_tcp_port}")
    with pytest.raises(NetworkUnreachable):
        await pull(engine.base_url, source, timeouts)


async def test_a_real_pull_that_stalls_is_cancelled_and_retried(
    engine: OllamaProcess, serve: Serve, timeouts: Timeouts
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
    source = resolve_source(TINY, registry)
    try:
        async with asyncio.timeout(scaled(20)):
            await pull(
                engine.base_url,
                source,
                replace(timeouts, stall_s=1.0, pull_pause_s=1.0),
            )
    finally:
        for event in let_go:
            event.set()
    assert len(let_go) > 1, "nothing stood still"
    assert await has_model(engine.base_url, source)


class PullStub:
    """An engine that answers each pull with the next list of updates."""

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
    timeouts: Timeouts, serve: Serve
) -> None:
    """Ollama's ``completed`` can fall; ours does not."""
    stub = PullStub([layer(5), layer(3), layer(9), SUCCESS])
    progress = await pull(await serve(stub.application()), TINY, timeouts)
    assert progress == [(5, 9), (5, 9), (9, 9)]
    assert stub.bodies == [{"model": "tiny:latest", "insecure": False}]


async def test_a_pull_without_new_bytes_is_retried(
    timeouts: Timeouts, serve: Serve
) -> None:
    """Lines that come while no byte does are a stall."""
    still = layer(4, repeat=1000, pause=0.02)
    stub = PullStub([layer(2), still], [layer(4), layer(9), SUCCESS])
    url = await serve(stub.application())
    async with asyncio.timeout(scaled(5)):
        progress = await pull(url, TINY, timeouts)
    assert progress[-1] == (9, 9)
    assert len(stub.bodies) == 2


@pytest.mark.parametrize(
    "step",
    [{"status": "pulling manifest"}, layer(4)],
    ids=["before the manifest", "between two lines"],
)
async def test_a_pull_without_new_lines_is_retried(
    timeouts: Timeouts, serve: Serve, step: dict[str, Any]
) -> None:
    """Silence is a stall."""
    stub = PullStub([step | {"pause": 30}], [SUCCESS])
    async with asyncio.timeout(scaled(5)):
        await pull(await serve(stub.application()), TINY, timeouts)
    assert len(stub.bodies) == 2


async def test_an_engine_that_never_answers_a_pull_is_a_stall(
    timeouts: Timeouts, serve: Serve
) -> None:
    """A missing first line is a stall as well."""

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_post("/api/pull", hang)
    url = await serve(app)
    with pytest.raises(DownloadFailed, match="it stalled"):
        async with asyncio.timeout(scaled(10)):
            await pull(url, TINY, timeouts)


async def test_each_attempt_has_its_own_stall_timeout(
    timeouts: Timeouts, serve: Serve
) -> None:
    """Steps of an earlier attempt count as new steps."""
    late = {"status": "pulling manifest", "pause": 0.7 * timeouts.stall_s}
    stub = PullStub(
        [{"status": "pulling manifest"}],
        [layer(1, pause=0.7 * timeouts.stall_s), late, SUCCESS],
    )
    await pull(await serve(stub.application()), TINY, timeouts)
    assert len(stub.bodies) == 2, "a pull that goes on was ended"


async def test_verifying_may_take_longer_than_a_stall(
    timeouts: Timeouts, serve: Serve
) -> None:
    """Nothing is reported for minutes while a slow disk is read."""
    verifying = {"status": "verifying sha256 digest", "pause": 3 * timeouts.stall_s}
    stub = PullStub([layer(9), verifying, SUCCESS])
    await pull(await serve(stub.application()), TINY, timeouts)
    assert len(stub.bodies) == 1, "a pull was ended while it verified"


async def test_bytes_that_are_downloaded_again_are_no_stall(
    timeouts: Timeouts, serve: Serve
) -> None:
    """After a lost part, bytes below the highest mark are progress."""
    again = [layer(done, pause=timeouts.stall_s / 2) for done in range(1, 8)]
    stub = PullStub([layer(8), *again, SUCCESS])
    await pull(await serve(stub.application()), TINY, timeouts)
    assert len(stub.bodies) == 1, "a pull that works was ended"


async def test_two_layers_that_alternate_without_new_bytes_are_a_stall(
    timeouts: Timeouts, serve: Serve
) -> None:
    """Lines that differ only by their layer do not hide it."""
    first, second = (
        layer(4, pause=0.02),
        layer(4, pause=0.02, status="other", digest="e"),
    )
    stub = PullStub([first, second] * 500, [SUCCESS])
    async with asyncio.timeout(scaled(5)):
        await pull(await serve(stub.application()), TINY, timeouts)
    assert len(stub.bodies) == 2


async def test_a_pull_is_retried_only_after_a_pause(
    timeouts: Timeouts, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, the engine attaches to the download that is ending."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    stub = PullStub([{"error": "context canceled"}], [SUCCESS])
    url = await serve(stub.application())
    await pull(url, TINY, replace(timeouts, pull_pause_s=1.5))
    assert 1.5 in pauses, "the pull was asked again at once"


async def test_a_line_that_is_not_json_is_skipped(
    timeouts: Timeouts, serve: Serve
) -> None:
    """Other output in the stream is no error."""
    stub = PullStub([{"raw": b"<html>\n[1]\n"}, SUCCESS])
    await pull(await serve(stub.application()), TINY, timeouts)


async def test_a_pull_that_ends_early_is_retried(
    timeouts: Timeouts, serve: Serve
) -> None:
    """Only ``success`` is success."""
    stub = PullStub([layer(9)], [{"error": "context canceled"}], [SUCCESS])
    await pull(await serve(stub.application()), TINY, timeouts)
    assert len(stub.bodies) == 3


async def test_a_pull_that_never_succeeds_is_given_up(
    timeouts: Timeouts, serve: Serve
) -> None:
    """The last error is the engine's text without control characters."""
    stub = PullStub(*[[{"error": "max retries \x1b[31mexceeded"}]] * 20)
    with pytest.raises(DownloadFailed, match="max retries exceeded"):
        await pull(await serve(stub.application()), TINY, timeouts)
    assert len(stub.bodies) < 10


async def test_a_pull_onto_a_full_disk_is_not_retried(
    timeouts: Timeouts, serve: Serve
) -> None:
    """No retry would help."""
    stub = PullStub([{"error": "write /x: no space left on device"}])
    with pytest.raises(DiskTooSmall):
        await pull(await serve(stub.application()), TINY, timeouts)
