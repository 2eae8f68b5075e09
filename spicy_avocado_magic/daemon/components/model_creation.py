"""Models made from Modelfiles on a running host, one at a time."""

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
    """Has our engine make models; what it makes is not served by that alone."""

    def __init__(self, context: DaemonContext, engine: EngineComponent) -> None:
        self._context, self._engine = context, engine
        self._one = asyncio.Lock()

    async def create(
        self, name: str, text: str, folder: Path, tell: _ShowProgress
    ) -> tuple[str, ...]:
        """Make a model; a cancel ends what was begun.

        Args:
            name: Of the model to be; one that is there is replaced.
            text: The Modelfile.
            folder: Where its relative paths lead from.
            tell: Told what is being done, in a line.

        Returns:
            The models that it is made from and that were pulled for it.

        Raises:
            UsageError: If name or Modelfile cannot be right, or it is too early.
            AvocadoError: If the model it is made from cannot be had.
            EngineFailed: If the engine does not make it.
        """
        ModelName.parse(name)
        if self._one.locked():
            raise UsageError(
                "Another model is just being made.", "Run this cell again after it."
            )
        async with self._one:
            text = await asyncio.to_thread(with_absolute_paths, text, folder)
            bases = [b for b in base_models(text) if not await self._is_here(b)]
            for base in bases:
                await self._bring(base, tell)
            await self._run(name, text, tell)
        self._context.log(f"models: {name} was made")
        return tuple(base.short for base in bases)

    async def _is_here(self, base: ModelName) -> bool:
        folder = self._context.models_folder
        return bool(await asyncio.to_thread(installed_manifest, base, folder))

    async def _bring(self, base: ModelName, tell: _ShowProgress) -> None:
        """Let the engine pull what a model is made from."""
        context = self._context
        api = OllamaApi(self._base_url(), context.timeouts)
        if context.store.snapshot().component("models") is not Phase.READY:
            # Two pulls of one digest at once break each other.
            raise UsageError(
                f"{base.short} is not here, and other models are still on their way.",
                "Run this cell again once %avocado_status says that all is ready.",
            )
        sources, tally = context.settings.sources, DownloadProgress()
        source = resolve_source(base, sources.registry, for_all=sources.rehearsal)

        def report_progress(digest: str, done: int, size: int) -> None:
            tally.expect(digest, size)
            tally.record(digest, done)
            done_text, total_text = map(
                format_bytes, (tally.done_bytes, tally.total_bytes)
            )
            tell(f"Ollama pulls {base.short}: {done_text} of {total_text}")

        tell(f"Ollama pulls {base.short}, which is not here yet")
        await pull_model(
            api,
            source,
            insecure=source.is_insecure,
            timeouts=context.timeouts,
            on_progress=report_progress,
        )
        if source != base:
            await api.rename_model(source, base)

    async def _run(self, name: str, text: str, tell: _ShowProgress) -> None:
        context, executable = self._context, self._engine.executable
        port = int(self._base_url().rpartition(":")[2])
        if executable is None:
            raise _too_early()
        environ = ollama_environ(
            context.settings,
            port=port,
            models_dir=context.models_folder,
            library_path=(),
            environ=os.environ,
        )
        modelfile = context.folder.path / "Modelfile"
        output = context.folder.path / "create.output"
        tell(f"Ollama makes {name}")
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
                on_line=lambda line: tell(f"Ollama makes {name}: {line}"),
            )
        finally:
            context.children.remove(_CHILD)
            for path in (modelfile, output):
                path.unlink(missing_ok=True)

    def _on_spawn(self, identity: Identity) -> None:
        self._context.children.add(_CHILD, identity)

    def _base_url(self) -> str:
        if not self._engine.base_url:
            raise _too_early()
        return self._engine.base_url


def _too_early() -> UsageError:
    return UsageError(
        "The engine is not up, so it can make no model.",
        "Run this cell again once %avocado_status says that it serves.",
    )
