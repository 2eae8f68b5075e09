"""Creation of models from Modelfiles on a running daemon, one at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ...config.model_name import ModelName
from ...config.modelfile import base_models, with_absolute_paths
from ...engine.create import CreateCommand, run_ollama_create
from ...engine.ollama_api import OllamaApi
from ...engine.ollama_process import ollama_environ
from ...engine.progress import DownloadProgress
from ...engine.pull import pull_model
from ...engine.registry import installed_manifest, resolve_source
from ...errors import UsageError
from ...formatting import format_bytes
from ...protocol.state import Phase
from ...protocol.state_folder import write_private
from ...system.processes import Identity
from ..context import DaemonContext
from .engine import EngineComponent

_CHILD: Final = "create"
_ShowProgress = Callable[[str], None]


class ModelBuilder:
    """Creates models by ``ollama create``; serving them is a separate change."""

    def __init__(self, context: DaemonContext, engine: EngineComponent) -> None:
        self._context, self._engine = context, engine
        self._lock = asyncio.Lock()

    async def create(
        self, name: str, text: str, folder: Path, show: _ShowProgress
    ) -> tuple[str, ...]:
        """Create a model; cancelling stops the creation.

        Args:
            name: Name of the new model; an existing one is replaced.
            text: The Modelfile.
            folder: Where its relative paths start.
            show: Called with a line of progress.

        Returns:
            The base models that were pulled for it.

        Raises:
            UsageError: If name or Modelfile is not valid, or the engine is not ready.
            AvocadoError: If a base model cannot be pulled.
            EngineFailed: If the engine cannot create it.
        """
        ModelName.parse(name)
        if self._lock.locked():
            raise UsageError(
                "Another model is being created.", "Run this cell again afterwards."
            )
        async with self._lock:
            text = await asyncio.to_thread(with_absolute_paths, text, folder)
            bases = [b for b in base_models(text) if not await self._is_here(b)]
            for base in bases:
                await self._pull(base, show)
            await self._run(name, text, show)
        self._context.log(f"models: created {name}")
        return tuple(base.short for base in bases)

    async def _is_here(self, base: ModelName) -> bool:
        folder = self._context.models_folder
        return bool(await asyncio.to_thread(installed_manifest, base, folder))

    async def _pull(self, base: ModelName, show: _ShowProgress) -> None:
        """Let the engine pull a base model."""
        context = self._context
        api = OllamaApi(self._base_url(), context.timeouts)
        if context.store.snapshot().component("models") is not Phase.READY:
            # Two pulls of one digest at once break each other.
            raise UsageError(
                f"{base.short} is not installed, and other models are being pulled.",
                "Run this cell again once %avocado_status shows that all is ready.",
            )
        sources, progress = context.settings.sources, DownloadProgress()
        source = resolve_source(base, sources.registry, for_all=sources.rehearsal)

        def report_progress(digest: str, done: int, size: int) -> None:
            progress.expect(digest, size)
            progress.record(digest, done)
            done_text, total_text = map(
                format_bytes, (progress.done_bytes, progress.total_bytes)
            )
            show(f"Ollama pulls {base.short}: {done_text} of {total_text}")

        show(f"Ollama pulls {base.short}, which is not installed yet")
        await pull_model(
            api,
            source,
            insecure=source.is_insecure,
            timeouts=context.timeouts,
            on_progress=report_progress,
        )
        if source != base:
            await api.rename_model(source, base)

    async def _run(self, name: str, text: str, show: _ShowProgress) -> None:
        context, executable = self._context, self._engine.executable
        port = int(self._base_url().rpartition(":")[2])
        if executable is None:
            raise _not_ready()
        environ = ollama_environ(
            context.settings,
            port=port,
            models_dir=context.models_folder,
            library_path=(),
            environ=os.environ,
        )
        modelfile = context.folder.path / "Modelfile"
        output = context.folder.path / "create.output"
        show(f"Ollama creates {name}")
        try:
            await asyncio.to_thread(write_private, modelfile, text)
            await run_ollama_create(
                CreateCommand(
                    executable=executable,
                    environ=environ,
                    name=name,
                    text=text,
                    modelfile=modelfile,
                    output=output,
                ),
                on_spawn=self._on_spawn,
                on_line=lambda line: show(f"Ollama creates {name}: {line}"),
            )
        finally:
            context.children.remove(_CHILD)
            for path in (modelfile, output):
                path.unlink(missing_ok=True)

    def _on_spawn(self, identity: Identity) -> None:
        self._context.children.add(_CHILD, identity)

    def _base_url(self) -> str:
        if not self._engine.base_url:
            raise _not_ready()
        return self._engine.base_url


def _not_ready() -> UsageError:
    return UsageError(
        "Ollama is not running yet, so it cannot create a model.",
        "Run this cell again once %avocado_status shows that the engine is ready.",
    )
