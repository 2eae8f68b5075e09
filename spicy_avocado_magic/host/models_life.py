"""The models as a component: fetched side by side with the engine, then warmed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial

from ..engine import models as engine_models
from ..engine.registry import (
    Manifest,
    fetch_blobs,
    installed_manifest,
    read_manifest,
    source_of,
)
from ..errors import EngineFailed
from ..model_name import ModelName
from ..state import Phase
from ..text import bytes_text
from .context import Context
from .engine_life import EngineLife
from .gateway_life import GatewayLife
from .keeper import Readiness, race


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A wanted model: as the user typed it, its full name, and where it is pulled."""

    text: str
    name: ModelName
    source: ModelName
    manifest: Manifest
    is_installed: bool

    @property
    def size_bytes(self) -> int:
        return self.manifest.size_bytes


class ModelsLife:
    """Brings every wanted model; blobs need no engine, so they start at once."""

    def __init__(
        self,
        context: Context,
        gateway: GatewayLife,
        engine: EngineLife,
        engine_ready: Readiness,
    ) -> None:
        self._context, self._gateway = context, gateway
        self._engine, self._engine_ready = engine, engine_ready

    async def live(self, ready: Readiness) -> None:
        """Fetch, adopt and warm, then rest until the engine falls."""
        wanted = await self._fetch_all()
        await self._engine_ready.up()
        await race(self._serve_all(wanted, ready), self._engine_ready.down())

    async def _fetch_all(self) -> list[_Wanted]:
        board, settings = self._context.board, self._context.settings
        board.stage("pull", Phase.STARTING, "reading manifests")
        wanted = [await self._look_up(text) for text in settings.models]
        missing = [one for one in wanted if not one.is_installed]
        total = sum(one.size_bytes for one in missing)
        before = 0
        for one in missing:
            board.stage("pull", Phase.STARTING, f"fetching {one.name.short}")
            board.model(one.text, phase=Phase.STARTING, size_bytes=one.size_bytes)
            await fetch_blobs(
                one.manifest,
                self._context.models_folder,
                policy=self._context.policy,
                on_progress=partial(self._tell_progress, before, total),
            )
            before += one.size_bytes
        return wanted

    def _tell_progress(self, before: int, total: int, done: int, _: int) -> None:
        self._context.board.progress("pull", before + done, total)

    async def _look_up(self, text: str) -> _Wanted:
        name = ModelName.parse(text)
        source = source_of(name, self._context.settings.sources.registry)
        folder = self._context.models_folder
        present = await asyncio.to_thread(installed_manifest, name, folder)
        manifest = present or await read_manifest(source, policy=self._context.policy)
        return _Wanted(
            text=text,
            name=name,
            source=source,
            manifest=manifest,
            is_installed=present is not None,
        )

    async def _serve_all(self, wanted: list[_Wanted], ready: Readiness) -> None:
        """Adopt and warm; the first model is usable before the others are there."""
        context = self._context
        board = context.board
        served: tuple[str, ...] = ()
        for index, one in enumerate(wanted):
            if not one.is_installed:
                await self._adopt(one)
            board.model(one.text, phase=Phase.READY, size_bytes=one.size_bytes)
            served = (*served, one.text)
            self._gateway.serve(served)
            if index == 0:
                board.stage("warm", Phase.STARTING, f"loading {one.name.short}")
                await self._warm(one)
        self._say_pulled(wanted)
        ready.rise()
        while True:
            await asyncio.sleep(context.policy.engine_check_every_s)
            # Whether the engine is well is for its own component to judge.
            with contextlib.suppress(EngineFailed):
                await self._tell_memory(wanted)

    async def _tell_memory(self, wanted: list[_Wanted]) -> None:
        """Keep in step with models that requests load and the engine unloads."""
        board, base_url = self._context.board, self._engine.base_url
        loaded = await engine_models.list_loaded(base_url, policy=self._context.policy)
        for one in wanted:
            now = loaded.get(one.name.key)
            board.model(
                one.text,
                memory_bytes=now.memory_bytes if now else 0,
                gpu_bytes=self._on_gpu(now) if now else 0,
            )

    def _on_gpu(self, loaded: engine_models.Loaded) -> int:
        # A foreign runner on a machine without a GPU reports all as VRAM [run].
        is_cpu = self._context.board.snapshot().compute == "CPU"
        return 0 if is_cpu else loaded.gpu_bytes

    def _say_pulled(self, wanted: list[_Wanted]) -> None:
        fetched = [one for one in wanted if not one.is_installed]
        here = ", ".join(one.name.short for one in wanted)
        size = bytes_text(sum(one.size_bytes for one in fetched or wanted))
        how = f"{size} fetched" if fetched else f"{size}, already on disk"
        self._context.board.stage("pull", Phase.READY, f"{here}: {how}")

    async def _adopt(self, one: _Wanted) -> None:
        board, policy = self._context.board, self._context.policy
        base_url = self._engine.base_url
        board.stage("pull", Phase.STARTING, f"registering {one.name.short}")
        await engine_models.adopt(
            base_url,
            one.source,
            insecure=one.source.is_insecure,
            policy=policy,
            on_progress=lambda done, total: (
                None if one.size_bytes else board.progress("pull", done, total)
            ),
        )
        if one.source != one.name:
            await engine_models.copy(base_url, one.source, one.name, policy=policy)

    async def _warm(self, one: _Wanted) -> None:
        board, policy = self._context.board, self._context.policy
        loaded = await engine_models.warm(
            self._engine.base_url, one.name, policy=policy
        )
        gpu_bytes = self._on_gpu(loaded)
        board.model(one.text, memory_bytes=loaded.memory_bytes, gpu_bytes=gpu_bytes)
        share = gpu_bytes / loaded.memory_bytes if loaded.memory_bytes else 0.0
        where = f"{share:.0%} on the GPU" if gpu_bytes else "on the CPU"
        size = bytes_text(loaded.memory_bytes)
        board.stage("warm", Phase.READY, f"{one.name.short}: {size}, {where}")
