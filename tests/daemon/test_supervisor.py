"""Secrets that the supervisor generates."""

from __future__ import annotations

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.daemon.supervisor import with_key

PORT = "127.0.0.1:9464"


def test_a_port_for_scrapers_comes_with_a_token_of_its_own() -> None:
    """Long, random, and not the key that clients send."""
    first, second = (with_key(Settings(metrics_port=PORT)) for _ in range(2))
    assert len(first.metrics_token) > 40, "it is too short"
    assert first.metrics_token != second.metrics_token, "it is the same everywhere"
    assert first.metrics_token != first.api_key
    without_keys = with_key(Settings(metrics_port=PORT, no_auth=True))
    assert without_keys.metrics_token, "without keys the metrics are open, too"
    assert not with_key(Settings()).metrics_token, "a secret without a use"


def test_the_token_stays_while_other_things_change() -> None:
    """A scraper that was set up goes on through ``--restart`` and another port."""
    first = with_key(Settings(metrics_port=PORT, models=("tiny",)))
    later = with_key(first.merged({"metrics_port": "127.0.0.1:9465"}))
    assert later.metrics_token == first.metrics_token
    closed = with_key(later.merged({"metrics_port": ""}))
    again = with_key(closed.merged({"metrics_port": PORT}))
    assert again.metrics_token == first.metrics_token


def test_the_token_is_not_seen_where_settings_are_printed() -> None:
    """A traceback or a log shows no secret."""
    settings = with_key(Settings(metrics_port=PORT))
    assert settings.metrics_token not in repr(settings)
