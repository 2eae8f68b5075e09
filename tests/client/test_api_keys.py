"""API keys over the control socket: without a service, and with wrong arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spicy_avocado_magic.client.api_keys import api_key_request
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.config.api_key_options import ApiKeyRequest
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.protocol.state_folder import StateFolder


def test_keyword_arguments_become_a_key_request() -> None:
    """Omitted arguments mean no limit."""
    grant = api_key_request(
        "ann", rpm=60, tokens=100_000, models=["tiny", "b:c"], expires="2h", manage=True
    )
    assert grant == ApiKeyRequest(
        name="ann",
        rpm=60,
        tokens=100_000,
        models=("tiny", "b:c"),
        expires_s=7200.0,
        manage=True,
    )
    assert api_key_request("ann", rpm=None, models="tiny") == ApiKeyRequest(
        name="ann", models=("tiny",)
    )


@pytest.mark.parametrize(
    "arguments", [{"rpm": 0}, {"rpm": 1.5}, {"tokens": -1}, {"expires": 0}, {"tpm": 1}]
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any]) -> None:
    """The daemon is not asked."""
    with pytest.raises(UsageError):
        api_key_request("ann", **arguments)


def test_without_a_service_there_are_no_keys(tmp_path: Path) -> None:
    """The error says how to start one."""
    avocado = Avocado(StateFolder(tmp_path), "restored")
    for call in (
        avocado.keys,
        lambda: avocado.add_key("ann"),
        lambda: avocado.revoke_key("ann"),
    ):
        with pytest.raises(UsageError, match="%avocado_up"):
            call()
