"""A notebook in JupyterLab, used by menus, buttons and keys."""

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
"""Records every text of an output, empty ones included."""
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
        """Wait until the kernel is connected and idle."""
        self._page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()

    def cell(self, source: str) -> Any:
        """Return the code cell with this text, found by its first line."""
        line = source.splitlines()[0]
        source_text = self._page.locator(".jp-InputArea-editor", has_text=line)
        return self._page.locator(".jp-CodeCell", has=source_text)

    def outputs(self, source: str) -> str:
        """Return the visible text of a cell's outputs."""
        shown: list[str] = self._output(source).all_inner_texts()
        return "\n".join(shown)

    def _output(self, source: str) -> Any:
        return self.cell(source).locator(".jp-OutputArea-output")

    def unfold(self, source: str) -> str:
        """Open every fold of a cell's outputs, and return the visible text."""
        for fold in self._output(source).locator("summary").all():
            fold.click()
        return self.outputs(source)

    def run_all(self) -> None:
        """Choose *Run → Run All Cells*."""
        self._choose("Run", "Run All Cells")

    def begin(self, source: str) -> None:
        """Run a cell with the keyboard, without waiting for its end."""
        cell = self.cell(source)
        # Distinguished from the number of an earlier run.
        cell.locator(".jp-InputPrompt").evaluate("node => {node.textContent = ''}")
        cell.locator(".cm-content").click()
        self._page.keyboard.press("Control+Enter")

    def run(self, source: str) -> str:
        """Run a cell with the keyboard and return its output."""
        self.begin(source)
        return self.wait_done(source)

    def wait_done(self, source: str) -> str:
        """Wait until a cell has its execution number, and return its output."""
        prompt = self.cell(source).locator(".jp-InputPrompt", has_text=DONE)
        prompt.wait_for()
        return self.outputs(source)

    def style_of(self, source: str, part: str, *names: str) -> list[str]:
        """Return computed style values of the first element that matches."""
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
        """Return the vertical position of each element that matches."""
        found: list[float] = (
            self._output(source)
            .locator(part)
            .evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect().y)")
        )
        return found

    def too_wide(self, source: str) -> list[str]:
        """Return the classes of elements that overflow their card."""
        found: list[str] = (
            self._output(source).locator(".avocado-card").evaluate_all(TOO_WIDE)
        )
        return found

    def resize(self, width: int) -> None:
        """Set the width of the window."""
        self._page.set_viewport_size({"width": width, "height": HEIGHT})
        # Twice, as JupyterLab lays its panels out after the first.
        self._page.evaluate(
            "new Promise(done => requestAnimationFrame("
            "() => requestAnimationFrame(done)))"
        )

    def bars(self, source: str) -> Any:
        """Return the progress bars of a cell."""
        return self._output(source).get_by_role("progressbar")

    def wait_shown(self, source: str, text: str) -> None:
        """Wait until a cell shows a text."""
        self._output(source).filter(has_text=text).first.wait_for()

    def wait_part(self, source: str, part: str) -> None:
        """Wait until a cell shows an element that matches."""
        self._output(source).locator(part).first.wait_for()

    def watch(self, source: str) -> None:
        """Record every text of a cell's first output from now on."""
        self.cell(source).evaluate(WATCH)

    def seen(self, source: str) -> list[str]:
        """Return the recorded texts, in order."""
        noted: list[str] = self.cell(source).evaluate("node => node.seen")
        return noted

    def interrupt(self) -> None:
        """Press the stop button."""
        self._page.locator('[data-command="notebook:interrupt-kernel"]').click()

    def restart(self) -> None:
        """Press the restart button, and confirm."""
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
    """Open a notebook with these cells."""
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
