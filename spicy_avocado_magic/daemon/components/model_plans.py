"""Plan of each requested model, made before anything is downloaded."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...config.model_name import ModelName
from ...config.validators import OLLAMA_VERSION
from ...engine.blobs import (
    downloaded_bytes,
    read_model_architecture,
    require_disk_space,
)
from ...engine.hardware.memory import list_gpus, read_memory, visible_gpus
from ...engine.hardware.memory_fit import (
    AvailableMemory,
    MemoryEstimate,
    Placement,
    demand_of,
    estimate_placement,
)
from ...engine.hardware.nvidia import select_gpu_libraries
from ...engine.install.release import MIN_VERSION
from ...engine.model_errors import insufficient_memory_error
from ...engine.progress import DownloadProgress
from ...engine.registry import (
    Manifest,
    installed_manifest,
    read_manifest,
    resolve_source,
)
from ..context import DaemonContext


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """A requested model: its names, its layers, and how far it is."""

    text: str
    """As the user typed it."""
    name: ModelName
    source: ModelName
    """The name under which it is pulled."""
    manifest: Manifest
    is_installed: bool
    """Whether the engine had it already."""
    fit: MemoryEstimate | None = None
    """Estimated use of memory; None if its size is unknown."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its blobs are downloaded, as far as we may download them."""
    adopted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the engine lists it."""

    @property
    def size_bytes(self) -> int:
        """Size of all its layers; 0 if unknown."""
        return self.manifest.size_bytes


async def plan_models(
    context: DaemonContext, *, held: AvailableMemory
) -> list[ModelPlan]:
    """Look up every requested model, and check disk and memory for all of them.

    Args:
        context: Settings, folders and the state, which gets the estimates.
        held: Memory that our own engine uses now, and frees if needed.

    Raises:
        ModelUnavailable, NetworkUnreachable, DownloadFailed: If one is not available.
        DiskTooSmall, UsageError: If they do not fit into the models folder.
        MemoryTooSmall: If one to be downloaded can never be loaded.
    """
    # A sleeping driver takes seconds to answer, so both run at once.
    looking_up = (_look_up(context, text) for text in context.settings.models)
    plans, gpus = await asyncio.gather(
        asyncio.gather(*looking_up), asyncio.to_thread(list_gpus)
    )
    cards = [gpu for gpu in gpus if gpu.driver]
    if cards and not select_gpu_libraries(cards, _oldest_engine(context)).folders:
        gpus = ()
    missing = [plan.manifest for plan in plans if not plan.is_installed]
    await asyncio.to_thread(require_disk_space, missing, context.models_folder)
    free = await asyncio.to_thread(read_memory, visible_gpus(gpus, os.environ))
    memory = AvailableMemory(
        vram_total=free.vram_total,
        vram_free=free.vram_free + held.vram_free,
        gpus=free.gpus,
        ram_free=free.ram_free + held.ram_free,
    )
    fits = await asyncio.gather(*(_estimate(context, plan, memory) for plan in plans))
    return [replace(plan, fit=fit) for plan, fit in zip(plans, fits, strict=True)]


def _oldest_engine(context: DaemonContext) -> str:
    """Return the version of the future engine; the oldest if that is unknown."""
    settings = context.settings
    if settings.ollama_version == "latest":
        return OLLAMA_VERSION
    if settings.ollama_version:
        return settings.ollama_version
    has_own = settings.sources.engine_path or shutil.which("ollama")
    return MIN_VERSION if has_own else OLLAMA_VERSION


async def _look_up(context: DaemonContext, text: str) -> ModelPlan:
    name, sources = ModelName.parse(text), context.settings.sources
    source = resolve_source(name, sources.registry, for_all=sources.rehearsal)
    folder = context.models_folder
    present = await asyncio.to_thread(installed_manifest, name, folder)
    manifest = present or await read_manifest(source, timeouts=context.timeouts)
    plan = ModelPlan(
        text=text,
        name=name,
        source=source,
        manifest=manifest,
        is_installed=present is not None,
    )
    if plan.is_installed:
        plan.arrived.set()
        plan.adopted.set()
    return plan


async def _estimate(
    context: DaemonContext, plan: ModelPlan, memory: AvailableMemory
) -> MemoryEstimate | None:
    """Estimate a model's memory and publish it; None if its size is unknown.

    Raises:
        MemoryTooSmall: If it is not installed and can never be loaded.
    """
    weights_bytes = sum(layer.size_bytes for layer in plan.manifest.weights)
    if not weights_bytes:
        return None
    folder, timeouts = context.models_folder, context.timeouts
    shape = await read_model_architecture(plan.manifest, folder, timeouts=timeouts)
    fit = estimate_placement(weights_bytes, shape, memory, demand_of(context.settings))
    context.store.model(plan.text, fit=fit.text)
    if fit.verdict is Placement.CANNOT and not plan.is_installed:
        raise insufficient_memory_error(plan.name, fit)
    return fit


async def count_downloaded(
    progress: DownloadProgress, plans: Sequence[ModelPlan], context: DaemonContext
) -> None:
    """Count the blobs of these models, and of no others.

    What earlier runs downloaded counts before the first byte arrives, so that it does
    not look like a fast network.
    """
    manifests = [plan.manifest for plan in plans]
    if all(manifest.layers for manifest in manifests):
        progress.keep_only({layer.sha256 for m in manifests for layer in m.layers})
    for plan in plans:
        for layer in () if plan.is_installed else plan.manifest.layers:
            here = await asyncio.to_thread(
                downloaded_bytes, layer, context.models_folder
            )
            progress.expect(layer.sha256, layer.size_bytes)
            progress.record(layer.sha256, here)
