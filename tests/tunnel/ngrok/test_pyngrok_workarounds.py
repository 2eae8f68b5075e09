"""The gaps of pyngrok that are closed here; the rest is seen in ``test_agent``."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.request import proxy_bypass

import pytest
from pyngrok.conf import PyngrokConfig

from spicy_avocado_magic.tunnel.ngrok.pyngrok_workarounds import (
    bypass_proxy_for_loopback,
    running_agent,
)


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_loopback_joins_the_exceptions_that_were_there(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The user's own exceptions stay, in either spelling; twice is once."""
    for spelling in ("no_proxy", "NO_PROXY"):
        # Set first, so that what is added is taken back too.
        monkeypatch.setenv(spelling, "")
    monkeypatch.setenv(name, "example.org")
    bypass_proxy_for_loopback()
    once = os.environ["no_proxy"]
    bypass_proxy_for_loopback()
    assert os.environ["no_proxy"] == once == "example.org,127.0.0.1"
    assert proxy_bypass("127.0.0.1:4040")
    assert proxy_bypass("example.org")


def test_an_agent_that_was_not_started_is_not_started_by_asking(
    tmp_path: Path,
) -> None:
    """Looking for the agent has no effect."""
    assert running_agent(PyngrokConfig(ngrok_path=str(tmp_path / "ngrok"))) is None
