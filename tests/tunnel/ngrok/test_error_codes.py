"""ngrok's codes and messages are mapped to our errors."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.errors import (
    AvocadoError,
    EndpointInUse,
    EndpointUnavailable,
    InvalidToken,
    NetworkUnreachable,
    TrafficPolicyRejected,
    TunnelFailed,
    UserActionRequired,
)
from spicy_avocado_magic.tunnel.ngrok.error_codes import (
    code_of,
    to_error,
    without_token,
)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((number, InvalidToken) for number in (105, 106, 107, 123, 4018)),
        *((number, EndpointInUse) for number in (108, 324, 334, 18020, 18021)),
        *((number, EndpointUnavailable) for number in (313, 314, 338)),
        *((number, EndpointUnavailable) for number in (725, 726, 727, 6030, 18019)),
        *((number, TunnelFailed) for number in (349, 702, 3004, 3200, 8012)),
        *((number, UserActionRequired) for number in (121, 9009, 9040)),
        *(
            (number, TrafficPolicyRejected)
            for number in (2201, 2264, 9026, 15004, 15015)
        ),
    ],
)
def test_a_known_code_has_its_class_and_is_named(
    number: int, kind: type[AvocadoError]
) -> None:
    """Each code has one class, a problem and a remedy."""
    error = to_error(f'{{"details":{{"err":"no. ERR_NGROK_{number}\\r\\n"}}}}')
    assert type(error) is kind
    assert f"(ERR_NGROK_{number})." in error.problem
    is_page = error.remedy.endswith(f"/errors/err_ngrok_{number}")
    assert is_page or error.remedy.endswith(".")


def test_the_limit_of_agents_is_in_the_message() -> None:
    """ERR_NGROK_108 contains the account's limit."""
    error = to_error("limited to 3 simultaneous ngrok agent sessions. ERR_NGROK_108")
    assert "allows: 3 (" in error.problem


def test_a_limit_that_is_not_in_the_message_is_left_out() -> None:
    """ERR_NGROK_108 in other words is still explained."""
    assert "allows (ERR_NGROK_108)" in to_error("ERR_NGROK_108").problem


@pytest.mark.parametrize(
    "text",
    [
        "failed to dial ngrok server with address x:443: lookup x: no such host",
        "dial tcp 3.1.2.3:443: i/o timeout",
        "<urlopen error [Errno -3] Temporary failure in name resolution>",
    ],
)
def test_an_unreachable_service_is_a_network_problem(text: str) -> None:
    """Messages of an agent without a network are recognised."""
    assert type(to_error(text)) is NetworkUnreachable


def test_a_code_has_priority_over_words_about_the_network() -> None:
    """ERR_NGROK_8012 contains ``dial tcp`` too, but means that the gateway is down."""
    error = to_error("dial tcp 127.0.0.1:80: connection refused ERR_NGROK_8012")
    assert type(error) is TunnelFailed
    assert type(to_error("dial tcp ERR_NGROK_99999")) is TunnelFailed


def test_an_unknown_code_is_shown_without_token_and_control_characters() -> None:
    """The message is shortened, cleaned and redacted."""
    error = to_error(f"\x1b[31mYour authtoken: s3cr3t\r\nERR_NGROK_99999 {'x' * 999}")
    assert type(error) is TunnelFailed
    assert "s3cr3t" not in str(error)
    assert "\x1b" not in str(error)
    assert len(error.problem) < 400, "a whole response body was shown"
    assert error.remedy == "See https://ngrok.com/docs/errors/err_ngrok_99999"


@pytest.mark.parametrize(
    "text",
    [r'err="invalid.\nYour authtoken: s3cr3t\r\n\r\nERR"', "your authtoken: s3cr3t"],
)
def test_only_the_token_is_redacted(text: str) -> None:
    """The rest of the line stays, also if it is escaped."""
    assert without_token(text) == text.replace("s3cr3t", "•••")


def test_a_text_without_a_code_has_none() -> None:
    """A number alone is no code."""
    assert code_of("HTTP 502") is None
    assert code_of("ERR_NGROK_3200 and ERR_NGROK_8012") == 3200
