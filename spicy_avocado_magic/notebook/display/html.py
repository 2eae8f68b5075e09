"""HTML building blocks that escape all text, and an output of bounded size."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ...system.redaction import strip_control_chars

MAX_BYTES: Final = 20_000
"""Limit of one message to a notebook, HTML and text together."""
MAX_CHARS: Final = 300
"""Limit of one text from outside on a card; a longer one is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RichOutput:
    """The content of a display: HTML, and text for where HTML cannot be shown."""

    html: str
    text: str

    @property
    def bundle(self) -> dict[str, str]:
        """Both forms by their MIME types."""
        return {"text/html": self.html, "text/plain": self.text}

    @property
    def size_bytes(self) -> int:
        """Size of the bundle as it is sent and saved."""
        return len(json.dumps(self.bundle, ensure_ascii=False).encode())


def truncate(text: str, max_chars: int = MAX_CHARS) -> str:
    """Return a text without control characters, cut if it is too long."""
    stripped = strip_control_chars(text)
    if len(stripped) <= max_chars:
        return stripped
    return f"{stripped[: max_chars - 1]}…"


def one_line(text: str, max_chars: int = MAX_CHARS) -> str:
    """Return a text on one line, cut if it is too long."""
    return truncate(" ".join(strip_control_chars(text).split()), max_chars)


def escape_line(text: str, max_chars: int = MAX_CHARS) -> str:
    """Return a text on one line, escaped for HTML, also inside attributes."""
    return html.escape(one_line(text, max_chars))


def preformatted(text: str, max_chars: int = MAX_CHARS) -> str:
    """Return lines of text as a ``<pre>`` block."""
    return f'<pre class="avocado-code">{html.escape(truncate(text, max_chars))}</pre>'


def details(title: str, markup: str, *, is_open: bool = False, kind: str = "") -> str:
    """Return markup in a fold.

    Args:
        title: Text of the line that opens and closes it.
        markup: Its content.
        is_open: Whether it is open at first.
        kind: Value of ``data-fold``, to find one fold among others.
    """
    opened = " open" if is_open else ""
    attribute = f' data-fold="{escape_line(kind)}"' if kind else ""
    return (
        f'<details class="avocado-fold"{attribute}{opened}>'
        f"<summary>{escape_line(title)}</summary>{markup}</details>"
    )


def facts_table(
    facts: Iterable[tuple[str, str]], prose: Iterable[tuple[str, str]] = ()
) -> str:
    """Return a table of names and values, then of names and sentences.

    A click selects a whole value.
    """
    cells = [(name, f"<code>{escape_line(value)}</code>") for name, value in facts]
    cells += [(name, escape_line(value)) for name, value in prose]
    rows = "".join(
        f'<tr><th scope="row">{escape_line(name)}</th><td>{value}</td></tr>'
        for name, value in cells
    )
    return f'<table class="avocado-facts"><tbody>{rows}</tbody></table>'


def columns_table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Return a table with a title, which scrolls sideways on a narrow page."""
    heads = "".join(f'<th scope="col">{escape_line(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape_line(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        '<div class="avocado-scroll"><table class="avocado-table">'
        f"<caption>{escape_line(title)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def lines_of(lines: Iterable[str], kind: str) -> str:
    """Return lines, each in an element of the class ``avocado-{kind}``."""
    return "".join(f'<div class="avocado-{kind}">{escape_line(x)}</div>' for x in lines)


def first_few(items: Sequence[str], limit: int) -> list[str]:
    """Return the first items, and the number of those left out."""
    rest = len(items) - limit
    return [*items[:limit], *([f"… and {rest} more"] if rest > 0 else [])]


def cut_to_bytes(text: str, max_bytes: int) -> str:
    """Return the beginning of a text that takes at most so many bytes in JSON."""
    kept = text
    while len(json.dumps(kept, ensure_ascii=False).encode()) > max_bytes:
        kept = kept[: len(kept) * 9 // 10]
    return kept if kept == text else f"{kept}…"
