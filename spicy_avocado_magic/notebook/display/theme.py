"""Style sheet and frame of the card, in the page's own light or dark theme.

The theme of a page is found in ``data-jp-theme-light`` (JupyterLab, Notebook 7,
nbconvert), ``html[theme]`` (Colab) and the body's class ``vscode-dark`` (VS Code).
Where there is no such mark and the system prefers dark, the page may still be white, so
colours are used that can be read on both. There are no animations: each update replaces
the card, which would restart them.
"""

from __future__ import annotations

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


# A class named twice is more specific than JupyterLab's rules for tables and code.
_RULES: Final = """
.avocado-card{box-sizing:border-box;max-width:52em;margin:2px 0;padding:.6em .9em;
color:var(--jp-content-font-color1,var(--vscode-editor-foreground,\
var(--colab-primary-text-color,inherit)));background:transparent;
font-family:var(--jp-ui-font-family,var(--vscode-font-family,system-ui,sans-serif));
font-size:var(--jp-content-font-size1,14px);line-height:1.5;overflow-wrap:anywhere;
border:1px solid var(--avocado-line);border-left:3px solid var(--avocado-busy);
border-radius:4px}
.avocado-card[data-phase=ready]{border-left-color:var(--avocado-good)}
.avocado-card[data-phase=failed]{border-left-color:var(--avocado-bad)}
.avocado-card[data-phase=stopped]{border-left-color:var(--avocado-warn)}
.avocado-head{font-weight:600;display:flex;flex-wrap:wrap;column-gap:.7em}
.avocado-head>:last-child{margin-left:auto;font-weight:400;color:var(--avocado-muted)}
.avocado-rehearsal{color:var(--avocado-warn);font-size:.9em;font-weight:600}
.avocado-stages{margin:.3em 0}
.avocado-stage{display:grid;grid-template-columns:1em 5em minmax(0,1fr) auto;\
column-gap:.6em;padding:1px 0}
.avocado-mark{text-align:center;color:var(--avocado-muted)}
[data-phase=ready]>.avocado-mark{color:var(--avocado-good)}
[data-phase=starting]>.avocado-mark{color:var(--avocado-busy)}
[data-phase=backoff]>.avocado-mark,[data-phase=stopped]>.avocado-mark\
{color:var(--avocado-warn)}
[data-phase=failed]>.avocado-mark{color:var(--avocado-bad)}
.avocado-name{font-weight:600}
[data-phase=waiting]>.avocado-name,[data-phase=off]>.avocado-name\
{color:var(--avocado-muted);font-weight:400}
.avocado-time{color:var(--avocado-muted);font-variant-numeric:tabular-nums}
.avocado-amount{display:block;color:var(--avocado-muted);font-size:.9em;\
font-variant-numeric:tabular-nums}
.avocado-bar{display:block;box-sizing:border-box;height:8px;margin:3px 0;\
max-width:30em;border:1px solid var(--avocado-muted);border-radius:4px;overflow:hidden}
.avocado-bar>span{display:block;height:100%;background:var(--avocado-busy)}
.avocado-warning{color:var(--avocado-warn)}
.avocado-failure{grid-column:2/-1;margin:.2em 0 .3em;padding-left:.7em;\
border-left:2px solid var(--avocado-bad)}
.avocado-problem{color:var(--avocado-bad);font-weight:600}
[data-phase=stopped]>.avocado-failure{border-left-color:var(--avocado-warn)}
[data-phase=stopped]>.avocado-failure .avocado-problem{color:var(--avocado-warn)}
.avocado-fold{margin:.2em 0;min-width:0}
.avocado-folds{display:flex;flex-wrap:wrap;column-gap:1.4em}
.avocado-folds>.avocado-more{margin:.2em 0}
.avocado-folds>[open],.avocado-folds>pre{flex:1 0 100%;max-width:100%}
.avocado-fold>summary{cursor:pointer;color:var(--avocado-muted)}
.avocado-card .avocado-code,.avocado-card code{color:inherit;\
font-family:var(--jp-code-font-family,var(--vscode-editor-font-family,monospace));\
font-size:.92em;background:transparent}
.avocado-card.avocado-card .avocado-code{margin:.2em 0;padding:.4em .6em;\
white-space:pre-wrap;background:var(--avocado-soft);border-radius:3px;user-select:text}
.avocado-card code{user-select:all;padding:0}
.avocado-parts{display:flex;flex-wrap:wrap;column-gap:1.2em;margin:.2em 0}
.avocado-more{color:var(--avocado-muted)}
.avocado-quota{margin:.4em 0}
.avocado-scroll{overflow-x:auto;overflow-wrap:normal}
.avocado-card table{margin:.4em 0;border:0;border-collapse:collapse;\
font-size:inherit;color:inherit}
.avocado-card.avocado-card tbody tr,
.avocado-card.avocado-card thead tr{background:transparent}
.avocado-card.avocado-card th,.avocado-card.avocado-card td{text-align:left;\
vertical-align:top;padding:1px 1em 1px 0;border:0;white-space:normal;max-width:none}
.avocado-card table th{color:var(--avocado-muted);font-weight:400;\
white-space:nowrap;overflow-wrap:normal}
.avocado-card table caption{text-align:left;caption-side:top;font-weight:600;\
color:inherit;padding:0}
@media (forced-colors:active){.avocado-bar>span{forced-color-adjust:none;\
background:Highlight}}
"""

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
