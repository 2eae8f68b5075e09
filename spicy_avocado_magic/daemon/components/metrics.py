"""Endpoint for scrapers of metrics, which follows ``--metrics-port``.

It has no restart loop: its failures are warnings, and gateway and tunnel go on.
"""

from __future__ import annotations

import asyncio
import contextlib

from ...config.limits import Limits
from ...errors import AvocadoError, PortInUse
from ...gateway.app import Gateway
from ...gateway.openmetrics import MetricsCollector, MetricsServer
from ...system.redaction import Secret
from ..context import DaemonContext


class MetricsEndpoint:
    """The metrics server, reopened when the settings change."""

    def __init__(self, context: DaemonContext, gateway: Gateway) -> None:
        self._context, self._gateway = context, gateway
        self._changed = asyncio.Event()
        self._open_with: tuple[str, str] | None = None
        self._port: MetricsServer | None = None

    def refresh(self) -> None:
        """Apply the present settings; call it after every change."""
        self._changed.set()

    async def run(self) -> None:
        """Serve as the settings say until cancelled, then close."""
        try:
            while True:
                self._changed.clear()
                is_done = await self._apply()
                wait_s = None if is_done else self._context.timeouts.metrics_retry_s
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
        finally:
            await self._close()

    async def _apply(self) -> bool:
        """Apply the settings; return whether it worked, else set a warning."""
        settings = self._context.settings
        wanted = (settings.metrics_port, settings.metrics_token)
        if wanted == self._open_with:
            return True
        await self._close()
        warnings = []
        if settings.metrics_port:
            try:
                await self._open(*wanted)
            except AvocadoError as error:
                is_in_use = isinstance(error, PortInUse)
                reason = (
                    "is in use by another program" if is_in_use else "cannot be opened"
                )
                remedy = "Choose another with --metrics-port N; the service goes on."
                warnings = [f"No metrics: {settings.metrics_port} {reason}. {remedy}"]
        self._context.store.warn("metrics", *warnings)
        if not warnings:
            self._open_with = wanted
        return not warnings

    async def _open(self, address: str, token: str) -> None:
        host, _, number = address.rpartition(":")
        page = MetricsCollector(self._gateway.metrics, self._gateway.queue)
        limits = Limits.from_timeouts(self._context.timeouts)
        port = MetricsServer(page.page, Secret(token), limits)
        url = await port.start(host, int(number))
        self._port = port
        self._context.store.update(metrics_url=url)
        self._context.log(f"metrics: {url}")

    async def _close(self) -> None:
        port, self._port, self._open_with = self._port, None, None
        if port is not None:
            self._context.store.update(metrics_url="")
            await port.stop(self._context.timeouts.gateway_stop_s)
