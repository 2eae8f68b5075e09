"""Style sheet and frame of the card, in the page's own light or dark theme.

The theme of a page is found in ``data-jp-theme-light`` (JupyterLab, Notebook 7,
nbconvert), ``html[theme]`` (Colab) and the body's class ``vscode-dark`` (VS Code).
Without a mark, and where the system prefers dark, the page may still be white, so
colours are used that can be read on both. There are no animations: each update replaces
the card, which would restart them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ...client.state_text import REHEARSAL_MARK
from .html import escape_line

LIGHT: Final = {
    "good": "#1a7f37",
    "bad": "#b3261e",
    "warn": "#8a5a00",
    "busy": "#1f5fb0",
    "muted": "#57606a",
    "line": "#00000026",
    "soft": "#0000000f",
}
DARK: Final = {
    "good": "#5fd38d",
    "bad": "#ffa198",
    "warn": "#f2c14e",
    "busy": "#8ab8ff",
    "muted": "#b8c0c8",
    "line": "#ffffff33",
    "soft": "#ffffff12",
}
EITHER: Final = {
    "good": "#2c8a4f",
    "bad": "#d9534a",
    "warn": "#a97714",
    "busy": "#3f80cf",
    "muted": "#767d85",
    "line": "#80808066",
    "soft": "#8080801a",
}
"""For a page of unknown theme."""

NO_FORMULAS: Final = "tex2jax_ignore mathjax_ignore"
"""Classes of elements that MathJax skips: ``$A or $B`` is not a formula, and TeX has
commands that fetch."""


def _named(colours: dict[str, str]) -> str:
    return "".join(f"--avocado-{name}:{value};" for name, value in colours.items())


# There, a class named twice is more specific than JupyterLab's rules for tables. The
# style sheet is in every card, so the line breaks are left out.
_RULES: Final = (
    Path(__file__).with_name("card.css").read_text(encoding="utf-8").replace("\n", "")
)

_DARK_PAGES: Final = (
    "[data-jp-theme-light=false] .avocado-card",
    "html[theme=dark] .avocado-card",
    "body.vscode-dark .avocado-card",
    "body.vscode-high-contrast:not(.vscode-high-contrast-light) .avocado-card",
)
_LIGHT_PAGES: Final = (
    "[data-jp-theme-light=true] .avocado-card",
    "html[theme=light] .avocado-card",
    "body.vscode-light .avocado-card",
)
STYLE: Final = (
    f".avocado-card{{{_named(LIGHT)}}}\n"
    f"@media (prefers-color-scheme:dark){{.avocado-card{{{_named(EITHER)}}}}}\n"
    f"{','.join(_LIGHT_PAGES)}{{{_named(LIGHT)}}}\n"
    f"{','.join(_DARK_PAGES)}{{{_named(DARK)}}}"
    f"{_RULES}"
)


def wrap_card(markup: str, *, phase: str, label: str, rehearsal: bool) -> str:
    """Return markup in the frame of a card.

    Args:
        markup: Its content.
        phase: ``starting``, ``ready``, ``failed`` or ``stopped``, for its colour.
        label: Its name for a screen reader.
        rehearsal: Whether to mark it as a rehearsal.
    """
    mark = ""
    if rehearsal:
        mark = f'<div class="avocado-rehearsal">{escape_line(REHEARSAL_MARK)}</div>'
    # In a notebook converted to Markdown, a new line would be parsed as Markdown
    # again, and an image in a log line would be fetched.
    one_line = f"{mark}{markup}".replace(">\n<", "> <").replace("\n", "&#10;")
    return (
        f'<style>{STYLE}</style><div class="{NO_FORMULAS}">'
        f'<div class="avocado-card" data-phase="{escape_line(phase)}" role="group" '
        f'aria-label="{escape_line(label)}">{one_line}</div></div>'
    )


def card_header(title: str, aside: str = "") -> str:
    """Return the first line of a card, with a muted text at its right end."""
    return (
        f'<div class="avocado-head"><span>{escape_line(title)}</span> '
        f"<span>{escape_line(aside)}</span></div>"
    )
