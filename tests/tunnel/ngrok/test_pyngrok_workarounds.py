"""Workarounds for pyngrok that ``test_agent`` does not cover."""

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
def test_loopback_is_added_to_the_proxy_exceptions(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The user's own exceptions stay, in upper or lower case, without duplicates."""
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


def test_looking_for_the_agent_does_not_start_one(
    tmp_path: Path,
) -> None:
    """The function of pyngrok itself would."""
    assert running_agent(PyngrokConfig(ngrok_path=str(tmp_path / "ngrok"))) is None
