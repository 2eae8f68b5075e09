"""Finding a host to change, or else launching one."""

from __future__ import annotations

from pathlib import Path

from spicy_avocado_magic.client.control_client import Connection
from spicy_avocado_magic.client.up import _Bringing
from spicy_avocado_magic.config.options import wish_from
from spicy_avocado_magic.config.settings import Sources
from spicy_avocado_magic.config.timeouts import Policy
from spicy_avocado_magic.protocol.state_folder import StateFolder


def test_a_host_that_dies_while_it_is_asked_is_not_waited_for(tmp_path: Path) -> None:
    """A killed one is still there for a moment; then another one is launched."""
    folder = StateFolder(tmp_path)
    bringing = _Bringing(
        folder=folder,
        wish=wish_from({}),
        show=lambda _: None,
        ask=None,
        namespace={},
        sources=Sources(),
        policy=Policy(launch_s=0.2),
    )
    assert bringing._first_state(Connection(folder.socket)) is None
