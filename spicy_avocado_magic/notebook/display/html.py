"""Text from anywhere as markup that stays text, and a picture of bounded size."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ...system.redaction import strip_control_chars

MOST_BYTES: Final = 20_000
"""Of one message to a notebook, both forms together."""
MOST_CHARS: Final = 300
"""Of one text from outside on a card; a longer one is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RichOutput:
    """What a display shows: markup, and its twin for where there is only text."""

    html: str
    text: str

    @property
    def bundle(self) -> dict[str, str]:
        """Both forms by their MIME types."""
        return {"text/html": self.html, "text/plain": self.text}

    @property
    def size_bytes(self) -> int:
        """Of the bundle as it is sent and saved."""
        return len(json.dumps(self.bundle, ensure_ascii=False).encode())


def truncate(text: str, most_chars: int = MOST_CHARS) -> str:
    """Return a text without control characters, cut where it is too long."""
    plain = strip_control_chars(text)
    return plain if len(plain) <= most_chars else f"{plain[: most_chars - 1]}…"


def one_line(text: str, most_chars: int = MOST_CHARS) -> str:
    """Return a text as one line of plain text."""
    return truncate(" ".join(strip_control_chars(text).split()), most_chars)


def escape_line(text: str, most_chars: int = MOST_CHARS) -> str:
    """Return a text as one line that markup shows as it is, in attributes as well."""
    return html.escape(one_line(text, most_chars))


def preformatted(text: str, most_chars: int = MOST_CHARS) -> str:
    """Return lines that markup shows as they are, one below the other."""
    return f'<pre class="avocado-code">{html.escape(truncate(text, most_chars))}</pre>'


def details(title: str, markup: str, *, is_open: bool = False, kind: str = "") -> str:
    """Return markup under a title that opens and closes it.

    Args:
        title: Plain text.
        markup: What is in it.
        is_open: Whether it is open at first.
        kind: Told as ``data-fold``, so that one fold can be found among others.
    """
    opened = " open" if is_open else ""
    named = f' data-fold="{escape_line(kind)}"' if kind else ""
    return (
        f'<details class="avocado-fold"{named}{opened}>'
        f"<summary>{escape_line(title)}</summary>{markup}</details>"
    )


def facts_table(
    facts: Iterable[tuple[str, str]], prose: Iterable[tuple[str, str]] = ()
) -> str:
    """Return names with their values, then those that are told in words.

    A click selects a value whole.
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
    """Return a table with a title, which a narrow page scrolls sideways."""
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
    """Return plain lines, each a paragraph of this kind."""
    return "".join(f'<div class="avocado-{kind}">{escape_line(x)}</div>' for x in lines)


def few(items: Sequence[str], most: int) -> list[str]:
    """Return the first items, and how many more there are."""
    rest = len(items) - most
    return [*items[:most], *([f"… and {rest} more"] if rest > 0 else [])]


def cut_to_bytes(text: str, most_bytes: int) -> str:
    """Return as much of a text as that many bytes of JSON hold."""
    kept = text
    while len(json.dumps(kept, ensure_ascii=False).encode()) > most_bytes:
        kept = kept[: len(kept) * 9 // 10]
    return kept if kept == text else f"{kept}…"
