"""The ngrok agent's two private files: its configuration and its start script."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from ...protocol.state_folder import write_private


def write_config(path: Path, token: str, edge_address: str = "") -> None:
    """Write the agent's configuration, with mode 0600 from its first byte.

    It is JSON, which is YAML too. The keys are documented at
    https://ngrok.com/docs/agent/config/v3. ``inspect_db_size`` -1 keeps the agent from
    storing requests, with their API keys, for its unauthenticated local page.

    Args:
        path: Replaced whole.
        token: The ngrok authtoken; it is stored only in this file.
        edge_address: ``host:port`` to connect to; empty is the real service.

    Raises:
        OSError: If it cannot be written.
    """
    agent: dict[str, Any] = {
        "authtoken": token,
        "console_ui": False,
        "inspect_db_size": -1,
        "update_check": False,
    }
    if edge_address:
        agent["connect_url"] = edge_address
    write_private(path, json.dumps({"version": "3", "agent": agent}))


def read_token(path: Path) -> str:
    """Return the token of a configuration that ``write_config`` wrote."""
    return str(json.loads(path.read_text())["agent"]["authtoken"])


def write_script(path: Path, ngrok_path: str) -> None:
    """Write the script that pyngrok starts in place of the agent.

    It removes tokens from the agent's environment, and redirects its stderr, where
    agents repeat a token that was refused, to its stdout, which is redacted.

    Raises:
        OSError: If it cannot be written.
    """
    path.write_text(
        "#!/bin/sh\nunset NGROK_AUTHTOKEN NGROK_API_KEY\n"
        f'exec {shlex.quote(ngrok_path)} "$@" 2>&1\n'
    )
    path.chmod(0o700)
