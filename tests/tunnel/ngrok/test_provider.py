"""ngrok's answers and program, as the daemon and the doctor see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import (
    AvocadoError,
    EndpointUnavailable,
    TrafficPolicyRejected,
    TunnelFailed,
)
from spicy_avocado_magic.rehearsal.fake_ngrok.agent import write_agent_script
from spicy_avocado_magic.tunnel.ngrok.provider import NgrokProvider
from spicy_avocado_magic.tunnel.ngrok.traffic_policy import DENIED_HEADER

PROVIDER = NgrokProvider()


@pytest.mark.parametrize(
    ("status", "headers", "body", "error"),
    [
        (401, {DENIED_HEADER: "denied"}, "", TrafficPolicyRejected),
        (404, {"Ngrok-Error-Code": "ERR_NGROK_3200"}, "", TunnelFailed),
        (403, {}, "… ERR_NGROK_727 …", EndpointUnavailable),
        (200, {"Ngrok-Error-Code": "ERR_NGROK_3200"}, "", None),
        (404, {}, "not found", None),
    ],
)
def test_only_answers_of_the_edge_are_explained(
    status: int, headers: dict[str, str], body: str, error: type[AvocadoError] | None
) -> None:
    """Its own header, or an ERR_NGROK code with an error status, is such an answer."""
    explained = PROVIDER.explain_response(status, headers, body)
    assert type(explained) is (error or type(None)), explained


async def test_installing_returns_the_version_of_the_agent(tmp_path: Path) -> None:
    """An agent that is there is not downloaded."""
    program = write_agent_script(tmp_path / "ngrok")
    assert PROVIDER.program_path(str(program)) == program
    assert await PROVIDER.install(str(program), Timeouts()) == "3.30.0"
