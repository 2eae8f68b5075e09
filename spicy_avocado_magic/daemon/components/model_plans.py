"""What is to be done for each wanted model, found out before a byte is fetched."""

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
    """A wanted model: its names, what it consists of, and how far it is."""

    text: str
    """As the user typed it."""
    name: ModelName
    source: ModelName
    """Where it is pulled from."""
    manifest: Manifest
    is_installed: bool
    """Whether the engine had it before."""
    fit: MemoryEstimate | None = None
    """What is expected of it in memory; None where its size is not known."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its blobs are here, as far as we may bring them."""
    adopted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the engine has it."""

    @property
    def size_bytes(self) -> int:
        """Of all its layers; 0 if not known."""
        return self.manifest.size_bytes


async def plan_models(
    context: DaemonContext, *, held: AvailableMemory
) -> list[ModelPlan]:
    """Look up every wanted model, and whether all of them can be had here.

    Args:
        context: Settings, folders and the board, which is told what is expected.
        held: What our own engine has in memory now; it makes room if it must.

    Raises:
        ModelUnavailable, NetworkUnreachable, DownloadFailed: If one cannot be had.
        DiskTooSmall, UsageError: If they have no room in the models folder.
        MemoryTooSmall: If one to be fetched can never be loaded.
    """
    # A driver that sleeps takes seconds to answer, so it is asked meanwhile.
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
    fits = await asyncio.gather(*(_expect(context, plan, memory) for plan in plans))
    return [replace(plan, fit=fit) for plan, fit in zip(plans, fits, strict=True)]


def _oldest_engine(context: DaemonContext) -> str:
    """Return the version of the engine to be; the oldest where that is not known."""
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


async def _expect(
    context: DaemonContext, plan: ModelPlan, memory: AvailableMemory
) -> MemoryEstimate | None:
    """Judge a model's memory and say so; None where its size is not known.

    Raises:
        MemoryTooSmall: If it is not here yet and can never be loaded.
    """
    weights_bytes = sum(layer.size_bytes for layer in plan.manifest.weights)
    if not weights_bytes:
        return None
    folder, policy = context.models_folder, context.timeouts
    shape = await read_model_architecture(plan.manifest, folder, timeouts=policy)
    fit = estimate_placement(weights_bytes, shape, memory, demand_of(context.settings))
    context.store.model(plan.text, fit=fit.text)
    if fit.verdict is Placement.CANNOT and not plan.is_installed:
        raise insufficient_memory_error(plan.name, fit)
    return fit


async def count_downloaded(
    tally: DownloadProgress, plans: Sequence[ModelPlan], context: DaemonContext
) -> None:
    """Count the blobs of these models, and of no others.

    What earlier tries brought counts as done before the first byte comes, so that
    it is not taken for a fast network.
    """
    manifests = [plan.manifest for plan in plans]
    if all(manifest.layers for manifest in manifests):
        tally.keep_only({layer.sha256 for one in manifests for layer in one.layers})
    for plan in plans:
        for layer in () if plan.is_installed else plan.manifest.layers:
            here = await asyncio.to_thread(
                downloaded_bytes, layer, context.models_folder
            )
            tally.expect(layer.sha256, layer.size_bytes)
            tally.record(layer.sha256, here)
