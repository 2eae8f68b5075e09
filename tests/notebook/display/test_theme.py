"""The style sheet and the frame of the card."""

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
"""Backgrounds of JupyterLab, VS Code and Colab in their dark themes."""
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


def contrast(first: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    high, low = sorted((luminance(first), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", TEXT_COLOURS)
def test_every_text_colour_has_enough_contrast(name: str) -> None:
    """4.5:1 (WCAG AA) in a known theme, a little less on both backgrounds."""
    assert contrast(LIGHT[name], WHITE) >= 4.5
    for ground in DARKEST_AND_LIGHTEST_DARK:
        assert contrast(DARK[name], ground) >= 4.5, f"{name} on {ground}"
    for ground in (WHITE, "#1e1e1e"):
        assert contrast(EITHER[name], ground) >= 3.5, f"{name} on {ground}"


def test_a_card_is_not_parsed_as_markdown_after_conversion() -> None:
    """Text of a log or an answer is no image then, and code keeps its lines."""
    markup = "<pre>one\n\n![pixel](https://evil.example/x.png)\n# two</pre>"
    shown = wrap_card(markup, phase="failed", label="l", rehearsal=True)
    made = MarkdownIt("commonmark").render(f"Text.\n\n{shown}\n\nText.\n")
    page = Page(made.replace("</p>\n", "</p>"))
    assert "img" not in {tag for tag, _ in page.seen}
    assert "one\n\n![pixel](https://evil.example/x.png)\n# two" in page.text


def test_dollar_signs_are_not_typeset_as_a_formula() -> None:
    """JupyterLab, Colab and nbconvert typeset the text between two of them."""
    first, card = Page(wrap_card("", phase="ready", label="l", rehearsal=False)).seen[
        1:3
    ]
    assert first[1] == {"class": "tex2jax_ignore mathjax_ignore"}
    assert card[1]["class"] == "avocado-card"


def test_the_style_has_no_resources_and_no_animations() -> None:
    """Nothing is fetched, and an update cannot restart an animation."""
    for word in ("url(", "@import", "@font-face", "animation", "transition", "http"):
        assert word not in STYLE, f"{word} is in the style"


def test_the_style_is_small_and_applies_to_the_card_only() -> None:
    """It is sent with each update, and must not change the page around it."""
    assert len(STYLE) < 6_000, f"{len(STYLE)} bytes"
    assert STYLE.count("{") == STYLE.count("}"), "a brace is missing"
    flat = re.sub(r"@media[^{]*\{(.*?\})\}", r"\1", STYLE, flags=re.DOTALL)
    for selectors in re.findall(r"([^{}]+)\{", flat):
        for selector in selectors.split(","):
            assert "avocado-" in selector, f"{selector.strip()!r} styles others too"


def test_each_known_theme_has_its_colours() -> None:
    """The mark of JupyterLab, Colab or VS Code precedes the system's preference."""
    known = STYLE.index("@media (prefers-color-scheme:dark)")
    for page in ("data-jp-theme-light=false", "html[theme=dark]", "body.vscode-dark"):
        assert STYLE.index(page) > known, (
            f"{page} is overridden by the system's preference"
        )
    for variable in ("--jp-content-font-color1", "--vscode-", "--colab-"):
        assert variable in STYLE, f"the page's own {variable} is not used"


@pytest.mark.parametrize("evil", EVILS)
def test_the_frame_escapes_its_labels(evil: str) -> None:
    """They contain names of models."""
    page = Page(
        wrap_card(card_header(evil, evil), phase=evil, label=evil, rehearsal=True)
    )
    page.require_harmless()
    assert REHEARSAL_MARK in page.text
