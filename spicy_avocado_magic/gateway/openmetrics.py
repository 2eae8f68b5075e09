"""OpenMetrics page of the gateway's counters, and the server that scrapers use.

The text format is https://prometheus.io/docs/specs/om/open_metrics_spec/.
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
from .counters import FIRST_TOKEN_BOUNDS_S, Metrics, TimeToFirstToken, UsageCounter
from .error_responses import SERVER_NAME, ErrorResponse
from .server import HttpServer

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PATH: Final = "/metrics"


class MetricsCollector:
    """Collector of the gateway's counters, as ``prometheus_client`` defines it."""

    def __init__(self, metrics: Metrics, queue: AdmissionQueue) -> None:
        self._metrics, self._queue = metrics, queue

    def page(self) -> tuple[str, bytes]:
        """Return the content type and the whole text, up to ``# EOF``."""
        from prometheus_client.openmetrics import exposition

        text: bytes = exposition.generate_latest(self)  # type: ignore[no-untyped-call]
        return exposition.CONTENT_TYPE_LATEST, text

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family, in the order of the page."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        metrics = self._metrics
        yield from _usage("key", "with a key", metrics.keys)
        yield from _usage("model", "of a model", metrics.models)
        responses = CounterMetricFamily(
            "avocado_responses", "Answers to all requests.", labels=["status"]
        )
        for status, count in sorted(metrics.statuses.items()):
            responses.add_metric([str(status)], count)
        yield responses
        for name, text, value in (
            (
                "refused_requests",
                "Requests refused: by origin, host, route, method or key.",
                metrics.refused,
            ),
            ("sent_bytes", "Bytes sent to clients, heads included.", metrics.bytes_out),
            (
                "public_requests",
                "Requests through the public URL, refused ones included.",
                metrics.public_requests,
            ),
            (
                "public_sent_bytes",
                "Bytes sent through the public URL.",
                metrics.public_bytes_out,
            ),
        ):
            unit = "bytes" if name.endswith("_bytes") else ""
            counter = CounterMetricFamily(f"avocado_{name}", text, unit=unit)
            counter.add_metric([], value)
            yield counter
        for name, text, level in (
            ("in_flight_requests", "Requests not yet answered.", metrics.in_flight),
            (
                "queued_requests",
                "Requests that wait for a slot before the engine.",
                self._queue.queued,
            ),
            (
                "tokens_per_second",
                "Tokens of answers a second, over the last ten seconds.",
                metrics.tokens_a_second,
            ),
        ):
            yield GaugeMetricFamily(f"avocado_{name}", text, value=level)
        yield _histogram(metrics.waits)


def _usage(
    label: str, phrase: str, counters: Mapping[str, UsageCounter]
) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    requests = CounterMetricFamily(
        f"avocado_{label}_requests", f"Requests {phrase}.", labels=[label]
    )
    tokens = CounterMetricFamily(
        f"avocado_{label}_tokens",
        f"Tokens of requests {phrase}, of prompts (in) and answers (out); estimated "
        "from the number of events where the engine reported none.",
        labels=[label, "direction"],
    )
    for name, use in counters.items():
        requests.add_metric([name], use.requests)
        tokens.add_metric([name, "in"], use.tokens_in)
        tokens.add_metric([name, "out"], use.tokens_out)
    yield requests
    yield tokens


def _histogram(waits: TimeToFirstToken) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(
        "avocado_first_token_seconds",
        "From a request's head to the first byte of a stream.",
        unit="seconds",
    )
    bounds = [*map(str, FIRST_TOKEN_BOUNDS_S), "+Inf"]
    counts = map(float, accumulate(waits.buckets))
    family.add_metric([], list(zip(bounds, counts, strict=True)), waits.sum_s)
    return family


class MetricsServer:
    """Server of ``GET /metrics``, with a token of its own."""

    def __init__(
        self, read: Callable[[], tuple[str, bytes]], token: Secret, limits: Limits
    ) -> None:
        """Open no port yet.

        Args:
            read: Returns the page's content type and text.
            token: Bearer token that a scraper must send.
            limits: Of its connections.
        """
        self._read = read
        self._token = key_digest(token.get_secret_value())
        self._server = HttpServer(self._handle, limits)

    async def start(self, address: str, port: int) -> str:
        """Listen on an address of this machine; return the page's URL.

        Raises:
            PortInUse: If another program has the port.
            GatewayFailed: If the system refuses the port or address.
        """
        bound = await self._server.start(port, address.strip("[]"))
        return f"http://{address}:{bound}{PATH}"

    async def stop(self, grace_s: float) -> None:
        """Stop listening; open requests have the grace (seconds) to end."""
        await self._server.stop(grace_s)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            self._check(request)
        except ErrorResponse as error:
            return error.response(ApiDialect.NATIVE)
        cast("Connection", request.protocol).mark_authenticated()
        content_type, text = self._read()
        headers = {"Content-Type": content_type, "Server": SERVER_NAME}
        return web.Response(body=text, headers=headers)

    def _check(self, request: web.BaseRequest) -> None:
        """Require the token first, then the page."""
        sent = request.headers.getall("Authorization", [])
        scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        is_right = hmac.compare_digest(key_digest(token.strip()), self._token)
        if not is_right or scheme.lower() != "bearer":
            raise ErrorResponse(
                401,
                "The metrics need their own token: 'Authorization: Bearer TOKEN'.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if request.raw_path != PATH:
            raise ErrorResponse(404, f"This server has only {PATH}.")
        if request.method != "GET":
            raise ErrorResponse(405, "Use GET for this path.", headers={"Allow": "GET"})
