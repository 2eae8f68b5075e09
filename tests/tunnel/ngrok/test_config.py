"""The agent's private files."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import yaml

from spicy_avocado_magic.tunnel.ngrok.config import (
    read_token,
    write_config,
    write_script,
)


def test_the_configuration_is_private_and_is_what_agents_read(tmp_path: Path) -> None:
    """It has mode 0600 with any umask, version 3, and disables the inspector."""
    path = tmp_path / "ngrok.yml"
    path.write_text("older")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        write_config(path, "the-token", "127.0.0.1:7")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings = yaml.safe_load(path.read_text())
    assert settings["version"] == "3"
    assert settings["agent"]["inspect_db_size"] == -1
    assert settings["agent"]["connect_url"] == "127.0.0.1:7"
    assert read_token(path) == "the-token"
    assert list(tmp_path.iterdir()) == [path], "a copy with the token was left"


def test_without_an_edge_address_the_agent_uses_its_own(
    tmp_path: Path,
) -> None:
    """The file does not contain one."""
    write_config(tmp_path / "ngrok.yml", "the-token")
    agent = json.loads((tmp_path / "ngrok.yml").read_text())["agent"]
    assert "connect_url" not in agent


def test_the_script_removes_tokens_and_redirects_stderr(
    tmp_path: Path,
) -> None:
    """The agent has no token in its environment, and its errors go to stdout."""
    agent = tmp_path / 'an agent\'s "path"'
    agent.write_text('#!/bin/sh\necho "$1-${NGROK_AUTHTOKEN-none}" >&2\n')
    agent.chmod(0o700)
    write_script(tmp_path / "script", str(agent))
    ran = subprocess.run(
        [tmp_path / "script", "a b"],
        env={"NGROK_AUTHTOKEN": "secret"},
        capture_output=True,
        check=True,
    )
    assert (ran.stdout, ran.stderr) == (b"a b-none\n", b"")
