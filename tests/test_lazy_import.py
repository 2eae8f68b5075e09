"""Tests of modules that are executed when they are first used."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from .lazy_import import import_lazily

SOURCE = """
import time
with open(__file__ + ".runs", "a") as runs:
    runs.write("run ")
time.sleep(0.05)
from . import part
ANSWER = part.ANSWER
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a package ``slow_to_import`` and import it lazily; return its file."""
    folder = tmp_path / "slow_to_import"
    folder.mkdir()
    (folder / "__init__.py").write_text(SOURCE)
    (folder / "part.py").write_text("ANSWER = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_lazily("slow_to_import")
    for name in ("slow_to_import", "slow_to_import.part"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import_lazily("slow_to_import", "not_installed_anywhere")
    return folder / "__init__.py"


def test_an_import_alone_executes_nothing(package: Path) -> None:
    """The first attribute executes the module; a missing one stays missing."""
    runs = package.with_name("__init__.py.runs")
    module = sys.modules["slow_to_import"]
    assert not runs.exists(), "the import executed the module"
    assert module.ANSWER == 42
    assert runs.exists()
    assert "not_installed_anywhere" not in sys.modules


def test_threads_that_use_it_first_execute_it_once(package: Path) -> None:
    """All of them wait for the one that executes it."""
    module, answers = sys.modules["slow_to_import"], []
    threads = [
        threading.Thread(target=lambda: answers.append(module.ANSWER)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [42] * 4
    assert package.with_name("__init__.py.runs").read_text() == "run "
