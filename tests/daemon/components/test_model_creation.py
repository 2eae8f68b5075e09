"""Making models on a host: in order, one at a time, and never beside a fetch."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.components import model_creation
from spicy_avocado_magic.daemon.components.engine import EngineComponent
from spicy_avocado_magic.daemon.components.model_creation import ModelBuilder
from spicy_avocado_magic.daemon.context import DaemonContext
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.engine.ollama_api import OllamaApi
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.protocol.state import Phase, State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.processes import Identity
from tests.machine_speed import scaled

WAIT_S = scaled(20.0)


class Children:
    """Notes which groups are on record; a program goes on once it is."""

    def __init__(self, known: Path) -> None:
        self._known = known
        self.log: list[str] = []
        self.has_some = asyncio.Event()

    def add(self, name: str, _identity: Identity) -> None:
        """Note one more."""
        self.log.append(f"+{name}")
        self.has_some.set()
        self._known.touch()

    def remove(self, name: str) -> None:
        """Note one less."""
        self._known.unlink(missing_ok=True)
        self.log.append(f"-{name}")


class Host:
    """Stands in for a host, with a program in place of ``ollama``."""

    def __init__(self, path: Path, script: str = "exit 0") -> None:
        program = path / "ollama"
        known = path / "known"
        wait = f"while [ ! -e {known} ]; do sleep 0.02; done"
        program.write_text(f"#!/bin/sh\n{wait}\n{script}\n")
        program.chmod(0o755)
        self.told: list[str] = []
        self.children, self.log = Children(known), list[str]()
        self.board = StateStore(State())
        self.engine: Any = SimpleNamespace(
            base_url="http://127.0.0.1:11434", executable=program
        )
        self.folder = StateFolder(path / "state")
        self.folder.path.mkdir()
        context: Any = SimpleNamespace(
            settings=Settings(
                sources=Endpoints(rehearsal=True, registry="127.0.0.1:9")
            ),
            folder=self.folder,
            models_folder=path / "models",
            timeouts=Timeouts(),
            store=self.board,
            children=self.children,
            log=self.log.append,
        )
        self.creating = ModelBuilder(
            cast("DaemonContext", context), cast("EngineComponent", self.engine)
        )

    async def create(
        self, text: str = "SYSTEM hi\n", folder: Path = Path("/"), name: str = "mine"
    ) -> tuple[str, ...]:
        """Make a model."""
        making = self.creating.create(name, text, folder, self.told.append)
        return await asyncio.wait_for(making, WAIT_S)

    def ready(self) -> None:
        """Say that the models are."""
        for stage in ("pull", "warm"):
            self.board.stage(stage, Phase.READY, "there")


async def test_the_program_gets_our_engine_and_leaves_no_file(tmp_path: Path) -> None:
    """Its environment leads to our engine and folder; the Modelfile is private."""
    seen = tmp_path / "seen"
    script = (
        f'echo "$OLLAMA_HOST $OLLAMA_MODELS" > {seen}\n'
        f'ls -l "$4" >> {seen}\ncat "$4" >> {seen}'
    )
    host = Host(tmp_path, script)
    (tmp_path / "x.gguf").touch()
    await host.create("FROM x.gguf\n", tmp_path)
    first, listed, content = seen.read_text().splitlines()
    assert first == f"127.0.0.1:11434 {tmp_path / 'models'}"
    assert listed.startswith("-rw-------"), "others can read the Modelfile"
    assert content == f"FROM {tmp_path}/x.gguf"
    assert host.children.log == ["+create", "-create"], "the guard knows nothing of it"
    assert list(host.folder.path.iterdir()) == []
    assert host.told[0] == "Ollama creates mine"
    assert "created mine" in " ".join(host.log)


async def test_a_failure_leaves_no_file_either(tmp_path: Path) -> None:
    """And the next one can be made."""
    host = Host(tmp_path, "echo 'Error: no FROM line' >&2; exit 1")
    for _ in range(2):
        with pytest.raises(UsageError, match="no FROM line"):
            await host.create()
    assert list(host.folder.path.iterdir()) == []
    assert host.children.log == ["+create", "-create"] * 2


async def test_one_is_made_at_a_time(tmp_path: Path) -> None:
    """The second is refused and the first continues."""
    go_on = tmp_path / "go"
    os.mkfifo(go_on)
    host = Host(tmp_path, f"cat {go_on}")
    first = asyncio.create_task(host.create())
    await asyncio.wait_for(host.children.has_some.wait(), WAIT_S)
    with pytest.raises(UsageError, match="being created"):
        await host.create()
    go_on.write_text("")
    await first


async def test_without_an_engine_it_is_too_early(tmp_path: Path) -> None:
    """Also where one must be pulled first."""
    host = Host(tmp_path)
    host.engine.base_url = ""
    for text in ("SYSTEM hi\n", "FROM tiny\n"):
        with pytest.raises(UsageError, match="not running yet"):
            await host.create(text)


@pytest.fixture
def pulls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models that the engine is asked to pull and to copy."""
    asked: list[str] = []

    async def adopt(
        _api: OllamaApi,
        source: ModelName,
        *,
        insecure: bool,
        timeouts: Timeouts,
        on_progress: Callable[[str, int, int], None],
    ) -> None:
        on_progress("ab", 1_000_000, 2_000_000)
        asked.append(f"pull {source.short} {insecure}")

    async def copy(_api: OllamaApi, source: ModelName, to: ModelName, **_: Any) -> None:
        asked.append(f"copy {source.short} {to.short}")

    monkeypatch.setattr(model_creation, "pull_model", adopt)
    monkeypatch.setattr(OllamaApi, "rename_model", copy)
    return asked


async def test_a_missing_base_model_is_pulled_and_reported(
    tmp_path: Path, pulls: list[str]
) -> None:
    """From where this host has its models: a rehearsal reaches for no real registry."""
    host = Host(tmp_path)
    host.ready()
    assert await host.create("FROM llama3\n") == ("llama3:latest",)
    source = "127.0.0.1:9/library/llama3:latest"
    assert pulls == [f"pull {source} True", f"copy {source} llama3:latest"]
    assert "Ollama pulls llama3:latest: 1.0 MB of 2.0 MB" in host.told


async def test_a_base_that_is_here_is_not_pulled(
    tmp_path: Path, pulls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be one that no registry has."""
    monkeypatch.setattr(model_creation, "installed_manifest", lambda *_: object())
    host = Host(tmp_path)
    assert await host.create("FROM llama3\n") == ()
    assert pulls == []


async def test_nothing_is_pulled_beside_models_on_their_way(
    tmp_path: Path, pulls: list[str]
) -> None:
    """Two pulls of one digest at once break each other."""
    host = Host(tmp_path)
    with pytest.raises(UsageError, match="being pulled"):
        await host.create("FROM llama3\n")
    assert pulls == []


async def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    """Before a program sees it."""
    host = Host(tmp_path)
    for name in ("-f", "a b", ""):
        with pytest.raises(UsageError, match="model name"):
            await host.create(name=name)
    assert host.children.log == []
