"""The facts about the tunnel provider fit together."""

from __future__ import annotations

from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.config.tunnel import TUNNEL
from spicy_avocado_magic.protocol.json_codec import from_json, to_json
from spicy_avocado_magic.tunnel.registry import PROVIDERS

TOKEN = "2abcDEFghiJKLmnoPQRstuVWXyz_1234567890ABCDEF"


def test_the_gateway_sends_bytes_before_the_edge_cuts_a_silent_response() -> None:
    """Comments and spaces start early enough, and are frequent enough."""
    timeouts = Timeouts()
    first_s = max(timeouts.comment_after_s, timeouts.space_after_s)
    assert first_s + timeouts.comment_every_s < TUNNEL.idle_cut_s


def test_facts_and_code_of_a_provider_have_the_same_name() -> None:
    """Settings name the provider by it."""
    assert TUNNEL.name in PROVIDERS
    assert Endpoints().tunnel == TUNNEL.name


def test_a_token_of_today_matches_all_three_shapes() -> None:
    """It is accepted, not called outdated, and never shown."""
    credential = TUNNEL.credential
    for shape in (credential.shape, credential.usual_shape, credential.certain_shape):
        assert shape.fullmatch(TOKEN), shape.pattern


def test_the_path_of_the_program_keeps_its_key_in_files() -> None:
    """Settings that an earlier version stored are read, and the other way round."""
    assert to_json(Endpoints(tunnel_program="/x"))["ngrok_path"] == "/x"
    assert from_json(Endpoints, {"ngrok_path": "/x"}).tunnel_program == "/x"
