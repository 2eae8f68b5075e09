"""Models component: downloads models while the engine installs, then loads them."""

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
    """Downloads and loads every requested model; downloads need no engine."""

    def __init__(
        self,
        context: DaemonContext,
        gateway: GatewayComponent,
        engine: EngineComponent,
        engine_ready: Readiness,
    ) -> None:
        self._context, self._gateway = context, gateway
        self._engine, self._engine_ready = engine, engine_ready
        self._progress = DownloadProgress()
        """Progress over all runs until everything is downloaded."""
        self._layers: dict[str, tuple[int, int] | None] = {}
        """Layers on the GPU and in all, by model key, from the engine's log."""

    async def run(self, ready: Readiness) -> None:
        """Download, adopt and load the models, then wait until the engine falls."""
        self._context.store.stage("pull", Phase.STARTING, "reading manifests")
        plans = await plan_models(self._context, held=self._held())
        # A model that was served may have been deleted.
        self._serve_adopted(plans)
        await count_downloaded(self._progress, plans, self._context)
        self._show_progress()
        await first_completed(
            self._fetch_all(plans), self._serve_while_up(plans, ready)
        )

    def _held(self) -> AvailableMemory:
        """Return the memory that our own engine uses."""
        models = self._context.store.snapshot().models
        if not self._engine_ready.is_up:
            return AvailableMemory()
        return AvailableMemory(
            vram_free=sum(model.gpu_bytes for model in models),
            ram_free=sum(model.memory_bytes - model.gpu_bytes for model in models),
        )

    async def _fetch_all(self, plans: Sequence[ModelPlan]) -> None:
        """Download the blobs of one model after the other, in order."""
        context, store = self._context, self._context.store
        for plan in plans:
            if plan.is_installed:
                continue
            expected = f", {plan.fit.verdict.value}" if plan.fit else ""
            detail = f"downloading {plan.name.short}{expected}"
            store.stage("pull", Phase.STARTING, detail)
            store.model(plan.text, phase=Phase.STARTING, size_bytes=plan.size_bytes)
            has_all = await fetch_blobs(
                plan.manifest,
                context.models_folder,
                timeouts=context.timeouts,
                on_progress=self._report_progress,
            )
            plan.arrived.set()
            if not has_all:
                # The engine pulls the rest; two pulls of one digest break each other.
                await plan.adopted.wait()
        if not self._engine_ready.is_up:
            is_here = all(plan.is_installed for plan in plans)
            how = "already on disk" if is_here else "downloaded"
            store.stage("pull", Phase.STARTING, f"{how}, waiting for Ollama")
        await asyncio.Event().wait()

    def _report_progress(self, digest: str, done: int, size: int | None = None) -> None:
        if size is not None:
            self._progress.expect(digest, size)
        self._progress.record(digest, done)
        self._show_progress()

    def _show_progress(self) -> None:
        done, total = self._progress.done_bytes, self._progress.total_bytes
        if total:
            self._context.store.progress("pull", done, total)

    async def _serve_while_up(
        self, plans: Sequence[ModelPlan], ready: Readiness
    ) -> None:
        """Serve models while the engine is up; its fall does not stop the downloads."""
        while not ready.was_ready:
            await self._engine_ready.wait_ready()
            await first_completed(
                self._serve_all(plans, ready), self._engine_ready.wait_unready()
            )

    async def _serve_all(self, plans: Sequence[ModelPlan], ready: Readiness) -> None:
        """Adopt and load models; the first can be used before the others arrive."""
        store = self._context.store
        for plan in plans:
            if plan.adopted.is_set():
                await self._offer(plan, plans)
        for index, plan in enumerate(plans):
            await plan.arrived.wait()
            if not plan.adopted.is_set():
                await self._adopt(plan)
                await self._offer(plan, plans)
            if index == 0:
                store.stage("warm", Phase.STARTING, f"loading {plan.name.short}")
                await self._warm(plan)
        self._report_pulled(plans)
        ready.set_ready()
        while await self._are_on_disk(plans):
            await asyncio.sleep(self._context.timeouts.engine_check_every_s)
            # The engine component reports a broken engine.
            with contextlib.suppress(EngineFailed):
                await self._update_memory(plans)

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
        # The engine reports bytes only now and then, and not the last ones.
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
        """Let clients use a model, in addition to the others."""
        size_bytes = plan.size_bytes or (await self._on_disk(plan)).size_bytes
        self._context.store.model(plan.text, phase=Phase.READY, size_bytes=size_bytes)
        self._serve_adopted(plans)

    def _serve_adopted(self, plans: Sequence[ModelPlan]) -> None:
        adopted = tuple(plan.text for plan in plans if plan.adopted.is_set())
        self._gateway.serve(adopted)

    def _report_pulled(self, plans: Sequence[ModelPlan]) -> None:
        here = ", ".join(plan.name.short for plan in plans)
        total = self._progress.total_bytes
        how = f"{format_bytes(total)} downloaded"
        if all(plan.is_installed for plan in plans):
            total = sum(plan.size_bytes for plan in plans)
            how = f"{format_bytes(total)}, already on disk"
        self._context.store.stage("pull", Phase.READY, f"{here}: {how}")
        self._progress = DownloadProgress()

    async def _warm(self, plan: ModelPlan) -> None:
        """Load a model and report where it is; warn if it is not on the GPU."""
        store, server = self._context.store, self._engine.server
        logged = server.log.size() if server else 0
        loaded = await self._engine.api.load_model(plan.name)
        load_log = server.log.since(logged) if server else ""
        self._layers[plan.name.key] = offloaded_layers(load_log)
        gpu_bytes = self._on_gpu(plan, loaded)
        store.model(plan.text, memory_bytes=loaded.memory_bytes, gpu_bytes=gpu_bytes)
        share = gpu_bytes / loaded.memory_bytes if loaded.memory_bytes else 0.0
        where = f"{share:.0%} on the GPU" if gpu_bytes else "on the CPU"
        size = format_bytes(loaded.memory_bytes)
        store.stage("warm", Phase.READY, f"{plan.name.short}: {size}, {where}")
        if self._engine_has_gpu():
            self._warn(partial_offload_warning(plan.name.short, loaded, gpu_bytes))
        elif server:
            gpus = await asyncio.to_thread(list_gpus)
            warnings = store.snapshot().warnings
            log, environ = server.log.head(), self._environ()
            self._warn(no_gpu_warning(gpus, log, environ, warnings))

    async def _update_memory(self, plans: Sequence[ModelPlan]) -> None:
        """Update the memory of models, which requests load and the engine unloads."""
        store, loaded = self._context.store, await self._engine.api.list_loaded()
        for plan in plans:
            now = loaded.get(plan.name.key)
            store.model(
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
        # The engine component has read it from the engine's log.
        return self._context.store.snapshot().compute != "CPU"

    def _environ(self) -> dict[str, str]:
        """Return the environment that decides which devices the engine sees."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("OLLAMA_")}
        return kept | dict(self._context.settings.engine_env)

    def _warn(self, warning: str) -> None:
        """Replace this component's warning; an empty one removes it."""
        self._context.store.warn("models", *([warning] if warning else []))
