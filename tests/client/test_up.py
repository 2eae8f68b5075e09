"""The decision between changing a running daemon and launching one."""

from __future__ import annotations

from pathlib import Path

from spicy_avocado_magic.client.control_client import ControlClient
from spicy_avocado_magic.client.up import _UpOperation
from spicy_avocado_magic.config.options import build_up_request
from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.protocol.state_folder import StateFolder


def test_a_daemon_that_dies_while_it_is_asked_is_not_waited_for(tmp_path: Path) -> None:
    """A killed one is still found for a moment; then another one is launched."""
    folder = StateFolder(tmp_path)
    operation = _UpOperation(
        folder=folder,
        request=build_up_request({}),
        show=lambda _: None,
        ask=None,
        namespace={},
        sources=Endpoints(),
        timeouts=Timeouts(launch_s=0.2),
    )
    assert operation._first_state(ControlClient(folder.socket)) is None
