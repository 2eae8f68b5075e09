"""Restart and interrupt by JupyterLab's buttons, and the end of the service."""

from __future__ import annotations

import re
from typing import Final

from .chromium import Tab
from .conftest import Switch
from .lab import Lab
from .notebook_page import open_cells

CELLS: Final = (
    "%load_ext spicy_avocado_magic",
    "%avocado_up tiny",
    "%avocado_status",
    "%avocado_down",
)
LOAD, UP, STATUS, DOWN = CELLS


def test_the_service_outlives_a_restart_and_ends_with_down(lab: Lab, tab: Tab) -> None:
    """The same URL before and after the restart button; then `down`."""
    notebook = open_cells(tab, lab, *CELLS)
    notebook.run(LOAD)
    (url,) = set(re.findall(r"URL\s+(http://127\.0\.0\.1:\d+)", notebook.run(UP)))
    notebook.restart()
    assert "A service is already running" in notebook.run(LOAD)
    output = notebook.run(STATUS)
    assert url in output, f"status does not show {url}: {output}"
    assert "Nothing is left" in notebook.run(DOWN)
    assert "Nothing is running" in notebook.run(STATUS)


def test_the_stop_button_undoes_what_up_began(
    switch: Switch, lab: Lab, tab: Tab
) -> None:
    """There are two lines instead of a traceback, and nothing is running."""
    switch(bytes_s=250_000)
    notebook = open_cells(tab, lab, *CELLS)
    notebook.run(LOAD)
    notebook.begin(UP)
    notebook.wait_shown(UP, "pull")
    notebook.interrupt()
    shown = notebook.wait_done(UP)
    assert "the changes of this cell were undone" in shown, shown
    assert "Traceback" not in shown, shown
    assert "Nothing is running" in notebook.run(STATUS)
