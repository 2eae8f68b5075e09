"""Get the ngrok agent by pyngrok's installer, and make sure that it can be used.

The installer runs in a child process: its download has no time limit of its own,
prints to stdout, and goes through a fixed name in the shared temporary folder.
Run as a module, this file is that child: ``python -m … PROGRAM``.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError

from pyngrok import conf, installer
from pyngrok.exception import PyngrokError
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from ...config.timeouts import Timeouts
from ...errors import (
    ComponentFailed,
    DownloadFailed,
    NetworkUnreachable,
    UserActionRequired,
)
from ...system import IMPORT_ROOT
from ...system.paths import home_folder
from ...system.processes import signal_group, spawn

OLDEST_VERSION: Final = (3, 30)
"""The first agent with ``/api/endpoints``; pyngrok 9 can hang on an older one."""

_TRIES: Final = 3
_NETWORK_EXIT_CODE: Final = 3
_HEAD_BYTES: Final = 1024
_VERSION = re.compile(r"version v?(\d+)\.(\d+)[\w.+-]*")


def program_path(ngrok_path: str) -> str:
    """Return the agent to use; empty means where pyngrok keeps its own.

    That is in home; where home cannot be written, in the folder that stands in for it.
    """
    named = ngrok_path or os.environ.get("PYNGROK_NGROK_PATH", "")
    usual = Path(conf.DEFAULT_NGROK_PATH)
    if named or os.access(usual, os.X_OK) or home_folder() == Path.home():
        return named or str(usual)
    return str(home_folder() / ".config" / "ngrok" / usual.name)


async def ensure_installed(ngrok_path: str, policy: Timeouts) -> str:
    """Make sure that the agent is there and runs, and return its version.

    Raises:
        NetworkUnreachable, DownloadFailed: If it cannot be fetched.
        UserActionRequired: If the program there cannot be used.
    """
    if not await asyncio.to_thread(os.path.exists, ngrok_path):
        wait = wait_random_exponential(policy.backoff_first_s, max=policy.request_s)
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(ComponentFailed),
            stop=stop_after_attempt(_TRIES),
            wait=wait,
            reraise=True,
        ):
            with attempt:
                await _download(Path(ngrok_path), policy)
    return await _version(ngrok_path, policy)


async def _download(program: Path, policy: Timeouts) -> None:
    """Put the agent in its place, whole or not at all."""
    try:
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            fresh = Path(folder, "ngrok")
            code, said = await _run(
                [sys.executable, "-P", "-m", __name__, str(fresh)],
                timeout_s=policy.stalled_s,
                env={
                    "TMPDIR": folder,
                    "PYTHONPATH": os.pathsep.join([str(IMPORT_ROOT), *sys.path]),
                    **_certificates(),
                },
            )
            if code == 0:
                await asyncio.to_thread(fresh.replace, program)
    except TimeoutError as error:
        raise DownloadFailed(
            f"The ngrok agent did not arrive within {policy.stalled_s:g} s.",
            "Check the network, or give the path of an agent you have.",
        ) from error
    except OSError as error:
        raise DownloadFailed(
            f"The ngrok agent cannot be put into {program.parent}: {error.strerror}.",
            "Make room or make the folder writable.",
        ) from error
    if code == _NETWORK_EXIT_CODE:
        raise NetworkUnreachable(
            "The ngrok agent cannot be downloaded: its server is out of reach.",
            "Check that this machine has internet access (on Kaggle: Settings → "
            "Internet on), or use --local.",
        )
    if code != 0:
        last = said.strip().rpartition("\n")[2][:300]
        raise DownloadFailed(
            f"The ngrok agent did not arrive whole: {last}.",
            "Run the cell again; if it stays, check the disk and the network.",
        )


def _certificates() -> dict[str, str]:
    """Let the installer trust what ``requests`` would: ``urllib`` does not ask."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE", "")
    if not bundle:
        return {}
    return {"SSL_CERT_DIR" if Path(bundle).is_dir() else "SSL_CERT_FILE": bundle}


async def _version(ngrok_path: str, policy: Timeouts) -> str:
    replaced = f"Delete {ngrok_path}; the next run fetches a new one."
    try:
        if await asyncio.to_thread(_is_launcher, ngrok_path):
            raise UserActionRequired(
                f"{ngrok_path} is pyngrok's launcher, not the ngrok agent itself.",
                "Leave the agent's path out, or give that of the real agent.",
            )
        code, said = await _run([ngrok_path, "--version"], policy.agent_start_s)
    except TimeoutError as error:
        raise UserActionRequired(
            f"{ngrok_path} did not tell its version within {policy.agent_start_s:g} s.",
            replaced,
        ) from error
    except OSError as error:
        raise UserActionRequired(
            f"{ngrok_path} cannot be run: {error.strerror}.", replaced
        ) from error
    match = _VERSION.search(said)
    if match is None:
        raise UserActionRequired(
            f"{ngrok_path} is not a working ngrok agent (exit code {code}).", replaced
        )
    version = match[0].removeprefix("version ")
    if (int(match[1]), int(match[2])) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise UserActionRequired(
            f"The ngrok agent {version} is older than {oldest}.", replaced
        )
    return version


def _is_launcher(ngrok_path: str) -> bool:
    """Whether this is pip's console script: ending it would not end the agent."""
    with Path(ngrok_path).open("rb") as program:
        head = program.read(_HEAD_BYTES)
    return head.startswith(b"#!") and b"from pyngrok" in head


async def _run(
    command: list[str], timeout_s: float, env: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run a program to its end; return its exit code and what it printed.

    Raises:
        TimeoutError: If it takes longer; its group has been killed then.
        OSError: If it cannot be started.
    """
    # Not by the loop: libuv hands what cannot be executed to a shell (``execvp``).
    with tempfile.TemporaryFile() as output:
        child = spawn(command, log=output, env={**os.environ, **(env or {})})
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.to_thread(child.wait)
        finally:
            signal_group(child.pid, signal.SIGKILL)
            child.wait()
        output.seek(0)
        return child.returncode, output.read().decode(errors="replace")


def main(program: str) -> int:
    """Install the agent at this path; tell a network that fails by the exit code."""
    try:
        installer.install_ngrok(program)
    except PyngrokError as error:
        print(error)  # noqa: T201  (the parent reads it)
        cause = error.__context__
        is_network = isinstance(cause, (URLError, TimeoutError, ConnectionError))
        is_answer = isinstance(cause, HTTPError)
        return _NETWORK_EXIT_CODE if is_network and not is_answer else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
