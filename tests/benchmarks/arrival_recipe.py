"""The recipe that people paste into notebooks: one command after the other.

It has arrived when its URL answers. The model is not in memory then, as ours is, so
the time until a first request has loaded it is taken as well.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from threading import Timer
from typing import Final

from spicy_avocado_magic.config.settings import Endpoints
from tests.main_job.home import Home

from .arrival_home import TOKEN, cpu_s, variables
from .arrival_world import MODEL

TIMEOUT_S: Final = 300.0

RECIPE: Final = r"""
set -eu
exec 2>"$HOME/errors"
step() { echo "$1" >"$HOME/step"; }
step curl  # as install.sh of ollama.com does, without root
test -x "$PREFIX/bin/ollama" || curl -fsSL "$ARCHIVE" | zstd -dq | tar -x -C "$PREFIX"
step serve
"$PREFIX/bin/ollama" serve >"$HOME/ollama.log" 2>&1 &
until curl -fs "http://$OLLAMA_HOST/api/version" >/dev/null; do sleep 0.2; done
step pull
if [ "$HAS_PROGRAM" = yes ]; then
  "$PREFIX/bin/ollama" pull --insecure "$MODEL" >"$HOME/pull.log" 2>&1
else
  curl -fs "http://$OLLAMA_HOST/api/pull" \
    -d "{\"model\": \"$MODEL\", \"insecure\": true}" | tail -n 1 | grep -q success
fi
step agent
"$PYTHON" -c "$AGENT" >"$HOME/url" 2>"$HOME/agent.log" &
until [ -s "$HOME/url" ]; do sleep 0.1; done
until curl -fs "$(cat "$HOME/url")/api/version" >/dev/null; do sleep 0.1; done
echo arrived
step load
curl -fs "$(cat "$HOME/url")/api/generate" -d "{\"model\": \"$MODEL\"}" >/dev/null
echo loaded
wait
"""

_AGENT: Final = """
import os, signal
from pyngrok import conf, ngrok
here = os.environ["HOME"]
with open(f"{here}/ngrok.yml", "w") as file:
    file.write(os.environ["AGENT_CONFIG"])
config = conf.PyngrokConfig(
    ngrok_path=os.environ["NGROK"], config_path=f"{here}/ngrok.yml"
)
host = os.environ["OLLAMA_HOST"].split(":")[1]
print(ngrok.connect(host, pyngrok_config=config).public_url, flush=True)
signal.pause()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How the recipe went."""

    seconds: float
    """Until the URL answered, or a step failed."""
    loaded_s: float = 0.0
    """Until the model was in memory too."""
    cpu_s: float = 0.0
    """Of all that it started, until then."""
    failed_at: str = ""
    """The step that ended it; empty if the URL answered."""
    text: str = ""
    """The first line of its error output."""


def follow_recipe(
    home: Home, sources: Endpoints, *, archive_url: str, has_program: bool
) -> Arrival:
    """Run the recipe in a home; whoever calls ends what it has started.

    Args:
        home: Where ``prefix`` may hold an engine already.
        sources: The world.
        archive_url: What curl fetches.
        has_program: Whether the engine is the real program, with ``ollama pull``;
            else its API is asked.
    """
    config = (
        f'{{"version": "3", "agent": {{"authtoken": "{TOKEN}", '
        f'"connect_url": "{sources.edge_address}", "update_check": false}}}}'
    )
    own = {
        "ARCHIVE": archive_url,
        "PREFIX": str(home.path / "prefix"),
        "MODEL": f"{sources.registry}/library/{MODEL}",
        "OLLAMA_HOST": f"127.0.0.1:{free_port()}",
        "HAS_PROGRAM": "yes" if has_program else "no",
        "PYTHON": sys.executable,
        "AGENT": _AGENT,
        "AGENT_CONFIG": config,
        "NGROK": sources.tunnel_program,
    }
    began = time.monotonic()
    with subprocess.Popen(
        ["bash", "-c", RECIPE],
        env=variables(home) | own,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as shell:
        assert shell.stdout is not None
        limit = Timer(TIMEOUT_S, os.killpg, (shell.pid, signal.SIGKILL))
        limit.start()
        is_there = b"arrived" in shell.stdout.readline()
        seconds = time.monotonic() - began
        is_there = is_there and b"loaded" in shell.stdout.readline()
        loaded_s = time.monotonic() - began
        limit.cancel()
        spent_s = cpu_s(home)
        os.killpg(shell.pid, signal.SIGTERM)
    if is_there:
        return Arrival(seconds=seconds, loaded_s=loaded_s, cpu_s=spent_s)
    step, text = (
        (home.path / "home" / name).read_text(encoding="utf-8").strip()
        for name in ("step", "errors")
    )
    return Arrival(seconds=seconds, failed_at=step, text=text.partition("\n")[0])


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
