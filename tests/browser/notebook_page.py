"""A notebook in JupyterLab as a person uses it: by menu, buttons and keys."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from .chromium import HEIGHT, Tab
from .lab import Lab

CELL_MS: Final = 60_000
DONE: Final = re.compile(r"\[\d+\]:")
WATCH: Final = """
node => {
  const seen = [];
  const look = () => {
    const output = node.querySelector('.jp-OutputArea-output');
    const text = output ? output.innerText : '';
    if (text !== (seen.at(-1) ?? '')) seen.push(text);
  };
  new MutationObserver(look).observe(
    node, {childList: true, subtree: true, characterData: true});
  node.seen = seen;
}
"""
"""Notes every text that an output has had, an empty one in between included."""
TOO_WIDE: Final = """
cards => cards.flatMap(card => [card, ...card.querySelectorAll('*')]
  .filter(node => getComputedStyle(node).display !== 'inline'
    && node.scrollWidth > node.clientWidth + 1)
  .map(node => node.className || node.tagName))
"""


class NotebookPage:
    """One open notebook.

    Args:
        tab: Where it is opened.
        lab: The server that has it.
        name: Its file, in the server's folder.
    """

    def __init__(self, tab: Tab, lab: Lab, name: str) -> None:
        self._page = tab.page
        self._page.set_default_timeout(CELL_MS)
        self._page.goto(lab.address_of(name))
        self.wait_idle()

    def wait_idle(self) -> None:
        """Wait until the kernel is there and does nothing."""
        self._page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()

    def cell(self, source: str) -> Any:
        """Return the code cell that has this text; of more lines the first counts."""
        line = source.splitlines()[0]
        source_text = self._page.locator(".jp-InputArea-editor", has_text=line)
        return self._page.locator(".jp-CodeCell", has=source_text)

    def outputs(self, source: str) -> str:
        """Return all that a cell shows below its source, as a person reads it."""
        shown: list[str] = self._output(source).all_inner_texts()
        return "\n".join(shown)

    def _output(self, source: str) -> Any:
        return self.cell(source).locator(".jp-OutputArea-output")

    def unfold(self, source: str) -> str:
        """Open every fold that a cell shows, and return all that is to be read."""
        for fold in self._output(source).locator("summary").all():
            fold.click()
        return self.outputs(source)

    def run_all(self) -> None:
        """Choose *Run → Run All Cells*."""
        self._choose("Run", "Run All Cells")

    def begin(self, source: str) -> None:
        """Run a cell by its key, without waiting for its end."""
        cell = self.cell(source)
        # Distinguished from the number of an earlier run.
        cell.locator(".jp-InputPrompt").evaluate("node => {node.textContent = ''}")
        cell.locator(".cm-content").click()
        self._page.keyboard.press("Control+Enter")

    def run(self, source: str) -> str:
        """Run a cell by its key and return what it shows."""
        self.begin(source)
        return self.wait_done(source)

    def wait_done(self, source: str) -> str:
        """Wait until a cell has its number, and return what it shows."""
        prompt = self.cell(source).locator(".jp-InputPrompt", has_text=DONE)
        prompt.wait_for()
        return self.outputs(source)

    def style_of(self, source: str, part: str, *names: str) -> list[str]:
        """Return the values in force of style names, for the first such part."""
        found: list[str] = (
            self._output(source)
            .locator(part)
            .first.evaluate(
                "(node, names) => names.map(name => getComputedStyle(node)[name])",
                list(names),
            )
        )
        return found

    def tops_of(self, source: str, part: str) -> list[float]:
        """Return how far down the page each such part begins."""
        found: list[float] = (
            self._output(source)
            .locator(part)
            .evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect().y)")
        )
        return found

    def too_wide(self, source: str) -> list[str]:
        """Return the classes of what a card shows that its place cannot hold."""
        found: list[str] = (
            self._output(source).locator(".avocado-card").evaluate_all(TOO_WIDE)
        )
        return found

    def resize(self, width: int) -> None:
        """Make the window as wide as that."""
        self._page.set_viewport_size({"width": width, "height": HEIGHT})
        # Twice, as JupyterLab lays its panels out after the first.
        self._page.evaluate(
            "new Promise(done => requestAnimationFrame("
            "() => requestAnimationFrame(done)))"
        )

    def bars(self, source: str) -> Any:
        """Return the progress bars that a cell shows."""
        return self._output(source).get_by_role("progressbar")

    def wait_shown(self, source: str, text: str) -> None:
        """Wait until a cell shows a text."""
        self._output(source).filter(has_text=text).first.wait_for()

    def wait_part(self, source: str, part: str) -> None:
        """Wait until a cell shows such a part."""
        self._output(source).locator(part).first.wait_for()

    def watch(self, source: str) -> None:
        """Note from now on every text that a cell's first output has."""
        self.cell(source).evaluate(WATCH)

    def seen(self, source: str) -> list[str]:
        """Return what was noted, in order."""
        noted: list[str] = self.cell(source).evaluate("node => node.seen")
        return noted

    def interrupt(self) -> None:
        """Press the stop button."""
        self._page.locator('[data-command="notebook:interrupt-kernel"]').click()

    def restart(self) -> None:
        """Press the restart button, and yes."""
        self._page.locator('[data-command="notebook:restart-kernel"]').click()
        self._page.locator(".jp-Dialog .jp-mod-accept").click()
        self.wait_idle()

    def picture(self, source: str, *, is_dark: bool) -> bytes:
        """Return a cell's first output as PNG, in the light or the dark theme."""
        scheme = "dark" if is_dark else "light"
        self._page.emulate_media(color_scheme=scheme)
        is_light = "false" if is_dark else "true"
        themed = f'body[data-jp-theme-light="{is_light}"]'
        self._page.wait_for_selector(themed, state="attached")
        taken: bytes = self._output(source).first.screenshot(animations="disabled")
        return taken

    def _choose(self, menu: str, item: str) -> None:
        for kind, label in (("MenuBar", menu), ("Menu", item)):
            whole = re.compile(f"^{re.escape(label)}$")
            self._page.locator(f".lm-{kind}-itemLabel", has_text=whole).click()


def open_cells(tab: Tab, lab: Lab, *cells: str) -> NotebookPage:
    """Open a notebook that has these cells."""
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"cell-{index}",
                "metadata": {},
                "outputs": [],
                "source": source,
            }
            for index, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    name = f"cells-{len(list(lab.folder.iterdir()))}.ipynb"
    (lab.folder / name).write_text(json.dumps(notebook))
    return NotebookPage(tab, lab, name)
