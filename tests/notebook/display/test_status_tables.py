"""The tables of a service's status."""

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
def test_a_models_use_is_found_under_every_spelling(asked_for: str) -> None:
    """The gateway counts by the short name, and users leave out the tag."""
    use = ModelUsage(name="llama3:latest", requests=7, tokens_in=1, tokens_out=2)
    state = State(
        models=(ModelState(name=asked_for),), traffic=TrafficStats(models=(use,))
    )
    page = Page(models_table(state))
    assert "71 / 2" in page.text, "its use is not told"
    assert len([tag for tag, _ in page.seen if tag == "tr"]) == 2, "it is told twice"


def test_a_model_that_is_not_wanted_but_used_has_a_row() -> None:
    """As ``--any-model`` allows; a name that is none is shown as it came."""
    uses = (ModelUsage(name="other:latest", requests=3), ModelUsage(name="(the rest)"))
    text = Page(models_table(State(traffic=TrafficStats(models=uses)))).text
    assert "other:latest30 / 0" in text
    assert "(the rest)00 / 0" in text


def test_what_is_not_there_has_no_table() -> None:
    """No empty head stands anywhere."""
    state = State()
    tables = (
        models_table(state),
        keys_table(state.keys),
        members_table(state.members),
        quota_bars(state),
        errors_table(()),
    )
    assert tables == ("",) * 5


def test_counts_of_ours_are_marked() -> None:
    """As everywhere."""
    assert tokens_text(ModelUsage(name="m", is_estimate=True)) == "≈0 / ≈0"
