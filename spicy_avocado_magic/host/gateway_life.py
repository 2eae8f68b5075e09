"""The gateway as a component, and what it lets in as settings change."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ..gateway.access import Access
from ..gateway.app import Gateway
from ..limits import Limits
from ..secrets import Secret
from ..settings import Settings
from ..state import Phase
from .context import Context
from .keeper import Readiness


class GatewayLife:
    """Opens the gateway and keeps its access rules in step with the settings."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.gateway = Gateway(
            access=access_of(context.settings),
            policy=context.policy,
            probe_secret=context.probe_secret,
            log=context.log,
            limits=self._limits(),
        )
        context.board.live_facts = self._counts

    def refresh(self) -> None:
        """Let the present settings decide from the next request on."""
        now = self.gateway.access
        self.gateway.access = replace(
            access_of(self._context.settings),
            public_host=now.public_host,
            models=now.models,
        )
        self.gateway.limits = Limits.of(
            self._context.policy, self._context.settings.limits
        )

    def _limits(self) -> Limits:
        return Limits.of(self._context.policy, self._context.settings.limits)

    def serve(self, models: tuple[str, ...]) -> None:
        """Let clients use exactly these models."""
        self.gateway.access = replace(self.gateway.access, models=models)

    def announce(self, public_host: str) -> None:
        """Accept requests for this public host."""
        access = replace(self.gateway.access, public_host=public_host)
        self.gateway.access = access

    async def live(self, ready: Readiness) -> None:
        """Open the port, and keep it open until cancelled."""
        context = self._context
        context.board.stage("gateway", Phase.STARTING, "opening its port")
        try:
            local_url = await self.gateway.start(context.settings.port)
            guarded = "no key" if context.settings.no_auth else "key required"
            context.board.update(local_url=local_url)
            context.board.stage("gateway", Phase.READY, f"{local_url}, {guarded}")
            ready.rise()
            await asyncio.Event().wait()
        finally:
            await self.gateway.stop(context.policy.gateway_stop_s)

    def _counts(self) -> dict[str, int]:
        metrics = self.gateway.metrics
        return {
            "requests": metrics.requests,
            "refused": metrics.refused,
            "bytes_out": metrics.bytes_out,
        }


def access_of(settings: Settings) -> Access:
    """Return the access rules that the settings ask for."""
    return Access(
        key=None if settings.no_auth else Secret(settings.api_key),
        path_key=settings.path_key,
        manage=settings.manage,
        named=() if settings.no_auth else settings.keys,
        any_model=settings.any_model,
        registries=settings.registries,
        cors=settings.cors,
    )
