"""Counts of what went through the gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest
from aiohttp import web

from spicy_avocado_magic.config.api_keys import OWNER, ApiKey
from spicy_avocado_magic.gateway.authentication import Caller
from spicy_avocado_magic.gateway.counters import (
    FIRST_TOKEN_BOUNDS_S,
    MOST_MODELS,
    OTHERS,
    Metrics,
    TimeToFirstToken,
)
from spicy_avocado_magic.gateway.request_context import RequestContext
from tests.machine_speed import scaled

from .conftest import PUBLIC_HOST, WITH_KEY, Engine, Front, Open
from .fake_requests import Writer, make_context

ALICE = Caller(name="alice", digest=b"one")


@dataclass(slots=True)
class Clock:
    """A clock that a test moves."""

    now: float = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass(slots=True)
class FakeTraffic:
    """Metrics, and requests that a test lets come and go."""

    clock: Clock = field(default_factory=Clock)
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = Metrics(clock=self.clock)

    def open(
        self,
        caller: Caller | None = ALICE,
        *,
        model: str = "m",
        is_public: bool = False,
    ) -> RequestContext:
        """Let a request in."""
        context = make_context(caller, model=model, is_public=is_public)
        self.metrics.request_started(context)
        if caller is not None:
            self.metrics.admitted(context)
        return context

    def answer(
        self, context: RequestContext, *, tokens: int = 3, reported: bool = True
    ) -> None:
        """Answer it with a stream of so many tokens."""
        for _ in range(tokens):
            context.record_chunk(b'{"response":"x","done":false}\n')
        if reported:
            done = {"done": True, "prompt_eval_count": 5, "eval_count": tokens}
            context.record_chunk(json.dumps(done).encode() + b"\n")
        context.status = 200
        self.metrics.request_finished(context)


@pytest.fixture
def traffic() -> Iterator[FakeTraffic]:
    """Metrics at which nobody has been yet; in the end nothing is left open."""
    traffic = FakeTraffic()
    yield traffic
    assert not traffic.metrics.open, "a request was never closed"


def test_bytes_of_open_and_closed_streams_are_counted_once(
    traffic: FakeTraffic,
) -> None:
    """The sum moves while a stream runs and stays when it has ended."""
    context = traffic.open(is_public=True)
    cast("Writer", context.request.writer).output_size = 7
    reported = (traffic.metrics.bytes_out, traffic.metrics.public_bytes_out)
    assert reported == (7, 7), "an open stream is not counted"
    traffic.answer(context)
    reported = (traffic.metrics.bytes_out, traffic.metrics.public_bytes_out)
    assert reported == (7, 7), "a closed stream is lost or counted twice"


def test_tokens_are_summed_by_key_and_by_model(traffic: FakeTraffic) -> None:
    """Each reply counts for its key, its model, and all together."""
    traffic.answer(traffic.open(model="a"))
    traffic.answer(traffic.open(model="b"), tokens=4)
    traffic.answer(traffic.open(Caller(name=OWNER), model="a"))
    keys, models = traffic.metrics.keys, traffic.metrics.models
    assert (keys["alice"].tokens_in, keys["alice"].tokens_out) == (10, 7)
    assert (keys[OWNER].requests, keys[OWNER].tokens_out) == (1, 3)
    assert (models["a"].requests, models["a"].tokens_out) == (2, 6)
    total = traffic.metrics.total
    assert (total.requests, total.tokens_in, total.tokens_out) == (3, 15, 10)
    assert not total.is_estimate, "the engine's counts pass for estimates"
    assert traffic.metrics.tokens_of(ALICE) == 17, "a limit would count less"


def test_counts_of_our_own_are_marked(traffic: FakeTraffic) -> None:
    """One response without counts makes the whole sum an estimate."""
    traffic.answer(traffic.open(), reported=False)
    traffic.answer(traffic.open())
    assert traffic.metrics.keys["alice"].is_estimate
    assert traffic.metrics.total.is_estimate


def test_a_key_that_has_gone_is_forgotten_and_the_sums_stay(
    traffic: FakeTraffic,
) -> None:
    """Revoked keys pile up nowhere, and no counter runs backwards."""
    late = traffic.open()
    traffic.metrics.retain_keys([])
    assert "alice" not in traffic.metrics.keys, "a revoked key is still listed"
    traffic.answer(late)
    assert "alice" not in traffic.metrics.keys, "its last answer brought it back"
    assert traffic.metrics.total.tokens_out == 3, "what it used was lost"
    assert traffic.metrics.requests == 1


def test_a_new_key_under_an_old_name_starts_at_zero(traffic: FakeTraffic) -> None:
    """Nobody pays with a new key for what the old one used."""
    old = traffic.open()
    traffic.answer(traffic.open())
    other = Caller(name="alice", digest=b"two")
    assert traffic.metrics.tokens_of(other) == 0, "the old key's tokens count"
    traffic.answer(old)
    assert traffic.metrics.tokens_of(other) == 0, "an answer to the old key counts"


def test_the_owner_keeps_its_counts_under_a_new_key(traffic: FakeTraffic) -> None:
    """A changed ``--api-key`` is still the owner's."""
    traffic.answer(traffic.open(Caller(name=OWNER, digest=b"one")))
    traffic.answer(traffic.open(Caller(name=OWNER, digest=b"two")))
    assert traffic.metrics.keys[OWNER].tokens_out == 6


def test_names_of_models_are_bounded(traffic: FakeTraffic) -> None:
    """Neither case nor number of names makes the list grow for ever."""
    for name in ("Tiny:latest", "tiny:latest", *map(str, range(MOST_MODELS + 5))):
        traffic.answer(traffic.open(model=name))
    models = traffic.metrics.models
    assert models["tiny:latest"].requests == 2, "case makes two of one model"
    assert len(models) == MOST_MODELS + 1, "the list grows"
    assert models[OTHERS].requests == 6, "those beyond are lost"


def test_tokens_a_second_are_those_of_the_last_ones(traffic: FakeTraffic) -> None:
    """Open streams count while they run; what is long past does not."""
    metrics = traffic.metrics
    assert metrics.tokens_a_second == 0
    metrics.tick()
    context = traffic.open()
    for _ in range(20):
        context.record_chunk(b'{"response":"x","done":false}\n')
    traffic.clock.now += 2
    assert metrics.tokens_a_second == 10, "an open stream is not counted"
    traffic.answer(context, tokens=0, reported=False)
    assert metrics.tokens_a_second == 10, "its end counts it again, or not at all"
    for _ in range(30):
        traffic.clock.now += 1
        metrics.tick()
    assert metrics.tokens_a_second == 0, "what is long past counts as now"
    assert metrics.samples < 20, "samples pile up"


def test_waits_are_reported_as_quantiles_and_in_buckets() -> None:
    """Half and most of the last clients had their first token within these."""
    waits = TimeToFirstToken()
    assert waits.quantile_s(0.5) is None, "a wait was made up"
    for number in range(1, 101):
        waits.add(number / 100)
    assert (waits.quantile_s(0.5), waits.quantile_s(0.95)) == (0.5, 0.95)
    by_bound = dict(zip(FIRST_TOKEN_BOUNDS_S, waits.buckets, strict=False))
    assert (by_bound[0.05], by_bound[0.1], by_bound[1.0]) == (5, 5, 50)
    for _ in range(300):
        waits.add(1000)
    assert waits.buckets[-1] == 300, "a wait beyond all bounds is lost"
    assert waits.quantile_s(0.001) == 1000, "old waits count for ever"


def test_only_streams_have_a_time_to_first_token(traffic: FakeTraffic) -> None:
    """The first byte of a whole object comes with its last."""
    whole = traffic.open()
    whole.record_chunk(b'{"response":"x","done":true,"eval_count":1}')
    traffic.answer(whole, tokens=0, reported=False)
    assert sum(traffic.metrics.waits.buckets) == 0, "a whole object was counted"
    traffic.answer(traffic.open())
    assert sum(traffic.metrics.waits.buckets) == 1, "a stream was not"


async def test_every_request_through_the_public_url_counts(front: Front) -> None:
    """Refused ones too: ngrok's free month has 20,000 of all kinds."""
    public = {"Host": PUBLIC_HOST}
    await front.call("GET", "/api/tags", headers=public)
    await front.call("GET", "/nowhere", headers=public | WITH_KEY)
    await front.call("GET", "/api/version", headers=public)
    await front.call("GET", "/api/version")
    metrics = front.gateway.metrics
    assert metrics.public_requests == 3, "not every one was counted"
    assert 0 < metrics.public_bytes_out < metrics.bytes_out
    assert metrics.statuses == {401: 1, 404: 1, 200: 2}


async def test_only_what_a_model_answers_is_counted_as_tokens(
    open_gateway: Open, engine: Engine
) -> None:
    """Progress of a pull is no answer, and its model no served one."""
    front = await open_gateway(manage=True)

    async def pull(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        return web.Response(body=b'{"status":"pulling"}\n' * 50)

    engine.reply = pull
    await front.call("POST", "/api/pull", json={"model": "any"}, headers=WITH_KEY)
    assert front.gateway.metrics.total.tokens_out == 0, "progress was counted"
    assert not front.gateway.metrics.models, "any name makes a label"


async def test_a_cut_stream_counts_for_what_was_sent(
    open_gateway: Open, engine: Engine
) -> None:
    """A client that leaves early has used what it had."""
    key = ApiKey(name="alice", secret="alices-key-0123456789")
    front = await open_gateway(named=(key,))

    async def endless(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for _line in range(3):
            await response.write(b'{"response":"x","done":false}\n')
        await asyncio.Event().wait()
        return response

    engine.reply = endless
    headers = {"Authorization": f"Bearer {key.secret}"}
    async with front.client.post(
        f"{front.url}/api/generate", json={"model": "tiny"}, headers=headers
    ) as reply:
        for _line in range(3):
            await reply.content.readline()
    async with asyncio.timeout(scaled(5)):
        await engine.left.wait()
    assert not front.gateway.metrics.open, "the request is still open"
    use = front.gateway.metrics.keys["alice"]
    assert (use.tokens_out, use.is_estimate) == (3, True)


async def test_an_engine_is_waited_for_only_by_uses_of_a_model(
    front: Front, engine: Engine
) -> None:
    """A pull may take minutes without a byte, while no model has anything to do."""
    go_on = asyncio.Event()

    async def late(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        await go_on.wait()
        return web.json_response({"ok": True})

    engine.reply = late
    assert not front.gateway.is_blocked_on_engine, "nobody has asked for anything"
    asked = []
    for path, is_waiting in (("/api/chat", True), ("/api/show", False)):
        engine.arrived.clear()
        data = b'{"model":"tiny"}'
        call = front.call("POST", path, data=data, headers=WITH_KEY)
        asked.append(asyncio.ensure_future(call))
        await engine.arrived.wait()
        assert front.gateway.is_blocked_on_engine is is_waiting, path
    go_on.set()
    await asyncio.gather(*asked)
    assert not front.gateway.is_blocked_on_engine, "all have been answered"
