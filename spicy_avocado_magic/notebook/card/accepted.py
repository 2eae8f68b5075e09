"""What is told of a service that comes up without the cell: only what stays true."""

from __future__ import annotations

from ...client.state_text import NO_PORT_YET, key_text, metrics_text
from ...protocol.state import State
from ...system.redaction import plain_text
from .markup import Picture, facts_table, one_line
from .pictures import card
from .style import headed


def accepted(
    state: State, headline: str, *, show_key: bool, show_token: bool = False
) -> Picture:
    """Return a card that nobody will redraw, so it does not say how far things are."""
    facts = _facts(state, show_key=show_key, show_token=show_token)
    told = accepted_text(state, headline, show_key=show_key, show_token=show_token)
    markup = headed(f"→ {headline}") + facts_table(facts)
    return card(state, markup, [told], phase="starting", label="Spicy Avocado")


def accepted_text(
    state: State, headline: str, *, show_key: bool, show_token: bool = False
) -> str:
    """Return the same as lines of plain text."""
    facts = _facts(state, show_key=show_key, show_token=show_token)
    lines = [f"{name:<6} {plain_text(value)}" for name, value in facts]
    return "\n".join([f"→ {one_line(headline)}", *lines])


def _facts(state: State, *, show_key: bool, show_token: bool) -> list[tuple[str, str]]:
    facts = [("key", key_text(state, show_key=show_key))]
    if state.models:
        facts.insert(0, ("models", ", ".join(model.name for model in state.models)))
    if state.metrics_token:
        metrics = metrics_text(state, show_token=show_token)
        facts.append(("metrics", metrics.removeprefix(f"{NO_PORT_YET}, ")))
    return facts
