"""Choice of the Ollama to run: the one on PATH, or a release and its archive."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...config.timeouts import Timeouts
from ...config.validators import OLLAMA_VERSION
from ...errors import DownloadFailed, PlatformUnsupported, UsageError
from ..download.http import get

MIN_VERSION: Final = "0.11.4"
"""Older servers lack parts of the API that the gateway serves."""

_ZSTD_SINCE: Final = "0.14.0"
_UNVERSIONED: Final = "0.0.0"
_VERSION_TIMEOUT_S: Final = 10.0
_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
}
_CLIENT = re.compile(r"client version is v?(\S+)")
_SERVER = re.compile(r"ollama version is v?(\S+)")
_TAG = re.compile(r"/tag/v(\d+\.\d+\.\d+(?:-rc\d+)?)/?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaInstall:
    """An ``ollama`` program."""

    path: Path
    version: str
    """``0.0.0`` for a build without a version."""
    origin: str
    """``PATH``, or how it was installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A release archive for one kind of machine."""

    url: str
    name: str
    version: str

    @property
    def checksums_url(self) -> str:
        """The URL of the release's checksum file."""
        return self.url.removesuffix(self.name) + "sha256sum.txt"


def find_on_path(minimum: str = MIN_VERSION) -> OllamaInstall | None:
    """Return the ``ollama`` on PATH if it is new enough; blocks up to 10 s."""
    found = shutil.which("ollama")
    installed = None if found is None else read_version(Path(found), origin="PATH")
    if installed is None:
        return None
    is_new_enough = _order(installed.version) >= _order(minimum)
    return installed if is_new_enough or installed.version == _UNVERSIONED else None


def read_version(executable: Path, *, origin: str) -> OllamaInstall | None:
    """Return an executable with its version; None if it prints none; blocks.

    ``OLLAMA_HOST`` is a port without a server: the program would otherwise print the
    version of the server that runs (``versionHandler`` in ollama/ollama).
    """
    environ = {k: v for k, v in os.environ.items() if not k.startswith("OLLAMA_")}
    try:
        result = subprocess.run(
            [str(executable), "--version"],
            env=environ | {"OLLAMA_HOST": "127.0.0.1:1"},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = result.stdout + result.stderr
    match = _CLIENT.search(text) or _SERVER.search(text)
    if match is None or not re.match(r"\d+\.\d+\.\d+", match[1]):
        return None
    return OllamaInstall(path=executable, version=match[1], origin=origin)


def archive_for(version: str, releases_url: str, system: str, machine: str) -> Archive:
    """Return the archive for ``platform.system()`` and ``platform.machine()``.

    Raises:
        PlatformUnsupported: If there is none.
    """
    architecture = _ARCHITECTURES.get(machine.lower())
    if system == "Darwin":
        name = "ollama-darwin.tgz"
    elif system == "Linux" and architecture is not None:
        is_zstd = _order(version) >= _order(_ZSTD_SINCE)
        name = f"ollama-linux-{architecture}.{'tar.zst' if is_zstd else 'tgz'}"
    else:
        raise PlatformUnsupported(
            f"Ollama publishes no archive for {system} on {machine}.",
            "Install ollama yourself so that it is on PATH, or use another machine.",
        )
    url = f"{releases_url}/download/v{version}/{name}"
    return Archive(url=url, name=name, version=version)


def no_such_release(archive: Archive) -> UsageError:
    """Return the error for a release, or an archive of it, that does not exist."""
    return UsageError(
        f"There is no Ollama release {archive.version} with {archive.name}.",
        "Leave --ollama-version out, or choose one from github.com/ollama/ollama.",
    )


async def resolve_version(requested: str, releases_url: str, timeouts: Timeouts) -> str:
    """Return the version to install: the requested one, the latest, or our default.

    ``latest`` is where the release page redirects to.

    Raises:
        UsageError: If it is older than ``MIN_VERSION``.
        NetworkUnreachable, DownloadFailed: If the latest cannot be found out.
    """
    version = requested or OLLAMA_VERSION
    if version == "latest":
        version = await _latest(f"{releases_url}/latest", timeouts)
    if _order(version) < _order(MIN_VERSION):
        raise UsageError(
            f"Ollama {version} is too old for this program.",
            f"Use --ollama-version {MIN_VERSION} or newer, or leave it out.",
        )
    return version


async def _latest(url: str, timeouts: Timeouts) -> str:
    async with get(url, timeouts, {}, redirects=False) as response:
        location = response.headers.get("Location", "")
    match = _TAG.search(location)
    if match is None:
        raise DownloadFailed(
            "The release page does not name the latest Ollama.",
            f"Choose a version: --ollama-version {OLLAMA_VERSION}.",
        )
    return match[1]


def _order(version: str) -> tuple[int, ...]:
    """Return a sort key of the three numbers; a suffix does not count."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
