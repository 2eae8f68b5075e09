"""Checks of system, packages, memory, other users and proxy variables."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from importlib import metadata
from typing import Final
from urllib.parse import urlsplit

from ..config.tunnel import TUNNEL
from ..formatting import format_bytes
from ..protocol.finding import Finding, broken, ok, warning
from ..system.paths import require_posix
from .context import DoctorContext

PACKAGES: Final = (
    "IPython",
    "aiohttp",
    "certifi",
    "markdown-it-py",
    "platformdirs",
    "prometheus-client",
    "psutil",
    "pyngrok",
    "python-dotenv",
    "requests",
    "tenacity",
    "uvloop",
    "zstandard",
)
"""The requirements in ``pyproject.toml``."""

PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

_OLDEST_IPYTHON: Final = (7, 34)
_TIGHT_MEMORY_BYTES: Final = 2 * 10**9
"""Enough for a model of one to two thousand million weights, and nothing else."""
_NO_MEMORY_BYTES: Final = 4 * 10**8
_FIRST_USER_ID: Final = 501 if sys.platform == "darwin" else 1000
"""Accounts below are the system's (``UID_MIN`` of login.defs; macOS starts at 501)."""
_NOBODY_ID: Final = 65534
_URL_PASSWORD: Final = re.compile(r":([^:/@]+)@")


def check_platform(context: DoctorContext) -> Finding:
    """Report system and Python; only Windows is not supported.

    Raises:
        PlatformUnsupported: On Windows.
    """
    require_posix()
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    message = f"{context.platform.name}: {system}, Python {platform.python_version()}"
    if context.platform.terms:
        message += f". {context.platform.terms}"
    if context.platform.policy:
        return warning(message, "Read its terms before you share the URL.")
    return ok(message)


def installed_versions() -> dict[str, str]:
    """Return the version of each required package; empty if it is missing."""
    versions = dict.fromkeys(PACKAGES, "")
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def check_packages(_context: DoctorContext) -> Finding:
    """Check that all packages are installed and IPython is new enough."""
    versions = installed_versions()
    missing = [name for name, version in versions.items() if not version]
    if missing:
        return broken(
            f"Not installed: {', '.join(missing)}.",
            "Run %pip install -U spicy-avocado-magic, then restart the kernel.",
        )
    numbers = tuple(int(n) for n in re.findall(r"\d+", versions["IPython"])[:2])
    if numbers < _OLDEST_IPYTHON:
        return broken(
            f"IPython {versions['IPython']} is older than 7.34.",
            "Run %pip install -U ipython, then restart the kernel.",
        )
    return ok(f"All are installed, with IPython {versions['IPython']}.")


def check_memory(context: DoctorContext) -> Finding:
    """Check how much RAM and VRAM are free for models."""
    from ..engine.hardware.memory import list_gpus, read_memory

    memory = read_memory(list_gpus())
    free = memory.ram_free + memory.vram_free
    message = f"{format_bytes(memory.ram_free)} of RAM free"
    if memory.gpus:
        message += f", {format_bytes(memory.vram_free)} on {memory.gpus} GPU"
    remedy = "End other programs, restart the kernel, or choose a smaller model."
    if free < _NO_MEMORY_BYTES:
        return broken(f"{message}: no model fits.", remedy)
    # The models of a running service use the memory that is missing.
    if free < _TIGHT_MEMORY_BYTES and not (context.rehearsal or context.is_running):
        return warning(f"{message}: only the smallest models fit.", remedy)
    return ok(f"{message}.")


def check_sharing(_context: DoctorContext) -> Finding:
    """Check whether other users have processes here: loopback is open to them."""
    import psutil

    others = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            uid = process.uids().real
            if uid >= _FIRST_USER_ID and uid not in (os.getuid(), _NOBODY_ID):
                others.add(uid)
    if not others:
        return ok("No other user has a process on this machine.")
    users = "one other user" if len(others) == 1 else f"{len(others)} other users"
    return warning(
        f"This machine is shared with {users}: on loopback, they can use the engine "
        "and see the agent's own page without a key.",
        "If prompts or models are private, use a machine of your own.",
    )


def proxies() -> dict[str, str]:
    """Return the proxy variables that are set, without users and passwords."""
    return {name: without_credentials(value) for name, value in _set_proxies().items()}


def proxy_passwords() -> list[str]:
    """Return the passwords in the proxy variables, as they are written there."""
    found = (_URL_PASSWORD.search(value) for value in _set_proxies().values())
    return [match[1] for match in found if match is not None]


def _set_proxies() -> dict[str, str]:
    names = (*PROXY_VARIABLES, *map(str.lower, PROXY_VARIABLES))
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def without_credentials(url: str) -> str:
    """Return a proxy's address without user and password."""
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def check_proxy(context: DoctorContext) -> Finding:
    """Report the proxy variables of the environment, and what they affect."""
    found = proxies()
    if not found:
        return ok("The environment sets no proxy.")
    message = ", ".join(f"{name}={value}" for name, value in found.items())
    if context.rehearsal or context.settings.local:
        return ok(f"{message}: used for downloads.")
    return warning(
        f"{message}: used for downloads, and by the {TUNNEL.name} agent.",
        TUNNEL.proxy_remedy,
    )
