"""Markdown of a model as HTML that can neither run nor fetch anything.

JupyterLab executes ``<img onerror>`` and fetches images inside ``Markdown(…)``, so a
model's text is never displayed as such.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ...system.redaction import strip_control_chars
from .theme import NO_FORMULAS

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

LONGEST_RENDERED: Final = 60_000
"""Characters; a longer text is shown as it is, since rendering takes its time."""
_WEB: Final = re.compile(r"https?://", re.IGNORECASE)


def markdown_html(text: str) -> str:
    """Return safe markup for a model's Markdown.

    HTML in it is text, images are links, and links lead to web pages alone.
    """
    plain = strip_control_chars(text)
    if len(plain) > LONGEST_RENDERED:
        markup = f'<div style="white-space:pre-wrap">{html.escape(plain)}</div>'
    else:
        markup = _renderer().render(plain)
    return f'<div class="{NO_FORMULAS}">{markup}</div>'


@cache
def _renderer() -> MarkdownIt:
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False, "linkify": False})
    markdown.enable(["table", "strikethrough"]).disable(["image", "autolink"])
    markdown.validateLink = _is_web  # type: ignore[method-assign]
    markdown.add_render_rule("link_open", _open_link)
    return markdown


def _is_web(url: str) -> bool:
    return _WEB.match(url) is not None


def _open_link(
    renderer: Any, tokens: Sequence[Any], index: int, options: Any, env: Any
) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer")
    tokens[index].attrSet("target", "_blank")
    # A browser's own blue cannot be read on a dark theme.
    tokens[index].attrSet("style", "color:inherit")
    return str(renderer.renderToken(tokens, index, options, env))
