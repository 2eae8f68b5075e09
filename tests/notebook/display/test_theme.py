"""The card's colours, and the frame around everything that is drawn."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from spicy_avocado_magic.client.state_text import REHEARSAL_MARK
from spicy_avocado_magic.notebook.display.theme import (
    DARK,
    EITHER,
    LIGHT,
    STYLE,
    card_header,
    wrap_card,
)

from .pages import EVILS, Page

WHITE = "#ffffff"
DARKEST_AND_LIGHTEST_DARK = ("#111111", "#1e1e1e", "#383838")
"""Grounds of JupyterLab, VS Code and Colab in their dark themes."""
TEXT_COLOURS = ("good", "bad", "warn", "busy", "muted")


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb``.

    Source: WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance.
    """
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    ]
    return sum(
        weight * part
        for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", TEXT_COLOURS)
def test_every_colour_of_text_can_be_read(name: str) -> None:
    """At 4.5:1 (WCAG AA) in the themes that are known, else nearly so on both."""
    assert contrast(LIGHT[name], WHITE) >= 4.5
    for ground in DARKEST_AND_LIGHTEST_DARK:
        assert contrast(DARK[name], ground) >= 4.5, f"{name} on {ground}"
    for ground in (WHITE, "#1e1e1e"):
        assert contrast(EITHER[name], ground) >= 3.5, f"{name} on {ground}"


def test_a_card_is_no_markdown_in_a_notebook_that_is_converted_to_it() -> None:
    """What a log line or an answer says is no image there, and code keeps its lines."""
    said = "<pre>one\n\n![pixel](https://evil.example/x.png)\n# two</pre>"
    shown = wrap_card(said, phase="failed", label="l", rehearsal=True)
    made = MarkdownIt("commonmark").render(f"Text.\n\n{shown}\n\nText.\n")
    page = Page(made.replace("</p>\n", "</p>"))
    assert "img" not in {tag for tag, _ in page.seen}
    assert "one\n\n![pixel](https://evil.example/x.png)\n# two" in page.text


def test_a_dollar_begins_no_formula() -> None:
    """JupyterLab, Colab and nbconvert typeset what is between two of them."""
    first, card = Page(wrap_card("", phase="ready", label="l", rehearsal=False)).seen[
        1:3
    ]
    assert first[1] == {"class": "tex2jax_ignore mathjax_ignore"}
    assert card[1]["class"] == "avocado-card"


def test_the_style_fetches_nothing_and_moves_nothing() -> None:
    """No resource from outside, and no animation that an update would restart."""
    for word in ("url(", "@import", "@font-face", "animation", "transition", "http"):
        assert word not in STYLE, f"{word} is in the style"


def test_the_style_is_small_and_touches_the_card_alone() -> None:
    """It is sent with each update, and must not change the page around it."""
    assert len(STYLE) < 6_000, f"{len(STYLE)} bytes"
    assert STYLE.count("{") == STYLE.count("}"), "a brace is missing"
    flat = re.sub(r"@media[^{]*\{(.*?\})\}", r"\1", STYLE, flags=re.DOTALL)
    for selectors in re.findall(r"([^{}]+)\{", flat):
        for selector in selectors.split(","):
            assert "avocado-" in selector, f"{selector.strip()!r} styles others too"


def test_each_theme_that_is_known_has_its_colours() -> None:
    """JupyterLab, Colab and VS Code tell, and go before what the system prefers."""
    known = STYLE.index("@media (prefers-color-scheme:dark)")
    for page in ("data-jp-theme-light=false", "html[theme=dark]", "body.vscode-dark"):
        assert STYLE.index(page) > known, f"{page} is outdone by the system's wish"
    for variable in ("--jp-content-font-color1", "--vscode-", "--colab-"):
        assert variable in STYLE, f"the page's own {variable} is not used"


@pytest.mark.parametrize("evil", EVILS)
def test_a_frame_escapes_its_labels(evil: str) -> None:
    """A model's name is part of them."""
    page = Page(
        wrap_card(card_header(evil, evil), phase=evil, label=evil, rehearsal=True)
    )
    page.require_harmless()
    assert REHEARSAL_MARK in page.text
