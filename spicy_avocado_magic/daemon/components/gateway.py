"""Gateway component, and its access rules from the settings."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from ...config.limits import Limits
from ...config.settings import Settings
from ...gateway.access_log import AccessLog
from ...gateway.app import Gateway
from ...gateway.authorization import AccessPolicy
from ...protocol.state import Phase
from ...system.redaction import Secret
from ..context import DaemonContext
from ..restart_loop import Readiness
from ..traffic import traffic_fields


class GatewayComponent:
    """Runs the gateway and updates its access rules when settings change."""

    def __init__(self, context: DaemonContext) -> None:
        self._context = context
        self._access_log = AccessLog(
            context.folder.log("access"),
            flush_every_s=context.timeouts.access_log_every_s,
        )
        self.gateway = Gateway(
            access=access_of(context.settings),
            timeouts=context.timeouts,
            probe_secret=context.probe_secret,
            log=self._access_log,
            limits=self._limits(),
        )
        context.store.live_fields = self._counts

    def refresh(self) -> None:
        """Apply the present settings from the next request on."""
        now = self.gateway.access
        self.gateway.access = replace(
            access_of(self._context.settings),
            public_host=now.public_host,
            models=now.models,
        )
        self.gateway.metrics.retain_keys(
            [key.name for key in self._context.settings.keys]
        )
        self.gateway.limits = self._limits()

    def _limits(self) -> Limits:
        return Limits.from_timeouts(
            self._context.timeouts, self._context.settings.limits
        )

    def serve(self, models: tuple[str, ...]) -> None:
        """Let clients use exactly these models."""
        self.gateway.access = replace(self.gateway.access, models=models)

    def set_public_host(self, public_host: str) -> None:
        """Accept requests for this public host."""
        access = replace(self.gateway.access, public_host=public_host)
        self.gateway.access = access

    async def run(self, ready: Readiness) -> None:
        """Open the port and serve until cancelled."""
        context = self._context
        context.store.stage("gateway", Phase.STARTING, "opening its port")
        try:
            local_url = await self.gateway.start(context.settings.port)
            guarded = "no key" if context.settings.no_auth else "key required"
            context.store.update(local_url=local_url)
            context.store.stage("gateway", Phase.READY, f"{local_url}, {guarded}")
            ready.set_ready()
            while True:
                self.gateway.metrics.tick()
                await asyncio.sleep(context.timeouts.metrics_every_s)
        finally:
            await self.gateway.stop(context.timeouts.gateway_stop_s)
            self._access_log.flush()

    def _counts(self) -> dict[str, Any]:
        gateway, settings = self.gateway, self._context.settings
        return traffic_fields(
            gateway.metrics,
            settings,
            queued=gateway.queue.queued,
            lost_lines=self._access_log.lost,
        )


def access_of(settings: Settings) -> AccessPolicy:
    """Return the access rules of the settings."""
    return AccessPolicy(
        key=None if settings.no_auth else Secret(settings.api_key),
        path_key=settings.path_key,
        manage=settings.manage,
        named=() if settings.no_auth else settings.keys,
        awaited=settings.models,
        any_model=settings.any_model,
        registries=settings.registries,
        cors=settings.cors,
    )
