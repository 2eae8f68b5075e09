"""What the stand-in service refuses an account, and in which words."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.rehearsal.fake_ngrok.account import (
    EndpointRefused,
    already_online,
    read_policy,
    require_pooling,
    token_error,
)

from .test_traffic_policy import policy_text

TOKEN = "2abcdefghijklmnopqrstuvwxyz_0123456789"


@pytest.mark.parametrize(
    ("token", "sessions", "code"),
    [
        ("short", 0, "ERR_NGROK_105"),
        ("with spaces and more of them", 0, "ERR_NGROK_105"),
        ("malformed_" + TOKEN, 0, "ERR_NGROK_105"),
        ("revoked_" + TOKEN, 0, "ERR_NGROK_107"),
        (TOKEN, 3, "limited to 3 simultaneous ngrok agent sessions"),
        (TOKEN, 2, ""),
    ],
)
def test_a_token_gets_a_session_or_the_reason_why_not(
    token: str, sessions: int, code: str
) -> None:
    """The rules are those that a user meets first."""
    message = token_error(token, sessions, 3)
    assert bool(message) == bool(code)
    assert code in message


def test_a_plan_without_pooling_gets_ngroks_error() -> None:
    """The words are those of ngrok/ngrok-operator#645."""
    require_pooling(TOKEN)
    with pytest.raises(EndpointRefused, match="ERR_NGROK_18019"):
        require_pooling("unpooled_" + TOKEN)


def test_the_error_for_a_name_in_use_has_the_name() -> None:
    """Both ways out are in it."""
    message = str(already_online("a.ngrok.app"))
    assert "'a.ngrok.app' is already online" in message
    assert message.endswith("ERR_NGROK_334\r\n")


def test_a_policy_is_parsed_or_refused_with_a_reason() -> None:
    """None at all, a good one, a bad one, and more rules than the plan has."""
    assert read_policy(TOKEN, "") is None
    assert read_policy(TOKEN, policy_text(rules=5)) is not None
    for token, text, code in (
        (TOKEN, "nonsense", "ERR_NGROK_9026"),
        (TOKEN, policy_text(rules=6), "ERR_NGROK_15004"),
        ("ruleless_" + TOKEN, policy_text(), "ERR_NGROK_15004"),
    ):
        with pytest.raises(EndpointRefused, match=code):
            read_policy(token, text)
