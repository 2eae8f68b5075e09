"""What a child says to the host, and what the host keeps on record of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.context import (
    ChildProcesses,
    DaemonContext,
    RedactedLog,
)
from spicy_avocado_magic.daemon.reaper import Reaper
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.protocol.event_log import EventLog
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import DaemonRecord, StateFolder
from spicy_avocado_magic.system.platforms import PLATFORMS
from spicy_avocado_magic.system.processes import identify
from spicy_avocado_magic.system.redaction import Redactor
from spicy_avocado_magic.system.rotating_file import MAX_BYTES


def test_lines_are_stamped_plain_and_without_secrets(tmp_path: Path) -> None:
    """Each of several lines on its own, in UTC."""
    log = RedactedLog(tmp_path / "agent.log", Redactor(["token-of-somebody"]))
    log("one \x1b[31mtoken-of-somebody\ntwo")
    first, second = log.tail(5)
    assert first.endswith("Z one •••")
    assert second.endswith("Z two")


def test_logging_to_a_full_disk_does_not_raise(tmp_path: Path) -> None:
    """The line is lost and the tunnel keeps running."""
    log = RedactedLog(tmp_path / "absent" / "agent.log", Redactor())
    log("lost")
    assert log.tail(5) == []


def test_a_flood_does_not_fill_the_disk(tmp_path: Path) -> None:
    """The last lines are kept, in a file and its backup."""
    log = RedactedLog(tmp_path / "agent.log", Redactor())
    for number in range(150):
        log(f"{number} {'x' * 100_000}")
    used = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert used < 2.2 * MAX_BYTES, f"{used} bytes are on disk"
    assert log.tail(1)[0].split()[1] == "149"


def test_a_record_that_cannot_be_written_is_a_warning_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The children are under guard all the same, and the user knows why."""
    folder, me = StateFolder(tmp_path), identify(os.getpid())
    assert me is not None
    children = ChildProcesses(folder, DaemonRecord(host=me), Reaper(tmp_path, tmp_path))
    warnings: list[tuple[str, ...]] = []
    children.warn = lambda *texts: warnings.append(texts)
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(StateFolder, "write_record", refuse)
        children.add("engine", me)
    assert "No space left" in warnings[-1][0], "a full disk gives no warning"
    assert not children.is_on_record, "it is taken for written"
    children.publish()
    assert warnings[-1] == (), "the warning stays"
    assert children.is_on_record
    record = folder.read_record()
    assert record is not None
    assert [child.name for child in record.children] == ["engine"]


def test_folders_that_were_chosen_stay_until_others_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine was started with it: a home that changes must not part the two."""
    folder, me = StateFolder(tmp_path), identify(os.getpid())
    assert me is not None
    context = DaemonContext(
        settings=Settings(sources=Endpoints()),
        folder=folder,
        timeouts=Timeouts(),
        platform=PLATFORMS[-1],
        store=StateStore(State()),
        children=ChildProcesses(
            folder, DaemonRecord(host=me), Reaper(tmp_path, tmp_path)
        ),
        log=EventLog(tmp_path / "flight.log", Redactor()),
        redact=Redactor(),
        probe_secret=b"",
    )
    for name in ("OLLAMA_MODELS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    engines = set()
    for home in ("before", "after"):
        (tmp_path / home).mkdir()
        monkeypatch.setenv("HOME", str(tmp_path / home))
        chosen = context.models_folder
        assert chosen == tmp_path / "before" / ".ollama" / "models", "it has moved"
        engines.add(context.engines_folder)
    assert len(engines) == 1, "the engine would be fetched again"
    asked = str(tmp_path / "asked")
    context.settings = replace(context.settings, models_dir=asked)
    assert context.models_folder == Path(asked), "the requested folder is ignored"
