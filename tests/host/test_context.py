"""What all lives share keeps working on a disk that takes nothing more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spicy_avocado_magic.host.context import Children, Log
from spicy_avocado_magic.host.guard import Guard
from spicy_avocado_magic.processes import identify
from spicy_avocado_magic.secrets import Redactor
from spicy_avocado_magic.state_folder import Record, StateFolder


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_costs_lines_of_the_log_and_nothing_else() -> None:
    """Whoever logs, such as an engine that is restarted, must not fall over it."""
    Log(Path("/dev/full"), Redactor())("a line")


def test_a_record_that_cannot_be_written_is_told_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The children are under guard all the same, and the user knows why."""
    folder, me = StateFolder(tmp_path), identify(os.getpid())
    assert me is not None
    children = Children(folder, Record(host=me), Guard(tmp_path, tmp_path))
    told: list[tuple[str, ...]] = []
    children.warn = lambda *texts: told.append(texts)
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(StateFolder, "write_record", refuse)
        children.add("engine", me)
    assert "No space left" in told[-1][0], "a full disk is not told"
    assert not children.is_on_record, "it is taken for written"
    children.publish()
    assert told[-1] == (), "it is still told"
    assert children.is_on_record
    record = folder.read_record()
    assert record is not None
    assert [child.name for child in record.children] == ["engine"]
