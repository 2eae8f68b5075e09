"""The quickstart notebook in JupyterLab: its cells, its card, and the pictures."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from tests.main_job.home import PACKAGE_PARENT

from .chromium import WIDTH, Tab
from .conftest import Switch
from .lab import Lab
from .notebook_page import NotebookPage

UP: Final = "%avocado_up"
PICTURES: Final = PACKAGE_PARENT / "examples" / "pictures"
KEEP: Final = "AVOCADO_KEEP_PICTURES"
"""If this is 1, the pictures of the README are taken again."""
NARROW: Final = 400
LARGEST_PICTURE_BYTES: Final = 150_000


def test_all_cells_run_and_the_card_ends_without_a_bar(
    switch: Switch, lab: Lab, tab: Tab, tmp_path: Path
) -> None:
    """A student opens the first notebook and chooses Run All Cells."""
    switch(bytes_s=250_000)  # the archive has 1.4 MB, the model 300 kB
    notebook = NotebookPage(tab, lab, "quickstart.ipynb")
    notebook.watch(UP)
    notebook.run_all()
    bar = notebook.bars(UP).first
    bar.wait_for()
    first = int(bar.get_attribute("aria-valuenow"))
    _keep(notebook, "card-working", tmp_path)
    shown = notebook.wait_done(UP)
    for words in ("REHEARSAL", "http://127.0.0.1:", "avocado-", "llama3"):
        assert words in shown, f"the card does not show {words!r}: {shown}"
    assert notebook.bars(UP).count() == 0, "a bar is left when done"
    assert 0 <= first < 100, f"the bar was not watched while it moved: {first}"
    (align,) = notebook.style_of(UP, ".avocado-facts td", "textAlign")
    assert align == "left", "JupyterLab aligns the facts as it does numbers"
    even = ".avocado-facts tr:nth-child(even)"
    (ground,) = notebook.style_of(UP, even, "backgroundColor")
    assert ground == "rgba(0, 0, 0, 0)", f"JupyterLab stripes the facts: {ground}"
    _keep(notebook, "card-ready", tmp_path)
    require_readable_code(notebook)
    seen = notebook.seen(UP)
    moves = [text for text in seen if re.search(r"\d [kM]?B of \d", text)]
    assert len(set(moves)) > 2, f"the pull did not move: {seen}"
    assert "" not in seen[1:], "the card was gone for a moment: it flickers"
    assert "Hello" in notebook.wait_done("%%avocado_ask"), "no answer is shown"
    answer = notebook.wait_done("requests.post")
    assert "Hello" in answer, f"the model's answer is not shown: {answer}"
    assert "tunnel" in notebook.wait_done("%avocado_status")
    assert "Nothing is left" in notebook.wait_done("%avocado_down")
    assert not tab.asked_elsewhere, f"the page has asked for {tab.asked_elsewhere}"


def require_readable_code(notebook: NotebookPage) -> None:
    """Check that folds are side by side, code has a background, nothing overflows."""
    tops = notebook.tops_of(UP, "[data-fold=snippet]")
    assert len(set(tops)) < len(tops), "ten folds below each other make a long card"
    notebook.unfold(UP)
    padding, ground = notebook.style_of(
        UP, ".avocado-code", "paddingLeft", "backgroundColor"
    )
    assert padding != "0px", "JupyterLab sets the code as plain output"
    assert ground != "rgba(0, 0, 0, 0)", "nothing sets the code off"
    for width in (WIDTH, NARROW):
        notebook.resize(width)
        assert notebook.too_wide(UP) == [], f"too wide for {width} pixels"
    notebook.resize(WIDTH)


def _keep(notebook: NotebookPage, name: str, folder: Path) -> None:
    """Take pictures of the card in both themes, small enough for a web page."""
    kept = PICTURES if os.environ.get(KEEP) == "1" else folder
    kept.mkdir(exist_ok=True)
    for scheme in ("dark", "light"):
        taken = notebook.picture(UP, is_dark=scheme == "dark")
        assert len(taken) <= LARGEST_PICTURE_BYTES, f"{name} has {len(taken)} bytes"
        (kept / f"{name}-{scheme}.png").write_bytes(taken)
