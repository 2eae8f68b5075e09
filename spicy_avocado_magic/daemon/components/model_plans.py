"""What is to be done for each wanted model, found out before a byte is fetched."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...config.model_name import ModelName
from ...config.validators import OLLAMA_VERSION
from ...engine.blobs import here_bytes, read_model_shape, require_room
from ...engine.hardware.memory import list_gpus, read_memory, visible
from ...engine.hardware.memory_fit import Fit, Memory, Verdict, demand_of, judge
from ...engine.hardware.nvidia import choose_libraries, list_nvidia_cards
from ...engine.install.release import MINIMUM
from ...engine.model_errors import cannot_run
from ...engine.progress import Tally
from ...engine.registry import Manifest, installed_manifest, read_manifest, source_of
from ..context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A wanted model: its names, what it consists of, and how far it is."""

    text: str
    """As the user typed it."""
    name: ModelName
    source: ModelName
    """Where it is pulled from."""
    manifest: Manifest
    is_installed: bool
    """Whether the engine had it before."""
    fit: Fit | None = None
    """What is expected of it in memory; None where its size is not known."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its blobs are here, as far as we may bring them."""
    adopted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the engine has it."""

    @property
    def size_bytes(self) -> int:
        """Of all its layers; 0 if not known."""
        return self.manifest.size_bytes


async def plan_models(context: Context, *, held: Memory) -> list[Plan]:
    """Look up every wanted model, and whether all of them can be had here.

    Args:
        context: Settings, folders and the board, which is told what is expected.
        held: What our own engine has in memory now; it makes room if it must.

    Raises:
        ModelRefused, NetworkUnreachable, DownloadFailed: If one cannot be had.
        DiskTooSmall, UsageMistake: If they have no room in the models folder.
        MemoryTooSmall: If one to be fetched can never be loaded.
    """
    # A driver that sleeps takes seconds to answer, so it is asked meanwhile.
    looking_up = (_look_up(context, text) for text in context.settings.models)
    plans, gpus, cards = await asyncio.gather(
        asyncio.gather(*looking_up),
        asyncio.to_thread(list_gpus),
        asyncio.to_thread(list_nvidia_cards),
    )
    if cards and not choose_libraries(cards, _oldest_engine(context)).folders:
        gpus = ()
    missing = [plan.manifest for plan in plans if not plan.is_installed]
    await asyncio.to_thread(require_room, missing, context.models_folder)
    free = await asyncio.to_thread(read_memory, visible(gpus, os.environ))
    memory = Memory(
        vram_total=free.vram_total,
        vram_free=free.vram_free + held.vram_free,
        gpus=free.gpus,
        ram_free=free.ram_free + held.ram_free,
    )
    fits = await asyncio.gather(*(_expect(context, plan, memory) for plan in plans))
    return [replace(plan, fit=fit) for plan, fit in zip(plans, fits, strict=True)]


def _oldest_engine(context: Context) -> str:
    """Return the version of the engine to be; the oldest where that is not known."""
    settings = context.settings
    if settings.ollama_version == "latest":
        return OLLAMA_VERSION
    if settings.ollama_version:
        return settings.ollama_version
    has_own = settings.sources.engine_path or shutil.which("ollama")
    return MINIMUM if has_own else OLLAMA_VERSION


async def _look_up(context: Context, text: str) -> Plan:
    name, sources = ModelName.parse(text), context.settings.sources
    source = source_of(name, sources.registry, for_all=sources.rehearsal)
    folder = context.models_folder
    present = await asyncio.to_thread(installed_manifest, name, folder)
    manifest = present or await read_manifest(source, policy=context.policy)
    plan = Plan(
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


async def _expect(context: Context, plan: Plan, memory: Memory) -> Fit | None:
    """Judge a model's memory and say so; None where its size is not known.

    Raises:
        MemoryTooSmall: If it is not here yet and can never be loaded.
    """
    weights_bytes = sum(layer.size_bytes for layer in plan.manifest.weights)
    if not weights_bytes:
        return None
    folder, policy = context.models_folder, context.policy
    shape = await read_model_shape(plan.manifest, folder, policy=policy)
    fit = judge(weights_bytes, shape, memory, demand_of(context.settings))
    context.board.model(plan.text, fit=fit.text)
    if fit.verdict is Verdict.CANNOT and not plan.is_installed:
        raise cannot_run(plan.name, fit)
    return fit


async def count_here(tally: Tally, plans: Sequence[Plan], context: Context) -> None:
    """Count the blobs of these models, and of no others.

    What earlier tries brought counts as done before the first byte comes, so that
    it is not taken for a fast network.
    """
    manifests = [plan.manifest for plan in plans]
    if all(manifest.layers for manifest in manifests):
        tally.keep_only({layer.sha256 for one in manifests for layer in one.layers})
    for plan in plans:
        for layer in () if plan.is_installed else plan.manifest.layers:
            here = await asyncio.to_thread(here_bytes, layer, context.models_folder)
            tally.expect(layer.sha256, layer.size_bytes)
            tally.note(layer.sha256, here)
