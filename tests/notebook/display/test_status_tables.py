"""The tables of ``%avocado_status``."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.notebook.display.status import (
    errors_table,
    keys_table,
    members_table,
    models_table,
    quota_bars,
    tokens_text,
)
from spicy_avocado_magic.protocol.state import (
    ModelState,
    ModelUsage,
    State,
    TrafficStats,
)

from .pages import Page


@pytest.mark.parametrize("asked_for", ["llama3", "Llama3", "llama3:latest"])
def test_the_usage_of_a_model_is_found_under_every_spelling(asked_for: str) -> None:
    """The gateway counts by the short name, and users leave out the tag."""
    use = ModelUsage(name="llama3:latest", requests=7, tokens_in=1, tokens_out=2)
    state = State(
        models=(ModelState(name=asked_for),), traffic=TrafficStats(models=(use,))
    )
    page = Page(models_table(state))
    assert "71 / 2" in page.text, "its usage is not shown"
    assert len([tag for tag, _ in page.seen if tag == "tr"]) == 2, "it is shown twice"


def test_a_model_used_by_any_model_has_a_row() -> None:
    """With ``--any-model``; an invalid name is shown as it is."""
    uses = (ModelUsage(name="other:latest", requests=3), ModelUsage(name="(the rest)"))
    text = Page(models_table(State(traffic=TrafficStats(models=uses)))).text
    assert "other:latest30 / 0" in text
    assert "(the rest)00 / 0" in text


def test_an_empty_table_is_left_out() -> None:
    """Its heading as well."""
    state = State()
    tables = (
        models_table(state),
        keys_table(state.keys),
        members_table(state.members),
        quota_bars(state),
        errors_table(()),
    )
    assert tables == ("",) * 5


def test_estimated_token_counts_are_marked() -> None:
    """By ``≈``."""
    assert tokens_text(ModelUsage(name="m", is_estimate=True)) == "≈0 / ≈0"
