"""The gateway's counts in the OpenMetrics text format, for scrapers.

The format is that of https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web

from ..config.api_keys import key_digest
from ..config.limits import Limits
from ..protocol.error_shapes import ApiDialect
from ..system.redaction import Secret
from .admission import AdmissionQueue
from .connection import Connection
from .error_responses import SERVER_NAME, ErrorResponse
from .metrics import FIRST_TOKEN_BOUNDS_S, Metrics, TimeToFirstToken, UsageCounter
from .server import HttpServer

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class MetricsCollector:
    """Tells what the gateway has counted, whenever a scraper asks."""

    def __init__(self, metrics: Metrics, places: AdmissionQueue) -> None:
        self._metrics, self._places = metrics, places

    def page(self) -> tuple[str, bytes]:
        """Return the content type and all of the text, up to ``# EOF``."""
        from prometheus_client.openmetrics import exposition

        text: bytes = exposition.generate_latest(self)  # type: ignore[no-untyped-call]
        return exposition.CONTENT_TYPE_LATEST, text

    def collect(self) -> Iterator[Metric]:
        """Yield every family, in the order in which it is shown."""
        from prometheus_client.core import CounterMetricFamily

        metrics = self._metrics
        yield from _uses("key", "with a key", metrics.keys)
        yield from _uses("model", "of a model", metrics.models)
        responses = CounterMetricFamily(
            "avocado_responses", "Answers to all requests.", labels=["status"]
        )
        for status, count in sorted(metrics.statuses.items()):
            responses.add_metric([str(status)], count)
        yield responses
        yield _counter(
            "refused_requests",
            "Requests turned away: by origin, host, route, method or key.",
            metrics.refused,
        )
        yield _counter(
            "sent_bytes", "Bytes sent to clients, heads included.", metrics.bytes_out
        )
        yield _counter(
            "public_requests",
            "Requests through the public URL, refused ones included.",
            metrics.public_requests,
        )
        yield _counter(
            "public_sent_bytes",
            "Bytes sent through the public URL.",
            metrics.public_bytes_out,
        )
        yield _gauge(
            "in_flight_requests", "Requests not yet answered.", metrics.in_flight
        )
        yield _gauge(
            "queued_requests",
            "Requests that wait for a place before the engine.",
            self._places.queued,
        )
        yield _gauge(
            "tokens_per_second",
            "Tokens of answers a second, over the last ten seconds.",
            metrics.tokens_a_second,
        )
        yield _histogram(metrics.waits)


def _uses(label: str, whose: str, uses: Mapping[str, UsageCounter]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    requests = CounterMetricFamily(
        f"avocado_{label}_requests", f"Requests {whose}.", labels=[label]
    )
    tokens = CounterMetricFamily(
        f"avocado_{label}_tokens",
        f"Tokens of requests {whose}, of prompts (in) and answers (out); counted by "
        "events where the engine told none.",
        labels=[label, "direction"],
    )
    for name, use in uses.items():
        requests.add_metric([name], use.requests)
        tokens.add_metric([name, "in"], use.tokens_in)
        tokens.add_metric([name, "out"], use.tokens_out)
    yield requests
    yield tokens


def _counter(name: str, text: str, value: float) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    unit = "bytes" if name.endswith("_bytes") else ""
    family = CounterMetricFamily(f"avocado_{name}", text, unit=unit)
    family.add_metric([], value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"avocado_{name}", text, value=value)


def _histogram(waits: TimeToFirstToken) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(
        "avocado_first_token_seconds",
        "From a request's head to the first byte of a stream.",
        unit="seconds",
    )
    bounds = [*map(str, FIRST_TOKEN_BOUNDS_S), "+Inf"]
    counts = map(float, accumulate(waits.buckets))
    buckets = list(zip(bounds, counts, strict=True))
    family.add_metric([], buckets, waits.sum_s)
    return family


PATH: Final = "/metrics"


class MetricsServer:
    """Answers ``GET /metrics`` to those who have its own token."""

    def __init__(
        self, read: Callable[[], tuple[str, bytes]], token: Secret, limits: Limits
    ) -> None:
        """Open nothing yet.

        Args:
            read: Returns the page's content type and its text.
            token: What a scraper must send as bearer.
            limits: The bounds of its connections.
        """
        self._read = read
        self._token = key_digest(token.get_secret_value())
        self._listener = HttpServer(self._handle, limits)

    async def start(self, address: str, port: int) -> str:
        """Listen there; return the page's URL.

        Raises:
            PortInUse: If another program has the port.
            GatewayFailed: If the system does not give it, or has no such address.
        """
        bound = await self._listener.start(port, address.strip("[]"))
        return f"http://{address}:{bound}{PATH}"

    async def stop(self, grace_s: float) -> None:
        """Close the port; answers under way have the grace (seconds) to end."""
        await self._listener.stop(grace_s)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            self._check(request)
        except ErrorResponse as refusal:
            return refusal.response(ApiDialect.NATIVE)
        cast("Connection", request.protocol).mark_authenticated()
        content_type, text = self._read()
        head = {"Content-Type": content_type, "Server": SERVER_NAME}
        return web.Response(body=text, headers=head)

    def _check(self, request: web.BaseRequest) -> None:
        """Refuse whoever has not the token, and then whatever is not the page."""
        sent = request.headers.getall("Authorization", [])
        scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        is_right = hmac.compare_digest(key_digest(token.strip()), self._token)
        if not is_right or scheme.lower() != "bearer":
            raise ErrorResponse(
                401,
                "The token for metrics is needed: 'Authorization: Bearer TOKEN'.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if request.raw_path != PATH:
            raise ErrorResponse(404, f"There is {PATH} here, and nothing else.")
        if request.method != "GET":
            raise ErrorResponse(405, "Use GET for this path.", headers={"Allow": "GET"})
