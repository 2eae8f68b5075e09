"""The desired state on disk and in the event log."""

from __future__ import annotations

from dataclasses import fields

from spicy_avocado_magic.config.api_keys import ApiKey
from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.daemon.desired_state import public_settings, secrets_of

SECRETS = Settings(
    models=("tiny",),
    token="token-of-somebody",
    api_key="key-of-the-owner",
    metrics_token="token-of-a-scraper",
    keys=(ApiKey(name="ann", secret="key-of-ann"),),
    domain="a.ngrok.app",
    sources=Endpoints(rehearsal=True, releases_url="http://127.0.0.1:1"),
)


def test_public_settings_have_no_secrets() -> None:
    """What differs from the defaults, and of keys their names."""
    public = public_settings(SECRETS)
    assert public == {"models": ["tiny"], "domain": "a.ngrok.app", "keys": ["ann"]}
    assert public_settings(Settings()) == {"keys": []}


def test_every_secret_of_the_settings_is_known_as_one() -> None:
    """A field that is kept out of ``repr`` is one to redact, and the reverse."""
    hidden = {part.name for part in fields(Settings) if not part.repr}
    assert hidden == {"token", "api_key", "keys", "metrics_token"}
    assert set(secrets_of(SECRETS)) == {
        "token-of-somebody",
        "key-of-the-owner",
        "token-of-a-scraper",
        "key-of-ann",
    }
