"""HTML building blocks escape text and limit its length."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.notebook.display.html import (
    RichOutput,
    columns_table,
    cut_to_bytes,
    details,
    escape_line,
    facts_table,
    first_few,
    lines_of,
    one_line,
    preformatted,
    truncate,
)

from .pages import EVILS, Page


@pytest.mark.parametrize("evil", EVILS)
def test_every_building_block_escapes_its_text(evil: str) -> None:
    """Names, values, titles, cells, lines and code cannot open a tag."""
    markup = (
        escape_line(evil)
        + preformatted(evil)
        + details(evil, "", kind=evil)
        + facts_table([(evil, evil)])
        + columns_table(evil, [evil], [[evil]])
        + lines_of([evil], "warning")
    )
    page = Page(markup)
    page.require_harmless()
    assert "\x1b" not in markup, "a terminal would interpret it"
    assert "\x07" not in markup, "a terminal would ring"


def test_a_long_text_is_cut() -> None:
    """Text from outside cannot make a display grow."""
    assert truncate("a" * 10, 10) == "a" * 10
    assert truncate("a" * 11, 10) == "a" * 9 + "…"
    assert one_line("a\n b\tc", 10) == "a b c", "a line break makes a second line"


def test_a_shortened_list_says_how_many_are_left_out() -> None:
    """The first few must not look like all."""
    assert first_few(["a", "b"], 2) == ["a", "b"]
    assert first_few(["a", "b", "c", "d"], 2) == ["a", "b", "… and 2 more"]


@pytest.mark.parametrize("letter", ["a", "é", "\\", "🥑", "\n"])
def test_a_text_is_cut_by_its_size_in_json(letter: str) -> None:
    """Escapes and characters of several bytes are counted as sent."""
    cut = cut_to_bytes(letter * 5_000, 1_000)
    size = RichOutput(html="", text=cut).size_bytes
    assert 500 < size < 1_100, f"{size} bytes of {letter!r}"
    assert cut_to_bytes("short", 100) == "short"


def test_a_fold_is_closed_by_default() -> None:
    """The reader opens it; there is no script."""
    assert "open" not in Page(details("t", "x")).seen[0][1]
    assert "open" in Page(details("t", "x", is_open=True)).seen[0][1]
