"""Safe HTML for the Markdown of a model: it runs no script and fetches no image.

JupyterLab executes ``<img onerror>`` and fetches images inside ``Markdown(…)``, so a
model's text is never displayed as ``text/markdown``.
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
"""Limit in characters: a longer text is shown unrendered, since rendering is slow."""
_WEB: Final = re.compile(r"https?://", re.IGNORECASE)


def markdown_html(text: str) -> str:
    """Return safe HTML for a model's Markdown.

    HTML in it is escaped, images become text, and links lead to web pages only.
    """
    stripped = strip_control_chars(text)
    if len(stripped) > LONGEST_RENDERED:
        markup = f'<div style="white-space:pre-wrap">{html.escape(stripped)}</div>'
    else:
        markup = _renderer().render(stripped)
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
    # The browser's default blue is hard to read on a dark theme.
    tokens[index].attrSet("style", "color:inherit")
    return str(renderer.renderToken(tokens, index, options, env))
