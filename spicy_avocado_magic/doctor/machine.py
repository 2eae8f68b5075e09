"""The machine: system and versions, memory, other users, proxy variables."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from importlib import metadata
from typing import Final
from urllib.parse import urlsplit

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
"""What must be installed, as ``pyproject.toml`` has it."""

PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

_OLDEST_IPYTHON: Final = (7, 34)
_TIGHT_MEMORY_BYTES: Final = 2 * 10**9
"""Room for a model of one to two thousand million weights and nothing else."""
_NO_MEMORY_BYTES: Final = 4 * 10**8
_FIRST_PERSON: Final = 501 if sys.platform == "darwin" else 1000
"""Accounts below are the system's (``UID_MIN`` of login.defs; macOS starts at 501)."""
_NOBODY: Final = 65534
_URL_PASSWORD: Final = re.compile(r":([^:/@]+)@")


def check_platform(case: DoctorContext) -> Finding:
    """Tell system and Python; only Windows cannot be used."""
    require_posix()
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    what = f"{case.platform.name}: {system}, Python {platform.python_version()}"
    told = f"{what}. {case.platform.terms}" if case.platform.terms else what
    if case.platform.policy:
        return warning("platform", told, "Read its terms before you share the URL.")
    return ok("platform", told)


def installed_versions() -> dict[str, str]:
    """Return the version of each package that is needed; empty where it is missing."""
    versions = dict.fromkeys(PACKAGES, "")
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def check_packages(_case: DoctorContext) -> Finding:
    """Tell which packages are missing, and whether IPython is new enough."""
    versions = installed_versions()
    missing = [name for name, version in versions.items() if not version]
    if missing:
        return broken(
            "packages",
            f"Not installed: {', '.join(missing)}.",
            "Run %pip install -U spicy-avocado-magic, then restart the kernel.",
        )
    numbers = tuple(int(n) for n in re.findall(r"\d+", versions["IPython"])[:2])
    if numbers < _OLDEST_IPYTHON:
        return broken(
            "packages",
            f"IPython {versions['IPython']} is older than 7.34.",
            "Run %pip install -U ipython, then restart the kernel.",
        )
    return ok("packages", f"IPython {versions['IPython']}, and all that is needed.")


def check_memory(case: DoctorContext) -> Finding:
    """Tell how much RAM and VRAM are free for models."""
    from ..engine.hardware.memory import list_gpus, read_memory

    memory = read_memory(list_gpus())
    free = memory.ram_free + memory.vram_free
    what = f"{format_bytes(memory.ram_free)} of RAM free"
    if memory.gpus:
        what += f", {format_bytes(memory.vram_free)} on {memory.gpus} GPU"
    remedy = "End what else uses memory, restart the kernel, or take a smaller model."
    if free < _NO_MEMORY_BYTES:
        return broken("memory", f"{what}: no model fits.", remedy)
    # A service that runs holds its models in the memory that is missing.
    if free < _TIGHT_MEMORY_BYTES and not (case.rehearsal or case.is_running):
        return warning("memory", f"{what}: only the smallest models fit.", remedy)
    return ok("memory", f"{what}.")


def check_sharing(_case: DoctorContext) -> Finding:
    """Tell whether other people use this machine: loopback is open to them."""
    import psutil

    others = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            uid = process.uids().real
            if uid >= _FIRST_PERSON and uid not in (os.getuid(), _NOBODY):
                others.add(uid)
    if not others:
        return ok("sharing", "Nobody else is seen on this machine.")
    people = "one other user" if len(others) == 1 else f"{len(others)} other users"
    return warning(
        "sharing",
        f"This machine is shared with {people}: they can reach the engine, and the "
        "agent's own page, on loopback without a key.",
        "Serve on a machine of your own where prompts or models are private.",
    )


def proxies() -> dict[str, str]:
    """Return the proxy variables that are set, without names and passwords in them."""
    return {name: without_credentials(value) for name, value in _set_proxies().items()}


def proxy_passwords() -> list[str]:
    """Return the passwords in the proxy variables, as they stand there."""
    found = (_URL_PASSWORD.search(value) for value in _set_proxies().values())
    return [match[1] for match in found if match is not None]


def _set_proxies() -> dict[str, str]:
    names = [case for name in PROXY_VARIABLES for case in (name, name.lower())]
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def without_credentials(url: str) -> str:
    """Return a proxy's address without the user and password that may stand in it."""
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def check_proxy(case: DoctorContext) -> Finding:
    """Tell which proxy variables are in the environment, and what they do."""
    found = proxies()
    if not found:
        return ok("proxy", "No proxy is set in the environment.")
    what = ", ".join(f"{name}={value}" for name, value in found.items())
    if case.rehearsal or case.settings.local:
        return ok("proxy", f"{what}: used for downloads.")
    return warning(
        "proxy",
        f"{what}: used for downloads, and by the ngrok agent as well.",
        "If the tunnel says ERR_NGROK_9009 (no proxy on this plan), unset them "
        "before %avocado_up; or use --local.",
    )
