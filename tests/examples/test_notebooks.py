"""Every example notebook runs in rehearsal as a user gets it, cell by cell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.kernels.cells import new_kernel_home
from tests.machine_speed import scaled
from tests.main_job.home import PACKAGE_PARENT, Home

FOLDER: Final = PACKAGE_PARENT / "examples"
NOTEBOOKS: Final = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
PROMISED: Final = {
    "acceptance": ("all three were refused", "outlived", "The report is in", "taken"),
    "clients": ("chat.completion", "Name three things"),
    "kaggle": ("on the GPU", "Hello"),
    "own-model": ("How do I tell when", "pirate:latest"),
    "quickstart": ("Hello", "http://127.0.0.1:"),
    "sharing": (
        "New key for ann. It is shown only this once:",
        "bob:  401",
        "cleo: 200",
        "member",
    ),
}
"""What a notebook shows that it was written to show."""

NEEDS: Final = {"clients": ("openai", "ollama", "anthropic")}
RESTART: Final = "restart-before"
"""The mark of a cell before which the reader restarts the kernel by hand."""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give the notebook a home where everything is a rehearsal."""
    with new_kernel_home(monkeypatch) as made:
        monkeypatch.setenv("AVOCADO_REHEARSE", "1")
        # What is installed is this checkout: pip finds it, and asks nobody.
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        yield made


def read(name: str) -> Any:
    """Return a notebook, read as a notebook program reads it."""
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


@pytest.mark.timeout(scaled(300))
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_in_rehearsal(name: str, home: Home) -> None:
    """No cell fails, it shows what it promises, and nothing is left running."""
    nbclient = pytest.importorskip("nbclient")
    for needed in NEEDS.get(name, ()):
        pytest.importorskip(needed)
    notebook = read(name)
    where = {"metadata": {"path": str(home.path)}}
    client = nbclient.NotebookClient(notebook, timeout=int(scaled(60)), resources=where)
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            if RESTART in cell.metadata.get("tags", ()):
                client.kc.stop_channels()
                nbclient.util.run_sync(client.km.restart_kernel)()
                nbclient.util.run_sync(client.async_start_new_kernel_client)()
            client.execute_cell(cell, index)
    shown = "".join(texts_of(notebook))
    for words in ("REHEARSAL", "Nothing is left", *PROMISED[name]):
        assert words in shown, f"{words!r} is not in: {shown}"


def texts_of(notebook: Any) -> Iterator[str]:
    """Yield what the cells of a notebook that was run have printed and displayed."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            yield str(output.get("text", ""))
            yield str(output.get("data", {}).get("text/plain", ""))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_saved_as_it_is_to_be_opened(name: str) -> None:
    """Valid, without outputs, and with ids that stay when it is saved again."""
    nbformat = pytest.importorskip("nbformat")
    notebook = read(name)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids), f"an id is there twice: {ids}"
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cell.id), f"{cell.id} is not a name"
        if cell.cell_type == "code":
            assert not cell.outputs, f"{cell.id} was saved with what it had shown"
            assert cell.execution_count is None, f"{cell.id} was saved after a run"
    assert notebook.metadata.kernelspec.name == "python3"


def test_a_reader_finds_every_notebook_that_was_promised() -> None:
    """What each shows is written down here, so that none runs unlooked at."""
    assert set(PROMISED) == set(NOTEBOOKS)
    assert all(Path(FOLDER, f"{name}.ipynb").is_file() for name in NEEDS)
