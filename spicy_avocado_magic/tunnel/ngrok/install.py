"""Installation of the ngrok agent by pyngrok, and the check of its version.

pyngrok's installer runs in a child process, because its download has no time limit,
prints to stdout, and uses a fixed name in the shared temporary folder. This module is
that child: ``python -m … PROGRAM``.
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
from ...system.network import INTERNET
from ...system.paths import home_folder
from ...system.processes import signal_group, spawn

OLDEST_VERSION: Final = (3, 30)
"""The first agent with ``/api/endpoints``; pyngrok 9 can hang with an older one."""

_TRIES: Final = 3
_NETWORK_EXIT_CODE: Final = 3
_HEAD_BYTES: Final = 1024
_VERSION = re.compile(r"version v?(\d+)\.(\d+)[\w.+-]*")


def program_path(ngrok_path: str) -> str:
    """Return the path of the agent; empty is where pyngrok keeps its own.

    That is in the home folder, or in its replacement if home is not writable.
    """
    given = ngrok_path or os.environ.get("PYNGROK_NGROK_PATH", "")
    usual = Path(conf.DEFAULT_NGROK_PATH)
    if given or os.access(usual, os.X_OK) or home_folder() == Path.home():
        return given or str(usual)
    return str(home_folder() / ".config" / "ngrok" / usual.name)


async def ensure_installed(ngrok_path: str, timeouts: Timeouts) -> str:
    """Install the agent unless it is there, and return its version.

    Raises:
        NetworkUnreachable, DownloadFailed: If it cannot be downloaded.
        UserActionRequired: If the program there cannot be used.
    """
    if not await asyncio.to_thread(os.path.exists, ngrok_path):
        wait = wait_random_exponential(timeouts.backoff_first_s, max=timeouts.request_s)
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(ComponentFailed),
            stop=stop_after_attempt(_TRIES),
            wait=wait,
            reraise=True,
        ):
            with attempt:
                await _download(Path(ngrok_path), timeouts)
    return await _version(ngrok_path, timeouts)


async def _download(program: Path, timeouts: Timeouts) -> None:
    """Download the agent and move it to its path in one step."""
    try:
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            fresh = Path(folder, "ngrok")
            code, output = await _run(
                [sys.executable, "-P", "-m", __name__, str(fresh)],
                timeout_s=timeouts.stalled_s,
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
            f"The ngrok agent was not downloaded within {timeouts.stalled_s:g} s.",
            "Check the network, or set PYNGROK_NGROK_PATH to your own agent.",
        ) from error
    except OSError as error:
        raise DownloadFailed(
            f"The ngrok agent cannot be written to {program.parent}: {error.strerror}.",
            "Free some space there, or make the folder writable.",
        ) from error
    if code == _NETWORK_EXIT_CODE:
        raise NetworkUnreachable(
            "The ngrok agent cannot be downloaded: its server cannot be reached.",
            f"{INTERNET} Without a public URL: --local.",
        )
    if code != 0:
        last = output.strip().rpartition("\n")[2][:300]
        raise DownloadFailed(
            f"The download of the ngrok agent failed: {last}.",
            "Run the cell again. If it keeps failing, check the disk and the network.",
        )


def _certificates() -> dict[str, str]:
    """Return variables by which ``urllib`` trusts the certificates of ``requests``."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE", "")
    if not bundle:
        return {}
    return {"SSL_CERT_DIR" if Path(bundle).is_dir() else "SSL_CERT_FILE": bundle}


async def _version(ngrok_path: str, timeouts: Timeouts) -> str:
    remedy = f"Delete {ngrok_path}; the next run downloads a new one."
    try:
        if await asyncio.to_thread(_is_launcher, ngrok_path):
            raise UserActionRequired(
                f"{ngrok_path} is pyngrok's launcher, not the ngrok agent itself.",
                "Unset PYNGROK_NGROK_PATH, or set it to the real agent.",
            )
        code, output = await _run([ngrok_path, "--version"], timeouts.agent_start_s)
    except TimeoutError as error:
        raise UserActionRequired(
            f"{ngrok_path} did not print its version within "
            f"{timeouts.agent_start_s:g} s.",
            remedy,
        ) from error
    except OSError as error:
        raise UserActionRequired(
            f"{ngrok_path} cannot be run: {error.strerror}.", remedy
        ) from error
    match = _VERSION.search(output)
    if match is None:
        raise UserActionRequired(
            f"{ngrok_path} is not a working ngrok agent (exit code {code}).", remedy
        )
    version = match[0].removeprefix("version ")
    if (int(match[1]), int(match[2])) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise UserActionRequired(
            f"The ngrok agent {version} is older than {oldest}.", remedy
        )
    return version


def _is_launcher(ngrok_path: str) -> bool:
    """Return whether this is pip's console script, which leaves the agent running."""
    with Path(ngrok_path).open("rb") as program:
        head = program.read(_HEAD_BYTES)
    return head.startswith(b"#!") and b"from pyngrok" in head


async def _run(
    command: list[str], timeout_s: float, env: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run a program and return its exit code and output.

    Raises:
        TimeoutError: If it takes longer; its process group is killed.
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
    """Install the agent at this path; the exit code distinguishes network failures."""
    try:
        installer.install_ngrok(program)
    except PyngrokError as error:
        print(error)  # noqa: T201  (the parent reads it)
        cause = error.__context__
        is_network = isinstance(cause, (URLError, TimeoutError, ConnectionError))
        is_response = isinstance(cause, HTTPError)
        return _NETWORK_EXIT_CODE if is_network and not is_response else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
