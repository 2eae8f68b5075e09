"""A file of faults, read at each request."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .agent import main
from .faults import VARIABLE, active_faults


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name a file of faults, which is not there yet."""
    path = tmp_path / "faults.json"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_without_a_file_there_is_no_fault(file: Path) -> None:
    """Nor where it is being written."""
    assert active_faults() == {}
    file.write_text('{"status": 5')
    assert active_faults() == {}, "half a file was taken"


def test_faults_of_another_process_are_not_ours(file: Path) -> None:
    """So a fault can end with the process that has it."""
    file.write_text(json.dumps({"status": 500, "pid": os.getpid() + 1}))
    assert active_faults() == {}, "another's fault was taken"
    file.write_text(json.dumps({"status": 500, "pid": os.getpid()}))
    assert active_faults(), "our own fault was not taken"


def test_the_agent_can_say_that_it_is_old(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an agent of last year would."""
    file.write_text(json.dumps({"agent_version": "3.5.0"}))
    with pytest.raises(SystemExit):
        main(["--version"])
    assert "version 3.5.0" in capsys.readouterr().out
