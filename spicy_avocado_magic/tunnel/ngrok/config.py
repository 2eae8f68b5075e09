"""The agent's two private files: its settings, and the script that starts it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from ...protocol.state_folder import write_private


def write_config(path: Path, token: str, edge_address: str = "") -> None:
    """Write the agent's private configuration, 0600 from its first byte.

    It is JSON, which is YAML too. The names are from
    https://ngrok.com/docs/agent/config/v3; ``inspect_db_size`` -1 keeps the agent
    from holding requests, API keys among them, for its unauthenticated local page.

    Args:
        path: Replaced whole.
        token: The ngrok authtoken; this file is the only place it is kept in.
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
    """Write the script that pyngrok takes for the agent.

    It keeps a token of the environment from the agent, and the agent's stderr out
    of ours: agents repeat there a token that was refused.

    Raises:
        OSError: If it cannot be written.
    """
    path.write_text(
        "#!/bin/sh\nunset NGROK_AUTHTOKEN NGROK_API_KEY\n"
        f'exec {shlex.quote(ngrok_path)} "$@" 2>&1\n'
    )
    path.chmod(0o700)
