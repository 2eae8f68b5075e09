"""Text for people: near misses; sizes and durations are in ``test_state_text``."""

from __future__ import annotations

from spicy_avocado_magic.formatting import closest_match, did_you_mean


def test_the_closest_match_is_the_known_word_most_like_the_misspelt_one() -> None:
    """A word like none of them has no match."""
    assert closest_match("--tokn", ["--token", "--ttl"]) == "--token"
    assert not closest_match("xyz", ["--token"])


def test_the_remedy_names_the_closest_word_or_says_what_else_to_do() -> None:
    """A suffix shows how the word is written."""
    assert did_you_mean("egine", ["engine"], "Use x.") == "Did you mean engine?"
    assert did_you_mean("rp", ["rpm"], "Use x.", suffix="=…") == "Did you mean rpm=…?"
    assert did_you_mean("zzz", ["engine"], "Use x.") == "Use x."
