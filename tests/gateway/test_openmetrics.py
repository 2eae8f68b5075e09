"""The counts as a scraper reads them, by the official parser."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from spicy_avocado_magic.config.api_keys import ApiKey
from spicy_avocado_magic.gateway.admission import AdmissionQueue
from spicy_avocado_magic.gateway.app import Gateway
from spicy_avocado_magic.gateway.counters import Metrics, UsageCounter
from spicy_avocado_magic.gateway.openmetrics import MetricsCollector

from .conftest import PUBLIC_HOST, WITH_KEY, Engine, Open, bounds

ALICE = ApiKey(name="alice", secret="alices-key-0123456789")


def families_of(metrics: Metrics, places: AdmissionQueue) -> dict[str, Metric]:
    """Return the families by name, as the official parser reads the page."""
    _, text = MetricsCollector(metrics, places).page()
    read: Any = text_string_to_metric_families
    return {family.name: family for family in read(text.decode())}


def values_of(gateway: Gateway) -> dict[str, float]:
    """Return the samples by name and labels, as ``name{a,b}``."""
    families = families_of(gateway.metrics, gateway.queue)
    return {
        sample.name + "{" + ",".join(sample.labels.values()) + "}": sample.value
        for family in families.values()
        for sample in family.samples
    }


async def test_a_page_without_any_traffic_is_a_proper_one() -> None:
    """The format holds from the first second, every family with type and help."""
    content_type, text = MetricsCollector(Metrics(), AdmissionQueue(bounds())).page()
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n"), "a scraper takes it for a cut answer"
    families = families_of(Metrics(), AdmissionQueue(bounds()))
    assert len(families) >= 12, "families are missing"
    for name, family in families.items():
        assert name.startswith("avocado_"), f"{name} could be anybody's"
        assert family.documentation, f"{name} says nothing of itself"
        assert family.type in {"counter", "gauge", "histogram"}
    units = {name: family.unit for name, family in families.items() if family.unit}
    assert units == {
        "avocado_sent_bytes": "bytes",
        "avocado_public_sent_bytes": "bytes",
        "avocado_first_token_seconds": "seconds",
    }


async def test_a_scraper_sees_what_went_through(
    open_gateway: Open, engine: Engine
) -> None:
    """Requests, tokens and bytes by key, model and status; the histogram adds up."""

    async def stream(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        return web.Response(
            body=b'{"response":"x","done":false}\n' * 2
            + b'{"done":true,"prompt_eval_count":5,"eval_count":2}\n'
        )

    engine.reply = stream
    front = await open_gateway(named=(ALICE,))
    headers = {"Authorization": f"Bearer {ALICE.secret}", "Host": PUBLIC_HOST}
    asked: Any = {"model": "tiny"}
    await front.call("POST", "/api/generate", json=asked, headers=headers)
    await front.call("POST", "/api/generate", json=asked, headers=WITH_KEY)
    await front.call("GET", "/nowhere")
    values = values_of(front.gateway)
    assert values["avocado_key_requests_total{alice}"] == 1
    assert values["avocado_key_requests_total{owner}"] == 1
    assert values["avocado_key_tokens_total{in,alice}"] == 5
    assert values["avocado_model_tokens_total{out,tiny:latest}"] == 4
    assert values["avocado_responses_total{200}"] == 2
    assert values["avocado_responses_total{404}"] == 1
    assert values["avocado_refused_requests_total{}"] == 1
    assert values["avocado_public_requests_total{}"] == 1
    public = values["avocado_public_sent_bytes_total{}"]
    assert 0 < public < values["avocado_sent_bytes_total{}"]
    assert values["avocado_in_flight_requests{}"] == 0
    assert values["avocado_first_token_seconds_count{}"] == 2
    assert values["avocado_first_token_seconds_bucket{+Inf}"] == 2
    assert values["avocado_first_token_seconds_sum{}"] > 0


async def test_open_and_queued_requests_are_gauges() -> None:
    """A queue shows at once, not when it has gone."""
    places = AdmissionQueue(bounds(concurrent=1))
    await places.acquire("ann")
    waiting = asyncio.create_task(places.acquire("ann"))
    await asyncio.sleep(0)
    queued = families_of(Metrics(), places)["avocado_queued_requests"]
    assert [sample.value for sample in queued.samples] == [1]
    places.release()
    await waiting


async def test_a_name_with_quotes_cannot_break_the_page() -> None:
    """Labels are escaped, whatever a model is called."""
    name = 'a"}\n# EOF\n\\'
    families = families_of(
        Metrics(models={name: UsageCounter(requests=1)}), AdmissionQueue(bounds())
    )
    (sample,) = families["avocado_model_requests"].samples
    assert sample.labels == {"model": name}
