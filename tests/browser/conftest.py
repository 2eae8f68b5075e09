"""Fixtures of the browser tests: a JupyterLab for each module, a tab for each test."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spicy_avocado_magic import down
from tests.fault_injection.faults import VARIABLE
from tests.faults.preloading import preloaded
from tests.faults.service import write_stand_in
from tests.kernels.cells import new_kernel_home
from tests.main_job.home import PACKAGE_PARENT

from .chromium import Tab, find_chromium, new_tab
from .lab import Lab, running_lab

Switch = Callable[..., None]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Start JupyterLab in rehearsal mode, with the example notebooks."""
    find_chromium()  # skips before anything is started
    with pytest.MonkeyPatch.context() as patch, new_kernel_home(patch) as home:
        patch.setenv("AVOCADO_REHEARSE", "1")
        # What is installed is this checkout: pip finds it, and asks nobody.
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        faults = {VARIABLE: str(home.path / "faults.json")}
        for name, value in preloaded(**faults).items():
            joined = (value, str(PACKAGE_PARENT)) if name == "PYTHONPATH" else (value,)
            patch.setenv(name, os.pathsep.join(joined))
        for name in ("bin", "notebooks"):
            (home.path / name).mkdir()
        path = os.pathsep.join((str(home.path / "bin"), os.environ["PATH"]))
        patch.setenv("PATH", path)
        folder = home.path / "notebooks"
        for notebook in (PACKAGE_PARENT / "examples").glob("*.ipynb"):
            shutil.copy(notebook, folder)
        with running_lab(folder) as running:
            yield running


@pytest.fixture
def tab(lab: Lab) -> Iterator[Tab]:
    """Open a browser tab; stop the service at the end."""
    with new_tab(find_chromium(), lab) as opened:
        yield opened
    down()


@pytest.fixture
def switch(lab: Lab) -> Iterator[Switch]:
    """Switch faults of the rehearsal on by name; all are off at the end."""
    path = Path(os.environ[VARIABLE])

    def on(**faults: object) -> None:
        path.write_text(json.dumps(faults))

    yield on
    path.unlink(missing_ok=True)


@pytest.fixture
def stand_in(lab: Lab) -> Iterator[None]:
    """Put an ``ollama`` on PATH that can be made to fail."""
    program = write_stand_in(lab.folder.parent, {})
    yield
    program.unlink()
