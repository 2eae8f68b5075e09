"""Spelling suggestions as people read them."""

from __future__ import annotations

from spicy_avocado_magic.formatting import closest_match, did_you_mean


def test_the_closest_match_is_a_similar_word_or_none() -> None:
    """A word that resembles nothing gets no suggestion."""
    assert closest_match("--tokn", ["--token", "--ttl"]) == "--token"
    assert not closest_match("xyz", ["--token"])


def test_a_suggestion_is_written_in_the_form_of_its_place() -> None:
    """Without a similar word the other remedy is given."""
    known = ["silence", "body"]
    assert did_you_mean("silense", known, "Use x.") == "Did you mean silence?"
    shown = did_you_mean("silense", known, "Use x.", form="{}=…")
    assert shown == "Did you mean silence=…?"
    assert did_you_mean("qqq", known, "Use x.") == "Use x."
