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
    """0600 whatever the umask, version 3, nothing recorded for the local page."""
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
    assert list(tmp_path.iterdir()) == [path], "a copy with the token stayed behind"


def test_without_an_edge_the_agent_connects_where_it_always_does(
    tmp_path: Path,
) -> None:
    """The real service's address is the agent's own business."""
    write_config(tmp_path / "ngrok.yml", "the-token")
    agent = json.loads((tmp_path / "ngrok.yml").read_text())["agent"]
    assert "connect_url" not in agent


def test_the_script_keeps_the_environments_token_and_stderr_apart(
    tmp_path: Path,
) -> None:
    """The agent sees no token variable, and what it complains of goes to stdout."""
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
