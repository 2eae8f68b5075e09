"""The models as a component: fetched side by side with the engine, then warmed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence

from ...engine.blobs import fetch_blobs
from ...engine.hardware.gpu_offload import (
    confirmed_gpu_bytes,
    no_gpu_warning,
    offloaded_layers,
    partial_offload_warning,
)
from ...engine.hardware.memory import list_gpus
from ...engine.hardware.memory_fit import AvailableMemory
from ...engine.ollama_api import LoadedModel
from ...engine.progress import DownloadProgress
from ...engine.pull import pull_model
from ...engine.registry import Manifest, installed_manifest
from ...errors import EngineFailed
from ...formatting import format_bytes
from ...protocol.state import Phase
from ..context import DaemonContext
from ..restart_loop import Readiness, first_completed
from .engine import EngineComponent
from .gateway import GatewayComponent
from .model_plans import ModelPlan, count_downloaded, plan_models


class ModelsComponent:
    """Brings every wanted model; blobs need no engine, so they start at once."""

    def __init__(
        self,
        context: DaemonContext,
        gateway: GatewayComponent,
        engine: EngineComponent,
        engine_ready: Readiness,
    ) -> None:
        self._context, self._gateway = context, gateway
        self._engine, self._engine_ready = engine, engine_ready
        self._tally = DownloadProgress()
        """Over all tries until everything is here."""
        self._layers: dict[str, tuple[int, int] | None] = {}
        """Layers on the GPU, and of how many, by model key, as the log told."""

    async def run(self, ready: Readiness) -> None:
        """Fetch, adopt and warm, then rest until the engine falls."""
        self._context.store.stage("pull", Phase.STARTING, "reading manifests")
        plans = await plan_models(self._context, held=self._held())
        # What was served may have been deleted meanwhile.
        self._serve_adopted(plans)
        await count_downloaded(self._tally, plans, self._context)
        self._show_progress()
        await first_completed(
            self._fetch_all(plans), self._serve_while_up(plans, ready)
        )

    def _held(self) -> AvailableMemory:
        """Return what our own engine has in memory."""
        models = self._context.store.snapshot().models
        if not self._engine_ready.is_up:
            return AvailableMemory()
        return AvailableMemory(
            vram_free=sum(model.gpu_bytes for model in models),
            ram_free=sum(model.memory_bytes - model.gpu_bytes for model in models),
        )

    async def _fetch_all(self, plans: Sequence[ModelPlan]) -> None:
        """Bring the blobs of one model after the other, the first one first."""
        context, board = self._context, self._context.store
        for plan in plans:
            if plan.is_installed:
                continue
            expected = f", {plan.fit.verdict.value}" if plan.fit else ""
            what = f"fetching {plan.name.short}{expected}"
            board.stage("pull", Phase.STARTING, what)
            board.model(plan.text, phase=Phase.STARTING, size_bytes=plan.size_bytes)
            has_all = await fetch_blobs(
                plan.manifest,
                context.models_folder,
                timeouts=context.timeouts,
                on_progress=self._report_progress,
            )
            plan.arrived.set()
            if not has_all:
                # The engine pulls it, and two pulls may want the same digest.
                await plan.adopted.wait()
        if not self._engine_ready.is_up:
            is_here = all(plan.is_installed for plan in plans)
            how = "already on disk" if is_here else "fetched"
            board.stage("pull", Phase.STARTING, f"{how}, waiting for Ollama")
        await asyncio.Event().wait()

    def _report_progress(self, digest: str, done: int, size: int | None = None) -> None:
        if size is not None:
            self._tally.expect(digest, size)
        self._tally.record(digest, done)
        self._show_progress()

    def _show_progress(self) -> None:
        done, total = self._tally.done_bytes, self._tally.total_bytes
        if total:
            self._context.store.progress("pull", done, total)

    async def _serve_while_up(
        self, plans: Sequence[ModelPlan], ready: Readiness
    ) -> None:
        """Serve what has arrived; a fall of the engine does not stop the fetching."""
        while not ready.was_ready:
            await self._engine_ready.wait_ready()
            await first_completed(
                self._serve_all(plans, ready), self._engine_ready.wait_unready()
            )

    async def _serve_all(self, plans: Sequence[ModelPlan], ready: Readiness) -> None:
        """Adopt and warm; the first model is usable before the others are there."""
        board = self._context.store
        for plan in plans:
            if plan.adopted.is_set():
                await self._offer(plan, plans)
        for index, plan in enumerate(plans):
            await plan.arrived.wait()
            if not plan.adopted.is_set():
                await self._adopt(plan)
                await self._offer(plan, plans)
            if index == 0:
                board.stage("warm", Phase.STARTING, f"loading {plan.name.short}")
                await self._warm(plan)
        self._say_pulled(plans)
        ready.set_ready()
        while await self._are_on_disk(plans):
            await asyncio.sleep(self._context.timeouts.engine_check_every_s)
            # Whether the engine is well is for its own component to judge.
            with contextlib.suppress(EngineFailed):
                await self._warn_of_memory(plans)

    async def _adopt(self, plan: ModelPlan) -> None:
        api = self._engine.api
        await pull_model(
            api,
            plan.source,
            insecure=plan.source.is_insecure,
            timeouts=self._context.timeouts,
            on_progress=self._report_progress,
        )
        if plan.source != plan.name:
            await api.rename_model(plan.source, plan.name)
        # The engine tells of bytes now and then only, and not of the last ones.
        for layer in (await self._on_disk(plan)).layers:
            self._report_progress(layer.sha256, layer.size_bytes, layer.size_bytes)
        plan.adopted.set()

    async def _on_disk(self, plan: ModelPlan) -> Manifest:
        folder = self._context.models_folder
        found = await asyncio.to_thread(installed_manifest, plan.name, folder)
        return found or plan.manifest

    async def _are_on_disk(self, plans: Sequence[ModelPlan]) -> bool:
        folder = self._context.models_folder
        for plan in plans:
            if not await asyncio.to_thread(installed_manifest, plan.name, folder):
                self._context.log(f"models: {plan.name.short} has been deleted")
                return False
        return True

    async def _offer(self, plan: ModelPlan, plans: Sequence[ModelPlan]) -> None:
        """Let clients use a model, beside those that they may use already."""
        size_bytes = plan.size_bytes or (await self._on_disk(plan)).size_bytes
        self._context.store.model(plan.text, phase=Phase.READY, size_bytes=size_bytes)
        self._serve_adopted(plans)

    def _serve_adopted(self, plans: Sequence[ModelPlan]) -> None:
        here = tuple(one.text for one in plans if one.adopted.is_set())
        self._gateway.serve(here)

    def _say_pulled(self, plans: Sequence[ModelPlan]) -> None:
        here = ", ".join(plan.name.short for plan in plans)
        total = self._tally.total_bytes
        how = f"{format_bytes(total)} fetched"
        if all(plan.is_installed for plan in plans):
            total = sum(plan.size_bytes for plan in plans)
            how = f"{format_bytes(total)}, already on disk"
        self._context.store.stage("pull", Phase.READY, f"{here}: {how}")
        self._tally = DownloadProgress()

    async def _warm(self, plan: ModelPlan) -> None:
        """Load a model, and tell where it went; what is not as it should be, loudly."""
        board, server = self._context.store, self._engine.server
        logged = server.log.size() if server else 0
        loaded = await self._engine.api.load_model(plan.name)
        load_log = server.log.since(logged) if server else ""
        self._layers[plan.name.key] = offloaded_layers(load_log)
        gpu_bytes = self._on_gpu(plan, loaded)
        board.model(plan.text, memory_bytes=loaded.memory_bytes, gpu_bytes=gpu_bytes)
        share = gpu_bytes / loaded.memory_bytes if loaded.memory_bytes else 0.0
        where = f"{share:.0%} on the GPU" if gpu_bytes else "on the CPU"
        size = format_bytes(loaded.memory_bytes)
        board.stage("warm", Phase.READY, f"{plan.name.short}: {size}, {where}")
        if self._engine_has_gpu():
            self._warn(partial_offload_warning(plan.name.short, loaded, gpu_bytes))
        elif server:
            gpus = await asyncio.to_thread(list_gpus)
            told = board.snapshot().warnings
            log, environ = server.log.head(), self._environ()
            self._warn(no_gpu_warning(gpus, log, environ, told))

    async def _warn_of_memory(self, plans: Sequence[ModelPlan]) -> None:
        """Keep in step with models that requests load and the engine unloads."""
        board, loaded = self._context.store, await self._engine.api.list_loaded()
        for plan in plans:
            now = loaded.get(plan.name.key)
            board.model(
                plan.text,
                memory_bytes=now.memory_bytes if now else 0,
                gpu_bytes=self._on_gpu(plan, now) if now else 0,
            )

    def _on_gpu(self, plan: ModelPlan, loaded: LoadedModel) -> int:
        return confirmed_gpu_bytes(
            loaded,
            engine_has_gpu=self._engine_has_gpu(),
            layers=self._layers.get(plan.name.key),
        )

    def _engine_has_gpu(self) -> bool:
        # By the engine's log, which its own component has read.
        return self._context.store.snapshot().compute != "CPU"

    def _environ(self) -> dict[str, str]:
        """Return what of the environment decides which devices the engine sees."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("OLLAMA_")}
        return kept | dict(self._context.settings.engine_env)

    def _warn(self, warning: str) -> None:
        """Tell this one warning, in place of an earlier one; empty for none."""
        self._context.store.warn("models", *([warning] if warning else []))
