"""Supervisor: owns a restart loop for each component and applies every change."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from ..config.settings import Settings
from ..protocol.event_log import ENDING, REQUESTED
from ..protocol.state import ModelState, Phase
from ..system.process_log import ProcessLog, rotate_periodically
from ..system.processes import Identity, end_group, signal_group
from .api_keys import ApiKeyManager, new_secret
from .components.engine import EngineComponent
from .components.gateway import GatewayComponent
from .components.metrics import MetricsEndpoint
from .components.model_creation import ModelBuilder
from .components.models import ModelsComponent
from .components.tunnel import TunnelComponent
from .context import DaemonContext
from .desired_state import no_model, save_desired_state
from .lifetime import Lifetime
from .restart_loop import RestartLoop, RunComponent
from .state_store import TransitionRecorder
from .usage_store import UsageStore


class Supervisor:
    """Owner of the four components: starts, changes and stops them."""

    def __init__(self, context: DaemonContext, owner: Identity | None) -> None:
        self.context = context
        context.children.warn = partial(context.store.warn, "record")
        self.ending = asyncio.Event()
        self.keep_desired_state = False
        """Whether the desired state stays on disk after the stop."""
        self.reason = ""
        """Reason of the stop; empty before one is requested."""
        context.store.on_event = TransitionRecorder(context.log)
        self._lifetime = Lifetime(context, owner, self.request_stop)
        self._change = 0
        self._before: Settings | None = None
        self.gateway = GatewayComponent(context)
        self.api_keys = ApiKeyManager(context, self.gateway)
        self._usage = UsageStore(context, self.gateway)
        self.metrics = MetricsEndpoint(context, self.gateway.gateway)
        engine = EngineComponent(context, self.gateway.gateway)
        self.model_builder = ModelBuilder(context, engine)
        self._engine_log = engine.log
        self._loops: dict[str, RestartLoop] = {}
        self._add_component("engine", engine.run, self.gateway.gateway.give_up_upstream)
        self._add_component("gateway", self.gateway.run)
        engine_ready = self._loops["engine"].ready
        gateway_ready = self._loops["gateway"].ready
        models = ModelsComponent(context, self.gateway, engine, engine_ready)
        self._add_component("models", models.run)
        models_ready = self._loops["models"].ready
        tunnel = TunnelComponent(context, self.gateway, gateway_ready, models_ready)
        self._add_component("tunnel", tunnel.run)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watches: list[asyncio.Task[None]] = []

    def _add_component(
        self,
        name: str,
        run: RunComponent,
        on_given_up: Callable[[], None] = lambda: None,
    ) -> None:
        context = self.context
        self._loops[name] = RestartLoop(
            name,
            run,
            context.store,
            context.timeouts,
            log=partial(context.log, component=name),
            on_given_up=on_given_up,
        )

    async def run(self) -> None:
        """Run every component until a stop is requested, then stop them in order."""
        self._store(self.context.settings)
        self._adopt(self.context.settings)
        self._usage.restore()
        for name, loop in self._loops.items():
            self._tasks[name] = asyncio.create_task(loop.run(), name=f"keep {name}")
        watches = self._lifetime.watches() | {
            "record": self.context.children.republish_periodically(
                self.context.timeouts.heartbeat_s
            ),
            "usage": self._usage.save_periodically(),
            "api keys": self.api_keys.watch(),
            "metrics": self.metrics.run(),
            "logs": self._bound_logs(),
        }
        self._watches = [
            asyncio.create_task(watch, name=name) for name, watch in watches.items()
        ]
        try:
            await self.ending.wait()
        finally:
            await self._stop()

    def request_stop(self, reason: str, *, keep_wanted: bool = False) -> None:
        """Request the stop; ``run`` performs it."""
        if not self.reason:
            self.reason = reason
            self.context.log.record("host", ENDING, reason)
        self.keep_desired_state = keep_wanted
        self.ending.set()

    def change(self, given: Mapping[str, Any], *, only: bool) -> tuple[int, set[str]]:
        """Apply the given options, and restart only what they change.

        Returns:
            A number by which this change can be undone, and the names of the
            settings that differ.

        Raises:
            UsageError: If the settings are not valid; nothing is changed then.
        """
        before = self.context.settings
        wanted = with_key(before.merged(given, only=only))
        if not wanted.models:
            raise no_model()
        differing = set(before.differences(wanted))
        if given.get("ttl_s"):
            differing.add("ttl_s")  # the same time, but from now on
        names = ", ".join(sorted(differing)) or "nothing differs"
        self.context.log.record("host", REQUESTED, f"up: {names}")
        self._change += 1
        self._before = before
        self._apply(
            wanted,
            renew=before.changed_components(wanted),
            restart_ttl="ttl_s" in given,
        )
        return self._change, differing

    def undo_change(self, number: int) -> bool:
        """Undo a change, unless another one followed it."""
        if number != self._change or self._before is None:
            return False
        # Keys that were created or revoked in between stay so.
        now = replace(self._before, keys=self.context.settings.keys)
        self._before = None
        renew = self.context.settings.changed_components(now)
        self.context.log.record("host", REQUESTED, "undo the last change")
        self._apply(now, renew=renew, restart_ttl=False)
        return True

    def _apply(
        self, wanted: Settings, *, renew: frozenset[str], restart_ttl: bool
    ) -> None:
        board = self.context.store
        if wanted != self.context.settings:
            self._store(wanted)
        self.context.settings = wanted
        self._adopt(wanted, restart_ttl=restart_ttl)
        failed = {
            name
            for name in self._loops
            if board.snapshot().component(name) in (Phase.FAILED, Phase.BACKOFF)
        }
        for name in renew | failed:
            self._loops[name].restart(with_new_settings=name in renew)

    def _store(self, settings: Settings) -> None:
        """Write the settings to disk for the next daemon.

        Raises:
            OSError: If the disk is full or read-only; then nothing is changed.
        """
        context = self.context
        save_desired_state(context, settings)
        if settings.token:
            context.provider.write_config(
                context.folder.agent_config,
                settings.token,
                settings.sources.edge_address,
            )

    def _adopt(self, settings: Settings, *, restart_ttl: bool = True) -> None:
        context = self.context
        known = {model.name: model for model in context.store.snapshot().models}
        context.store.models(
            known.get(name, ModelState(name=name)) for name in settings.models
        )
        context.store.update(
            api_key="" if settings.no_auth else settings.api_key,
            key_is_generated=settings.key_is_generated,
            hide_key=settings.hide_key,
            path_key=settings.path_key,
            metrics_token=settings.metrics_token if settings.metrics_port else "",
        )
        self.gateway.refresh()
        self.metrics.refresh()
        if restart_ttl:
            self._lifetime.restart(settings.ttl_s)

    async def _bound_logs(self) -> None:
        """Rotate the logs that others write: engine, rehearsal, our standard error."""
        folder = self.context.folder
        others = [ProcessLog(folder.log(name)) for name in ("host", "rehearsal")]
        every_s = self.context.timeouts.logs_check_every_s
        await rotate_periodically((self._engine_log, *others), every_s)

    async def _stop(self) -> None:
        timeouts = self.context.timeouts
        for watch in self._watches:
            watch.cancel()
        await asyncio.wait(self._watches, timeout=timeouts.gateway_stop_s + 0.5)
        bounds = {
            "tunnel": timeouts.tunnel_stop_s,
            "gateway": timeouts.gateway_stop_s,
            "models": timeouts.engine_stop_s,
            "engine": timeouts.engine_stop_s,
        }
        for name, bound_s in bounds.items():
            task = self._tasks[name]
            task.cancel()
            # A margin, since the component's own stop has the same bound.
            await asyncio.wait([task], timeout=bound_s + 0.5)
            identity = self.context.children.all().get(_GROUP_OF.get(name, name))
            if identity is not None:
                signal_group(identity.pid, signal.SIGKILL)
        for name, identity in self.context.children.all().items():
            with contextlib.suppress(OSError):
                await asyncio.to_thread(end_group, identity, grace_s=0.5)
            self.context.children.remove(name)
        self._usage.save()


_GROUP_OF: Final = {"tunnel": "agent"}


def with_key(settings: Settings) -> Settings:
    """Return settings with every key that they need, generated where missing."""
    if settings.metrics_port and not settings.metrics_token:
        settings = replace(settings, metrics_token=new_secret("avocado-metrics-"))
    if settings.api_key or settings.no_auth:
        return settings
    return replace(settings, api_key=new_secret(), key_is_generated=True)
