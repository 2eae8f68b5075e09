"""LiteLLM's proxy as a peer, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from .gateway_peers import Peer, free_port


class LiteLLM(Peer):
    """LiteLLM's proxy, one worker, with a master key and no database."""

    name = "litellm"
    slowness = 10.0
    is_quick_to_start = False
    how_to_install = "python -m tests.benchmarks.gateway --install-litellm"

    def is_installed(self) -> bool:
        """Return whether ``install`` was run on this machine."""
        return (litellm_environment() / "bin" / "litellm").exists()

    @staticmethod
    def install() -> None:
        """Make its environment in the user's cache folder: some 0.5 GB from PyPI."""
        place = litellm_environment()
        venv.create(place, with_pip=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "litellm[proxy]"], stdout=sys.stderr, check=True)

    def start(self) -> None:
        """Start it; its telemetry and its look-ups on the network are off."""
        self.port = free_port()
        engine = f"http://127.0.0.1:{self.engine.port}/v1"
        model = {"model": "openai/tiny", "api_base": engine, "api_key": "none"}
        config = {
            "model_list": [{"model_name": "tiny", "litellm_params": model}],
            "litellm_settings": {"telemetry": False, "num_retries": 0},
            "general_settings": {"master_key": self.key},
        }
        path = self.private_file("config.yaml", json.dumps(config))
        command = [str(litellm_environment() / "bin" / "litellm"), "--config", path]
        self.spawn(
            [*command, "--host", "127.0.0.1", "--port", str(self.port)],
            LITELLM_LOCAL_MODEL_COST_MAP="True",
            NO_PROXY="127.0.0.1",
        )
        self.wait_until_ready()


def litellm_environment() -> Path:
    """Return where LiteLLM is, or would be, installed."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "spicy-avocado-tests" / "litellm"
