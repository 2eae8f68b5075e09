"""A JupyterLab of this Python, on loopback, that sends no requests elsewhere."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

from tests.machine_speed import scaled

START_S: Final = scaled(60.0)
END_S: Final = scaled(20.0)
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "apputils-extension/themes": {
        # The theme follows what the browser says that its user likes.
        "adaptive-theme": True,
        "preferred-light-theme": "JupyterLab Light",
        "preferred-dark-theme": "JupyterLab Dark",
    },
    "apputils-extension/notification": {
        "checkForUpdates": False,
        "doNotDisturbMode": True,
        "fetchNews": "false",
    },
    # All cells are on the page, also those that nobody has scrolled to.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
"""From the schemas in JupyterLab's ``share/jupyter/lab/schemas``."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A running server, with its folder of notebooks."""

    folder: Path
    port: int
    token: str

    @property
    def url(self) -> str:
        """Its address, with a slash at the end."""
        return f"http://127.0.0.1:{self.port}/"

    def address_of(self, notebook: str) -> str:
        """Return the address of a notebook, in a workspace of its own."""
        return f"{self.url}doc/tree/{notebook}?token={self.token}"


@contextlib.contextmanager
def running_lab(folder: Path) -> Iterator[Lab]:
    """Start JupyterLab with a folder of notebooks; end it, kernels included."""
    settings = folder / ".settings"
    for name, values in SETTINGS.items():
        file = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    lab = Lab(folder, _free_port(), secrets.token_urlsafe())
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={lab.port}"),
        *("--ServerApp.port_retries=0", f"--IdentityProvider.token={lab.token}"),
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.user_settings_dir={settings}",
        f"--LabApp.workspaces_dir={folder / '.workspaces'}",
        "--LabApp.extension_manager=readonly",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with (folder / ".lab.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        _wait_ready(lab, process)
        yield lab
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(lab: Lab, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        log = (lab.folder / ".lab.log").read_text(errors="replace")
        assert process.poll() is None, f"JupyterLab has ended: {log}"
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{lab.url}api", timeout=5).ok:
                return
        time.sleep(0.1)
    raise AssertionError("JupyterLab did not start in time")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port
